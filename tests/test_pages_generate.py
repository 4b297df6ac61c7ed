"""`vqa generate pages`: files that the jsonl data set reads, and the boxes in them."""

import json
from pathlib import Path

import pytest

from vqa import images
from vqa.__main__ import main
from vqa.datasets.jsonl import Dataset as Jsonl
from vqa.datasets.pages import Dataset


def test_jsonl_reads_what_was_drawn(tmp_path: Path) -> None:
    options = ["--split", "val", "--count", "9", "--size", "256"]
    assert main(["generate", "pages", "--out", str(tmp_path), *options]) == 0
    data = Dataset(None, "val", size=256, count=9)
    read = Jsonl(str(tmp_path), "val")
    lines = (tmp_path / "val.jsonl").read_text(encoding="utf-8").splitlines()
    assert len(read) == len(lines) == 9 and not list(tmp_path.glob("*.part"))
    for index, line in enumerate(lines):
        drawn, pixels = data.render(index)
        found, scene, meta = read[index], data.scene(index), json.loads(line)["meta"]
        assert (found.question_id, found.question, found.answers, found.answer_type) == (
            *(drawn.question_id, drawn.question, drawn.answers, drawn.answer_type),
        )
        assert (images.load(found.image) == pixels).all()
        assert (meta["kind"], meta["width"], meta["height"]) == (
            *(scene.kind, scene.width, scene.height),
        )
        assert meta["boxes"] == [list(box) for box in scene.evidence]
        assert meta.get("box") == (meta["boxes"][0] if len(meta["boxes"]) == 1 else None)
        assert meta.get("chance") == (0.5 if scene.choices else None)


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (["--kinds", "riddle"], "pages has no kind 'riddle'; choose from text"),
        (["--object-size", "32"], "the data set pages has no option 'object_size'"),
        (["--aspect", "0.5"], "the data set pages has no option 'aspect'"),
        (["--size", "20"], "a page of 20 pixels cannot be drawn"),
    ],
)
def test_mistakes_get_one_sentence_and_write_nothing(
    options: list[str], told: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["generate", "pages", "--out", str(tmp_path / "out"), *options]) == 2
    error = capsys.readouterr().err
    assert error.startswith("vqa: ") and told in error and error.count("\n") == 1
    assert not (tmp_path / "out").exists()
