"""Asking: any source of an image, probabilities, streaming, and what was read."""

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from vqa import Predictor
from vqa.images import ImageError
from vqa.opening import Reading
from vqa.predictor import Answer

QUESTION = "what color is the square?"


def test_every_source_gives_the_same_answer(predictor: Predictor, tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (70, 100, 3), dtype=np.uint8)
    image = Image.fromarray(pixels)
    path = tmp_path / "noise.png"
    image.save(path)
    data = io.BytesIO()
    image.save(data, "PNG")
    sources = [path, str(path), data.getvalue(), image, pixels]
    answers = [predictor.ask(source, QUESTION).to_dict() for source in sources]
    for answer in answers:
        assert answer.pop("seconds") > 0
    assert all(answer == answers[0] for answer in answers)


def test_answer_tells_what_was_read(predictor: Predictor) -> None:
    answer = predictor.ask(Image.new("RGB", (130, 65)), QUESTION)
    grid, overview = 5 * 9, 2 * 4  # patches of 16 px; the overview fits one tile of 64 px
    assert (answer.width, answer.height) == (130, 65)
    words = len(predictor.tokenizer(QUESTION).input_ids)
    assert answer.tokens == grid + overview + words


@pytest.mark.parametrize(("width", "height"), [(1, 1), (1, 5000), (5000, 1), (63, 65)])
def test_awkward_sizes(predictor: Predictor, width: int, height: int) -> None:
    answer = predictor.ask(Image.new("L", (width, height)), QUESTION)
    assert (answer.width, answer.height) == (width, height)
    assert 0 <= answer.score <= 1


def test_batch_answers_what_single_questions_answer(predictor: Predictor) -> None:
    """Law 3: mixed sizes, several questions an image, any order."""
    rng = np.random.default_rng(1)
    sizes = [(64, 64), (40, 150), (16, 16)]
    images = [rng.integers(0, 256, (*size, 3), dtype=np.uint8) for size in sizes]
    asked = [(2, "is there a red square?"), (0, QUESTION), (1, QUESTION), (0, "red?")]
    index, questions = [i for i, _ in asked], [text for _, text in asked]
    for top_k in (1, 4):
        together = predictor.ask_many(images, index, questions, top_k)
        for answer, (image, question) in zip(together, asked, strict=True):
            alone = predictor.ask(images[image], question, top_k)
            assert answer.answer == alone.answer
            assert answer.tokens == alone.tokens
            assert answer.score == pytest.approx(alone.score, rel=1e-3, abs=0)


def test_probabilities_are_those_of_the_model(predictor: Predictor) -> None:
    """The beams' probabilities never exceed 1 together, and more beams only add answers."""
    image = Image.new("RGB", (64, 64), (255, 0, 0))
    few, many = (predictor.ask(image, QUESTION, top_k) for top_k in (2, 8))
    assert sum(candidate.score for candidate in many.top_k) <= 1 + 1e-6
    assert many.score >= few.score * (1 - 1e-5)
    assert many.answer == many.top_k[0].answer


def test_stream_ends_with_the_answer_of_ask(predictor: Predictor) -> None:
    image = Image.new("RGB", (64, 64), (255, 0, 0))
    *texts, answer = predictor.stream(image, QUESTION)
    asked = predictor.ask(image, QUESTION)
    assert isinstance(answer, Answer)
    assert (answer.answer, answer.score, answer.top_k) == (asked.answer, asked.score, asked.top_k)
    assert texts and all(isinstance(text, str) for text in texts)
    assert texts[-1] == predictor.ask(image, QUESTION, top_k=1).answer


def test_bad_input(predictor: Predictor, tmp_path: Path) -> None:
    with pytest.raises(ImageError, match=r"nowhere\.png"):
        predictor.ask(tmp_path / "nowhere.png", QUESTION)
    image = Image.new("RGB", (20, 20))
    with pytest.raises(ImageError, match="400"):
        predictor.ask(image, QUESTION, reading=Reading(max_pixels=399))
    with pytest.raises(ValueError, match="the question is empty"):
        predictor.ask(image, " \n")
    with pytest.raises(ValueError, match="5,000 characters"):
        predictor.ask(image, "x" * 5000)
    with pytest.raises(ValueError, match="top_k must be between 1 and 50, not 51"):
        predictor.ask(image, QUESTION, top_k=51)


def test_bundled_model_answers() -> None:
    """The model in the package knows what it was trained on."""
    predictor = Predictor.from_pretrained()
    for name, color in {"red": (255, 0, 0), "blue": (0, 0, 255)}.items():
        image = Image.new("RGB", (64, 64), (240, 240, 240))
        image.paste(color, (20, 16, 44, 44))
        answer = predictor.ask(image, "what color is the rectangle?")
        assert answer.answer == name and answer.score > 0.9
        assert predictor.ask(image, "what shape is in the image?").answer == "rectangle"
        assert predictor.ask(image, "is there a circle?").answer == "no"
