"""Every YAML in configs/ is a training that the command line accepts and that can take a step."""

import sys
from pathlib import Path

import pytest

from vqa.__main__ import main

CONFIGS = sorted((Path(__file__).parents[1] / "configs").glob("*.yaml"))


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_config_trains(
    path: Path, squares: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A step of training and one of validation, on small data in place of its own."""
    monkeypatch.setattr(sys, "argv", ["vqa"])
    monkeypatch.chdir(tmp_path)
    quick = ["--trainer.fast_dev_run", "true", "--trainer.accelerator", "cpu"]
    data = ["--data.dataset", "jsonl", "--data.root", str(squares), "--data.dataset_args", "{}"]
    assert main(["fit", "-c", str(path), *quick, *data]) == 0


def test_there_are_configs() -> None:
    assert {path.stem for path in CONFIGS} >= {"easy_vqa", "nlvr"}


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_config_begins_with_its_command(path: Path) -> None:
    assert f"vqa fit -c configs/{path.name}" in path.read_text(encoding="utf-8")[:400]
