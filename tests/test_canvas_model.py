"""The model trained on canvas sees at full size what a shrunk copy no longer shows."""

from pathlib import Path
from typing import Any

import pytest
import torch

from vqa import datasets, images
from vqa.predictor import Predictor

MODEL = Path(__file__).parents[1] / "benchmarks" / "models" / "canvas"
COUNT = 24


@pytest.fixture(scope="module")
def right() -> dict[str, int]:
    """Of 24 questions about canvases of 1,024 px, how many are answered right."""
    predictor = Predictor.from_pretrained(MODEL, device="cpu")
    data: Any = datasets.create("canvas", split="test", kinds="attribute", count=COUNT)
    found = {"native": 0, "shrunk": 0}
    for index in range(COUNT):
        example, pixels = data.render(index, 1024)
        whole = pixels.permute(1, 2, 0).numpy()
        with images.open(whole) as picture:
            small = picture.scaled(448, 448)[:, :, :].permute(1, 2, 0).numpy()
        for name, image in (("native", whole), ("shrunk", small)):
            answer = predictor.ask(image, example.question, 1)
            found[name] += int(data.score(answer.answer, example.answers))
    return found


def test_resolution_decides(right: dict[str, int]) -> None:
    assert right["native"] >= 0.85 * COUNT  # chance is an eighth
    assert right["shrunk"] <= 0.35 * COUNT


def test_an_object_is_one_of_its_kind_whatever_the_canvas() -> None:
    """One object alone, on the smallest canvas and in a corner of an empty one 8 times as wide."""
    predictor = Predictor.from_pretrained(MODEL, device="cpu")
    data: Any = datasets.create("canvas", split="val", kinds="attribute", size=128, count=12)
    right = 0
    for index in range(12):
        example, pixels = data.render(index, 128)
        wide = torch.full((3, 1024, 1024), 255, dtype=torch.uint8)
        wide[:, -128:, -128:] = pixels
        answer = predictor.ask(wide.permute(1, 2, 0).numpy(), example.question, 1)
        right += int(data.score(answer.answer, example.answers))
    assert right >= 11
