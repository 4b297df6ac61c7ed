"""Tags as words, and the files that keep them."""

import json
from pathlib import Path

import pytest
import torch

from vqa.data.tags import TagFile, image_text, tags_text
from vqa.datasets import DataError

GROUPS = {
    "kind": ["page", "scene", "object"],
    "sees": ["dog", "cat", "car"],
    "place": ["street", "beach"],
    "thing": ["anchor", "ant"],
}
SHOWN = {"page": [], "scene": ["sees", "place"], "object": ["thing"]}


def text(kind: list[float], **found: list[float]) -> str:
    shares = {"sees": [0.0] * 3, "place": [0.0] * 2, "thing": [0.0] * 2, **found, "kind": kind}
    tensors = {name: torch.tensor(of) for name, of in shares.items()}
    return tags_text(tensors, GROUPS, ("sees",), SHOWN)


def test_the_likeliest_tags_come_first_with_their_shares() -> None:
    told = text([0, 0.9, 0.1], sees=[0.5, 0.1, 0.973], place=[0.2, 0.8], thing=[1, 0])
    assert told == "sees: car 97%, dog 50%\nplace: beach 80%, street 20%"


def test_a_doubtful_kind_tells_of_both() -> None:
    told = text([0, 0.5, 0.5], sees=[0.9, 0, 0], thing=[0.3, 0.7])
    assert told == "sees: dog 90%\nthing: ant 70%, anchor 30%"


def test_a_page_has_no_tags() -> None:
    assert text([0.9, 0.1, 0], sees=[1, 1, 1]) == ""


def test_text_of_an_image_is_print_then_tags() -> None:
    assert image_text("STOP", "sees: car 97%") == "STOP\nsees: car 97%"
    assert image_text("", "sees: car 97%") == "sees: car 97%"
    assert image_text("STOP", "") == "STOP"


def test_tags_are_found_by_the_content_of_a_file(tmp_path: Path) -> None:
    first, copy, other = (tmp_path / name for name in ("a.png", "b.png", "c.png"))
    first.write_bytes(b"photo")
    copy.write_bytes(b"photo")
    other.write_bytes(b"another")
    TagFile.write(tmp_path / "tags.jsonl", {str(first): "sees: dog 90%"})
    kept = TagFile(tmp_path / "tags.jsonl")
    assert kept.of(copy) == "sees: dog 90%" and kept.of(other) == ""


@pytest.mark.parametrize("content", ["no json", json.dumps({"tags": "x"}), "[1]"])
def test_a_file_that_is_none_is_refused(tmp_path: Path, content: str) -> None:
    path = tmp_path / "tags.jsonl"
    path.write_text(content, encoding="utf-8")
    with pytest.raises(DataError, match="no file of tags"):
        TagFile(path)
    with pytest.raises(DataError, match="cannot be read"):
        TagFile(tmp_path / "missing.jsonl")
