"""benchmarks/temperature.py: confidence that is fitted to what is right."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
import typer
from networks import TINY
from PIL import Image, ImageDraw
from typer.testing import CliRunner

from vqa import tokenizer as tokenizers
from vqa.config import Vision
from vqa.model import LatteVQA, build
from vqa.predictor import Predictor

READS = replace(TINY, vision=Vision(encoder="glyphs"), find=True, kernel=3, answer_tokens=4)


@pytest.fixture
def model(tmp_path: Path) -> Path:
    torch.manual_seed(0)
    tokenizer = tokenizers.train(iter([]), tokenizers.BYTES)
    build(READS, tokenizer).save_pretrained(tmp_path / "model")
    tokenizer.save_pretrained(tmp_path / "model")
    return tmp_path / "model"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    rows = []
    for number in range(3):
        image = Image.new("RGB", (120, 60), "white")
        ImageDraw.Draw(image).text((10, 20), f"No. {number}", "black")
        image.save(tmp_path / f"{number}.png")
        for kind in "ab":
            row = {"question_id": f"{number}{kind}", "image": f"{number}.png", "question": "which?"}
            rows.append({**row, "answers": [str(number)]})
    text = "".join(json.dumps(row) + "\n" for row in rows)
    (tmp_path / "val.jsonl").write_text(text, encoding="utf-8")
    return tmp_path


def test_a_temperature_changes_how_sure_it_is_and_not_what_is_written(model: Path) -> None:
    found = []
    for temperature in (1.0, 3.0):
        config = json.loads((model / "config.json").read_text(encoding="utf-8"))
        config["confidence_temperature"] = temperature
        (model / "config.json").write_text(json.dumps(config), encoding="utf-8")
        image = Image.new("RGB", (90, 60), "white")
        found.append(Predictor.from_pretrained(model).ask(image, "which?", top_k=1))
    assert found[0].answer == found[1].answer
    assert found[0].score != found[1].score


def test_a_score_is_the_sum_at_the_temperature(model: Path) -> None:
    network = LatteVQA.from_pretrained(model)
    logits = torch.randn(2, 3, network.config.vocab_size)
    eos = network.config.eos_token_id
    sequences = torch.tensor([[1, 7, eos, eos], [1, 5, 6, 9]])
    chance = (logits / 2.5).softmax(-1)
    expected = torch.stack(
        [chance[0, 0, 7] * chance[0, 1, eos], chance[1, 0, 5] * chance[1, 1, 6] * chance[1, 2, 9]]
    )
    torch.testing.assert_close(network.weighed(logits / 2.5, sequences).exp(), expected)


def test_the_best_temperature_lowers_what_is_too_sure(script: Callable[[str], Any]) -> None:
    """Answers that are right half of the time, each told to be almost certain."""
    module = script("temperature")

    class Model:
        weighed = LatteVQA.weighed

        class config:  # noqa: N801 - as a model has it
            eos_token_id = 2

        def __call__(self) -> None: ...

    logits = torch.zeros(1, 2, 4)
    logits[0, 0, 3], logits[0, 1, 2] = 6.0, 6.0
    found = [(logits, torch.tensor([[1, 3, 2]]))] * 40
    right = torch.tensor([1.0, 0.0] * 20)
    judge = Model()
    bound = type("Bound", (), {"weighed": lambda self, *words: Model.weighed(judge, *words)})()
    best = min(module.GRID, key=lambda t: module.log_loss(module.chances(bound, found, t), right))
    assert float(module.chances(bound, found, best)[0]) == pytest.approx(0.5, abs=0.02)
    assert best > 1.5


def test_the_command_writes_the_configuration(
    model: Path, root: Path, script: Callable[[str], Any]
) -> None:
    module = script("temperature")
    app = typer.Typer()
    app.command()(module.main)
    words = [str(model), "--root", str(root), "--features", str(root / "features")]
    first = CliRunner().invoke(app, words)
    assert first.exit_code == 0, first.output
    written = json.loads((model / "config.json").read_text(encoding="utf-8"))
    temperature = written["confidence_temperature"]
    assert module.GRID[0] <= temperature <= module.GRID[-1] + 0.001
    assert "before: temperature 1.000" in first.output
    again = CliRunner().invoke(app, words)  # from the features that are kept
    assert again.exit_code == 0 and again.output == first.output
    assert list((root / "features").rglob("*.safetensors"))
