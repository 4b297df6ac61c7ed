"""Transcripts are made once, found again by what they depend on, and never trusted if broken."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from printed_pages import PAGE, Print, make, printed
from torchvision.transforms.functional import to_pil_image

from encoders.vision.ocr import transcription
from vqa.data import transcripts
from vqa.data.transcripts import TranscriptStore
from vqa.datasets import DataError
from vqa.images import ImageError


@pytest.fixture
def page(tmp_path: Path) -> Path:
    path = tmp_path / "page.png"
    to_pil_image(printed(256, 512, *PAGE)).save(path)
    return path


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Grows with every transcription."""
    calls: list[Any] = []

    def counted(*arguments: Any) -> Any:
        calls.append(arguments)
        return transcription.transcribe(*arguments)

    monkeypatch.setattr(transcripts, "transcribe", counted)
    return calls


def test_words_are_transcribed_once(page: Path, tmp_path: Path, made: list[Any]) -> None:
    first = TranscriptStore(tmp_path / "kept", make()).words(page)
    assert [word.text for word in first] == ["ABBA", "AB", "BAB", "B", "BB", "AAA", "A"]
    again = TranscriptStore(tmp_path / "kept", make()).words(page)
    assert again == first and len(made) == 1
    other = tmp_path / "copy.png"
    other.write_bytes(page.read_bytes())
    assert TranscriptStore(tmp_path / "kept", make()).words(other) == first and len(made) == 1


def test_another_image_or_setting_is_transcribed_anew(
    page: Path, tmp_path: Path, made: list[Any]
) -> None:
    TranscriptStore(tmp_path / "kept", make()).words(page)
    TranscriptStore(tmp_path / "kept", make(keep=0.9)).words(page)
    changed = make()
    changed.trunk.register_buffer("more", torch.ones(1))
    TranscriptStore(tmp_path / "kept", changed).words(page)
    to_pil_image(printed(256, 512, Print(30, 40, "AB"))).save(page)
    found = TranscriptStore(tmp_path / "kept", make()).words(page)
    assert [word.text for word in found] == ["AB"] and len(made) == 4


@pytest.mark.parametrize("content", ("", "{", "[1]", '[["A", [0, 1], 1.0, 0, 0]]', "null"))
def test_a_broken_transcript_is_made_again(
    page: Path, tmp_path: Path, made: list[Any], content: str
) -> None:
    store = TranscriptStore(tmp_path / "kept", make())
    first = store.words(page)
    (file,) = (tmp_path / "kept").rglob("*.json")
    file.write_text(content)
    assert store.words(page) == first and len(made) == 2
    assert len(json.loads(file.read_text())) == len(first)
    assert [path for path in (tmp_path / "kept").rglob("*.part")] == []


def test_bad_files_and_folders_are_one_sentence(page: Path, tmp_path: Path) -> None:
    with pytest.raises(ImageError, match="nothing.png"):
        TranscriptStore(tmp_path / "kept", make()).words(tmp_path / "nothing.png")
    with pytest.raises(DataError, match="transcripts cannot be kept in .*page.png"):
        TranscriptStore(page, make()).words(page)
