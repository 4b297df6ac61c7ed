"""Beginning from a trained model, and Lightning's own callbacks on our training."""

import sys
from pathlib import Path

import pytest
import torch
from test_training import config, metrics, rates, weights

from vqa.__main__ import main


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(sys, "argv", ["vqa"])
    return tmp_path


def fit(folder: Path, squares: Path, *more: str) -> int:
    return main(["fit", *config(folder, squares), *more])


@pytest.mark.slow
def test_training_begins_with_the_weights_of_a_model(
    folder: Path, squares: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A second training of a trained model starts right where the first one ended."""
    assert fit(folder / "first", squares, "--trainer.max_epochs", "5") == 0
    model = str(folder / "model")
    assert main(["export", str(folder / "first/checkpoints/last.ckpt"), model]) == 0
    begin = ["--model.init_from", model, "--data.tokenizer", model, "--trainer.max_epochs", "1"]
    assert fit(folder / "second", squares, *begin) == 0
    first, second = (metrics(folder / name) for name in ("first", "second"))
    losses = [float(row["train/loss"]) for row in second if row.get("train/loss")]
    assert losses[0] < 0.1 * float(next(r["train/loss"] for r in first if r.get("train/loss")))
    capsys.readouterr()
    other = ["--model.init_from", model, "--data.vocabulary", "262"]
    for wrong, told in (
        (other, "set data.tokenizer to"),
        ([*begin, "--model.network.dim", "64"], "do not fit the network"),
        (["--model.init_from", str(folder / "none")], "there is no model folder"),
    ):
        assert fit(folder / "wrong", squares, *wrong) == 2
        error = capsys.readouterr().err
        assert told in error and error.count("\n") == 1, error


def callback(name: str, **words: object) -> list[str]:
    path = "lightning.pytorch.callbacks"
    options = [f"--trainer.callbacks+={path}.{name}"]
    return options + [f"--trainer.callbacks.{word}={value}" for word, value in words.items()]


def test_learning_rate_is_found(folder: Path, squares: Path) -> None:
    """Lightning's range test sets the rate that the schedule then reaches, and costs no batch."""
    more = callback("LearningRateFinder", num_training_steps=20, min_lr=1e-5, max_lr=1e-1)
    more += ["--trainer.max_epochs", "2", "--model.warmup_steps", "5"]
    assert fit(folder, squares, *more) == 0
    used = rates(folder)
    assert len(used) == 24
    assert 1e-5 < max(used.values()) < 1e-1 and max(used.values()) != pytest.approx(3e-3)


@pytest.mark.filterwarnings("ignore:You're using the WeightAveraging callback")
def test_averaged_weights_are_saved(folder: Path, squares: Path) -> None:
    more = callback("EMAWeightAveraging", decay=0.9, use_buffers=False)
    assert fit(folder, squares, *more, "--trainer.max_epochs", "3") == 0
    saved = torch.load(folder / "checkpoints" / "last.ckpt", weights_only=True)
    raw = saved["current_model_state"]
    averaged = weights(folder)
    assert any(not torch.equal(raw[name], averaged[name]) for name in averaged)
