"""`vqa.pipeline` in all the shapes that people know from transformers."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import vqa
from vqa.predictor import Predictor

QUESTIONS = ["what color is the square?", "is there a red square?"]


@pytest.fixture
def pictures() -> list[Image.Image]:
    return [Image.new("RGB", (40, 30), color) for color in ("red", "green", "blue")]


def expected(predictor: Predictor, image: object, question: str) -> list[dict[str, object]]:
    answer = predictor.ask(image, question, 5)  # type: ignore[arg-type]
    return [
        {"score": pytest.approx(c.score, rel=1e-3, abs=0), "answer": c.answer} for c in answer.top_k
    ]


def test_one_pair(predictor: Predictor, pictures: list[Image.Image]) -> None:
    ask = vqa.pipeline("visual-question-answering", model=predictor)
    told = expected(predictor, pictures[0], QUESTIONS[0])
    assert ask(image=pictures[0], question=QUESTIONS[0]) == told
    assert ask({"image": pictures[0], "question": QUESTIONS[0]}) == told
    best = ask(pictures[0], QUESTIONS[0], top_k=2)
    assert len(best) == 2 and best[0]["score"] >= best[1]["score"]


def test_many(predictor: Predictor, pictures: list[Image.Image]) -> None:
    ask = vqa.pipeline(model=predictor, batch_size=2)
    every = [[expected(predictor, p, q) for q in QUESTIONS] for p in pictures]
    assert ask(pictures[1], QUESTIONS) == every[1]
    assert ask(pictures, QUESTIONS[1]) == [row[1] for row in every]
    assert ask(image=pictures, question=QUESTIONS) == [one for row in every for one in row]
    assert ask([pictures[0]], QUESTIONS[0]) == [every[0][0]]
    pairs = [{"image": p, "question": q} for p in pictures for q in QUESTIONS]
    assert ask(pairs) == [one for row in every for one in row]
    assert ask(pairs, batch_size=5) == [one for row in every for one in row]
    assert ask([]) == []


def test_a_stream_is_read_as_it_is_answered(
    predictor: Predictor, pictures: list[Image.Image]
) -> None:
    taken = []

    def pairs() -> Iterator[dict[str, object]]:
        for number in range(6):
            taken.append(number)
            yield {"image": pictures[number % 3], "question": QUESTIONS[0]}

    found = vqa.pipeline(model=predictor)(pairs(), batch_size=2)
    assert taken == []
    assert next(found) == expected(predictor, pictures[0], QUESTIONS[0])
    assert taken == [0, 1]
    assert len(list(found)) == 5


def test_paths_arrays_and_a_model_folder(tiny: Path, tmp_path: Path) -> None:
    array = np.full((20, 30, 3), 200, np.uint8)
    Image.fromarray(array).save(tmp_path / "a.png")
    ask = vqa.pipeline("vqa", model=str(tiny), device="cpu")
    one, other = ask(str(tmp_path / "a.png"), QUESTIONS[0]), ask(array, QUESTIONS[0])
    assert one == other and {"score", "answer"} == set(one[0])


def test_one_image_is_read_once(
    predictor: Predictor, pictures: list[Image.Image], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []
    real = Predictor.ask_many

    def watch(self: Predictor, sources: object, index: object, *words: object) -> object:
        asked.append((len(sources), list(index)))  # type: ignore[arg-type, call-overload]
        return real(self, sources, index, *words)  # type: ignore[arg-type]

    monkeypatch.setattr(Predictor, "ask_many", watch)
    vqa.pipeline(model=predictor, batch_size=8)(pictures[0], QUESTIONS * 2)
    assert asked == [(1, [0, 0, 0, 0])]


@pytest.mark.parametrize("given", ["a.png", {"image": "a.png"}, [{"image": "a.png"}], 3, ["a.png"]])
def test_what_cannot_be_asked(given: object, predictor: Predictor) -> None:
    with pytest.raises(ValueError, match="image and question|question is missing"):
        vqa.pipeline(model=predictor)(given)


def test_another_task() -> None:
    with pytest.raises(ValueError, match="no pipeline for 'text-generation'; the task is visual"):
        vqa.pipeline("text-generation")
