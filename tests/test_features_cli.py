"""Frozen image encoders and their features on the command line."""

import csv
import sys
from pathlib import Path

import pytest
from networks import NETWORK

from vqa import images
from vqa.__main__ import main
from vqa.datamodule import VQAData

TRAINER = """
trainer:
  accelerator: cpu
  max_epochs: 2
  enable_progress_bar: false
  enable_model_summary: false
  log_every_n_steps: 1
  logger: {class_path: lightning.pytorch.loggers.CSVLogger, init_args: {save_dir: FOLDER}}
  callbacks:
    - class_path: lightning.pytorch.callbacks.ModelCheckpoint
      init_args: {dirpath: FOLDER, save_top_k: 0, save_last: true, enable_version_counter: false}
"""


def options(folder: Path, root: Path) -> list[str]:
    folder.mkdir()
    path = folder / "config.yaml"
    path.write_text(TRAINER.replace("FOLDER", str(folder)) + NETWORK, encoding="utf-8")
    return [
        "-c",
        str(path),
        "--data.root",
        str(root),
        "--data.batch_size",
        "12",
        "--model.max_answer_tokens",
        "3",
    ]


def losses(folder: Path, version: int = 0) -> list[dict[str, str]]:
    path = folder / "lightning_logs" / f"version_{version}" / "metrics.csv"
    with path.open(encoding="utf-8") as lines:
        return list(csv.DictReader(lines))


FREEZE = ["--model.freeze_vision", "true"]


def test_the_command_line(squares: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same losses with features; validation and more epochs find them, by the checkpoint."""
    monkeypatch.setattr(sys, "argv", ["vqa"])
    kept = ["--data.features", str(tmp_path / "features")]
    assert main(["fit", *options(tmp_path / "without", squares), *FREEZE]) == 0
    words = [*options(tmp_path / "with", squares), *FREEZE, *kept]
    assert main(["fit", *words]) == 0
    told = losses(tmp_path / "with")
    assert told == losses(tmp_path / "without")
    assert sum(bool(row["train/loss"]) for row in told) == 10
    monkeypatch.setattr(images, "open", None)  # whoever decodes an image now fails
    # The weights that name features are the checkpoint's, not those of another seed.
    words += ["--ckpt_path", "last", "--seed_everything", "5"]
    assert main(["validate", *words]) == 0
    assert main(["fit", *words, "--trainer.max_epochs", "3"]) == 0
    (trained,) = [row for row in told if row["val/loss"] and row["epoch"] == "1"]
    assert losses(tmp_path / "with", 1)[0]["val/loss"] == trained["val/loss"]
    assert main(["export", str(tmp_path / "with" / "last.ckpt"), str(tmp_path / "model")]) == 0


def test_features_of_an_encoder_that_learns_are_refused(
    squares: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(sys, "argv", ["vqa"])
    kept = str(tmp_path / "features")
    words = [*options(tmp_path / "learning", squares), "--data.features", kept]
    assert main(["fit", *words]) == 2
    error = capsys.readouterr().err
    assert "set model.freeze_vision to true" in error and kept in error
    assert "Traceback" not in error


def test_bad_folders_and_flip_are_refused(squares: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=f"{tmp_path}, and flip mirrors .* data.flip"):
        VQAData("jsonl", str(squares), features=str(tmp_path), flip=True)
    path = tmp_path / "file"
    path.touch()
    for folder in (path, path / "below"):
        with pytest.raises(ValueError, match=rf"cannot be kept in {folder} \(.*a folder with room"):
            VQAData("jsonl", str(squares), features=str(folder))
