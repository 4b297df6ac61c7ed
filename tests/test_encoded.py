"""An image encoded once answers as the image itself, from memory, a file or the cache."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from networks import make
from PIL import Image
from safetensors.torch import save_file

from encoders import mixers
from vqa import Predictor
from vqa.budget import Budget
from vqa.encodings import Encodings
from vqa.opening import Reading
from vqa.predictor import Answer

QUESTIONS = ("what color is the square?", "is there a circle?")


def predictor_of(tiny: Predictor, **words: Any) -> Predictor:
    model = make(vocabulary=len(tiny.tokenizer), **words)
    return Predictor(model, tiny.tokenizer, "small", words.pop("encodings", None))


def noise(height: int = 100, width: int = 150, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def told(answer: Answer) -> dict[str, Any]:
    words = answer.to_dict()
    assert words.pop("seconds") > 0
    return words


@pytest.mark.parametrize("memory", ("state", "sequence"))
@pytest.mark.parametrize("question", ("encoder", "decoder"))
@pytest.mark.parametrize("mixer", mixers.available())
def test_encoded_saved_and_loaded_answers_bit_by_bit(
    predictor: Predictor, tmp_path: Path, mixer: str, question: str, memory: str
) -> None:
    small = predictor_of(predictor, mixer=mixer, question=question, memory=memory)
    image = noise()
    encoded = small.encode(image)
    encoded.save(tmp_path / "image.safetensors")
    loaded = small.load_encoded(tmp_path / "image.safetensors")
    assert [path.name for path in tmp_path.iterdir()] == ["image.safetensors"]
    for text in QUESTIONS:
        expected = told(small.ask(image, text, top_k=2))
        assert told(small.ask(encoded, text, top_k=2)) == expected
        *_, streamed = small.stream(loaded, text, top_k=2)
        assert isinstance(streamed, Answer) and told(streamed) == expected


def test_with_the_question_in_the_decoder_the_size_is_one(predictor: Predictor) -> None:
    small = predictor_of(predictor, question="decoder")
    sizes = {small.encode(noise(side, side)).nbytes for side in (16, 100, 400)}
    assert len(sizes) == 1
    joint = predictor_of(predictor)
    assert joint.encode(noise(400, 400)).nbytes > 4 * joint.encode(noise(100, 100)).nbytes


def test_another_models_encoding_is_refused(predictor: Predictor, tmp_path: Path) -> None:
    small, other = predictor_of(predictor), predictor_of(predictor, seed=1)
    encoded = small.encode(noise())
    with pytest.raises(ValueError, match="another model; encode it again"):
        other.ask(encoded, QUESTIONS[0])
    encoded.save(tmp_path / "image")
    with pytest.raises(ValueError, match="image was encoded by another model"):
        other.load_encoded(tmp_path / "image")


def test_files_that_are_no_encoding_are_refused(predictor: Predictor, tmp_path: Path) -> None:
    bad = tmp_path / "bad"
    with pytest.raises(ValueError, match="there is no file"):
        predictor.load_encoded(bad)
    bad.write_bytes(b"not a file of tensors")
    with pytest.raises(ValueError, match="bad is no encoded image"):
        predictor.load_encoded(bad)
    save_file({"x": torch.ones(1)}, bad)
    with pytest.raises(ValueError, match="bad is no encoded image"):
        predictor.load_encoded(bad)
    save_file({"x": torch.ones(1)}, bad, {"latte_vqa": json.dumps({"grids": [], "weights": ""})})
    with pytest.raises(ValueError, match="bad is no encoded image"):
        predictor.load_encoded(bad)


class Counting:
    """How often the images of a model were looked at."""

    def __init__(self, small: Predictor) -> None:
        self.count = 0
        self.forward = small.model.vision.forward
        small.model.vision.forward = self

    def __call__(self, *args: Any, **words: Any) -> Any:
        self.count += 1
        return self.forward(*args, **words)


@pytest.mark.parametrize("question", ("encoder", "decoder"))
def test_the_second_question_reads_no_pixels(
    predictor: Predictor, tmp_path: Path, question: str
) -> None:
    small = predictor_of(predictor, question=question)
    path = tmp_path / "image.png"
    Image.fromarray(noise()).save(path)
    expected = [told(small.ask(path, text)) for text in QUESTIONS]
    small.encodings = Encodings(2**22)
    looks = Counting(small)
    assert [told(small.ask(path, text)) for text in QUESTIONS] == expected
    assert looks.count == 1
    assert told(small.ask(path.read_bytes(), QUESTIONS[0])) == expected[0]
    assert looks.count == 1  # the same file, whatever its name
    Image.fromarray(noise(seed=1)).save(path)
    assert told(small.ask(path, QUESTIONS[0])) != expected[0]
    assert looks.count == 2  # the same name, another picture


def test_the_budget_is_part_of_the_key(predictor: Predictor) -> None:
    small = predictor_of(predictor)
    small.encodings = Encodings(2**22)
    looks = Counting(small)
    half = Reading(budget=Budget(max_tokens=30))
    scales = [small.ask(noise(), QUESTIONS[0], reading=how).scale for how in (Reading(), half)]
    assert looks.count == 2 and scales[0] == 1.0 and scales[1] < 1.0


def test_a_folder_keeps_encodings_for_the_next_start(predictor: Predictor, tmp_path: Path) -> None:
    first = predictor_of(predictor)
    first.encodings = Encodings(0, tmp_path / "kept")
    expected = told(first.ask(noise(), QUESTIONS[0]))
    (kept,) = (tmp_path / "kept").iterdir()
    second = predictor_of(predictor)
    second.encodings = Encodings(0, tmp_path / "kept")
    looks = Counting(second)
    assert told(second.ask(noise(), QUESTIONS[0])) == expected
    assert looks.count == 0
    kept.write_bytes(b"broken")
    assert told(second.ask(noise(), QUESTIONS[0])) == expected
    assert looks.count == 1 and kept.stat().st_size > 100  # and it was written again


def test_memory_is_bounded_and_the_least_recent_goes_first(predictor: Predictor) -> None:
    small = predictor_of(predictor)
    images = [noise(64, 64, seed) for seed in range(3)]
    each = small.encode(images[0]).nbytes
    small.encodings = Encodings(2 * each)
    looks = Counting(small)
    for index in (0, 1, 0, 2, 0):  # 1 goes for 2
        small.encode(images[index])
    assert looks.count == 3
    assert small.encodings.held == 2 * each
    small.encode(images[1])
    assert looks.count == 4
    small.encode(noise(400, 400))  # too large to be kept, and throws nothing out
    small.encode(images[1])
    assert looks.count == 5
