"""`vqa generate canvas`: files that the jsonl data set reads, and the boxes in them."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from vqa import images
from vqa.__main__ import main
from vqa.datasets.canvas import Dataset
from vqa.datasets.jsonl import Dataset as Jsonl

SMALL = ["--size", "128", "--object-size", "16", "--fonts", "builtin"]


def generate(out: Path, *options: str) -> int:
    return main(["generate", "canvas", "--out", str(out), *SMALL, *options])


def rows(file: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]


def test_jsonl_reads_what_was_drawn(tmp_path: Path) -> None:
    assert generate(tmp_path, "--split", "val", "--count", "9") == 0
    data = Dataset(None, "val", size=128, object_size=16, count=9, fonts="builtin")
    read = Jsonl(str(tmp_path), "val")
    assert len(read) == 9 and not list(tmp_path.glob("*.part"))
    for index in range(9):
        drawn, pixels = data.render(index)
        found = read[index]
        assert (found.question_id, found.question, found.answers, found.answer_type) == (
            *(drawn.question_id, drawn.question, drawn.answers, drawn.answer_type),
        )
        assert (images.load(found.image) == pixels).all()
    for index, row in enumerate(rows(tmp_path / "val.jsonl")):
        scene, meta = data.scene(index), row["meta"]
        assert meta["boxes"] == [list(box) for box in scene.evidence]
        assert meta.get("box") == (meta["boxes"][0] if len(meta["boxes"]) == 1 else None)
        assert (meta["kind"], meta["width"], meta["height"]) == (scene.kind, 128, 128)
        assert abs(meta["chance"] - 1 / len(scene.choices)) < 1e-6
        assert row["split"] == "val"


def test_options(tmp_path: Path) -> None:
    options = ["--count", "4", "--kinds", "count,sum", "--seed", "3", "--format", "jpg"]
    assert generate(tmp_path, *options, "--aspect", "0.5", "--size", "256") == 0
    data = Dataset(
        None,
        "test",
        size=256,
        object_size=16,
        count=4,
        kinds="count,sum",
        seed=3,
        aspect=0.5,
        fonts="builtin",
    )
    read = Jsonl(str(tmp_path), "test")
    for index in range(4):
        found, pixels = images.load(read[index].image), data.render(index)[1]
        assert read[index].image.endswith(f"{index}.jpg") and found.shape == (3, 256, 128)
        difference = np.abs(found.numpy().astype(int) - pixels.numpy())
        assert 0 < difference.mean() < 4
        assert read[index].question == data[index].question


def test_splits_share_a_folder_and_none_is_lost(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for split in ("train", "val"):
        assert generate(tmp_path, "--split", split, "--count", "2") == 0
    before = (tmp_path / "train.jsonl").read_bytes()
    capsys.readouterr()
    again = ["--split", "train", "--count", "3", "--seed", "1"]
    assert generate(tmp_path, *again) == 2
    told = capsys.readouterr().err
    assert told.splitlines()[-1] == (
        f"vqa: {tmp_path} already has a split 'train'; choose another folder, or --overwrite"
    )
    assert (tmp_path / "train.jsonl").read_bytes() == before
    assert generate(tmp_path, *again, "--overwrite") == 0
    assert len(Jsonl(str(tmp_path), "train")) == 3 and len(Jsonl(str(tmp_path), "val")) == 2


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (["--kinds", "riddle"], "canvas has no kind 'riddle'; choose from attribute"),
        (["--format", "gif"], "images cannot be written as 'gif'; use png or jpg"),
        (["--size", "100"], "100 x 100 pixels is too small for objects of 16"),
        (["--split", "dev"], "canvas has no split 'dev'; choose one of train, val, test"),
        (["--count", "0"], "count cannot be 0"),
    ],
)
def test_mistakes_get_one_sentence_and_write_nothing(
    options: list[str], told: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert generate(tmp_path / "out", *options) == 2
    error = capsys.readouterr().err
    assert error.startswith("vqa: ") and told in error and error.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_only_a_drawn_data_set(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["generate", "jsonl", "--out", str(tmp_path)]) == 2
    told = "'jsonl' cannot be generated; those that can are canvas and pages"
    assert told in capsys.readouterr().err


def test_a_file_is_no_folder(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "file").write_text("")
    assert generate(tmp_path / "file", "--count", "1") == 2
    told = capsys.readouterr().err
    assert str(tmp_path / "file") in told and "cannot be written" in told and "Traceb" not in told
