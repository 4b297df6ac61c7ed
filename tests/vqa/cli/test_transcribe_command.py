"""`vqa transcribe` on the example receipt, on a photo, and on what it cannot read."""

import json
from pathlib import Path

import pytest

from vqa.__main__ import main

EXAMPLES = Path(__file__).parents[3] / "app" / "examples"
RECEIPT = str(EXAMPLES / "receipt.png")


def test_transcribe_prints_rows_and_words_with_boxes(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["transcribe", RECEIPT, "--cache", str(tmp_path)]) == 0
    text = capsys.readouterr().out
    assert "Staff:  Amin Star\n" in text
    (file,) = tmp_path.rglob("*.json")
    assert main(["transcribe", RECEIPT, RECEIPT, "--json", "--cache", str(tmp_path)]) == 0
    first, second = map(json.loads, capsys.readouterr().out.splitlines())
    assert first == second and first["text"] == text.removesuffix("\n")
    (total,) = (word for word in first["words"] if word["text"] == "RM122.85")
    assert len(total["box"]) == 4 and 0.9 < total["confidence"] <= 1


def test_transcribe_refuses_what_is_no_image(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    wrong = tmp_path / "note.png"
    wrong.write_text("no picture")
    for path in (wrong, tmp_path / "missing.png", tmp_path):
        assert main(["transcribe", str(path)]) == 2
        error = capsys.readouterr().err
        assert error.count("\n") == 1 and path.name in error
