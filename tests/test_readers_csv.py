"""The csv reader: every field of made-up tables, and faults named with their line."""

from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from vqa import datasets
from vqa.datasets import DataError, Dataset, Example

DATA = Path(__file__).parent / "data" / "readers"
HINT = " (use --data.skip_bad true or --skip-bad to skip and count bad rows)"


def rows(data: Dataset) -> list[Example]:
    return [data[index] for index in range(len(data))]


def refusal(name: str, root: object, split: str, **options: Any) -> str:
    with pytest.raises(DataError) as caught:
        datasets.create(name, None if root is None else str(root), split, **options)
    return str(caught.value)


def table(folder: Path, text: str | bytes, name: str = "train.csv") -> Path:
    for picture in ("a.png", "b.png"):
        Image.new("RGB", (8, 8)).save(folder / picture)
    file = folder / name
    file.write_bytes(text if isinstance(text, bytes) else text.encode())
    return file


def test_csv_one_file_with_splits() -> None:
    file = DATA / "csv" / "questions.csv"
    train = datasets.create("csv", str(file), "train")
    assert train.splits == ("train", "val")
    pictures = DATA / "csv" / "pictures"
    assert rows(train) == [
        Example(
            "q1", str(pictures / "a.png"), "What is it, exactly?", ("a lamp", "lamp"), "object"
        ),
        Example("q2", str(pictures / "b.jpg"), "Two\nlines?", ("yes",), "yes/no"),
    ]
    (val,) = rows(datasets.create("csv", str(file), "val"))
    assert val == Example(
        "q3", str(pictures / "b.jpg"), "Où est-elle ?", ("left, low", "left"), None
    )
    assert train.score("Lamp.", train[0].answers) == 1.0


def test_csv_folder_ids_are_line_numbers_and_an_answer_is_verbatim() -> None:
    data = datasets.create("csv", str(DATA / "csv"), "test")
    assert [(e.question_id, e.answers) for e in rows(data)] == [(2, ("a|b",)), (3, ("2",))]


BAD_ROWS = {
    "cells": ("a.png,why,not?,x", "4 cells under 3 columns (image, question, answers); quote"),
    "image": ("c.png,why?,x", "image c.png is not in {folder}"),
    "escape": ("../a.png,why?,x", "image '../a.png' is not a path inside {folder}"),
    "question": ("a.png, ,x", "question must be a non-empty string, not ' '"),
    "answer": ("a.png,why?,", "answers must be a non-empty string, not ''"),
    "answers": ("a.png,why?,x||y", "answers must be non-empty between |, not 'x||y'"),
}


@pytest.mark.parametrize(("bad", "reason"), BAD_ROWS.values(), ids=BAD_ROWS)
def test_csv_bad_row(tmp_path: Path, bad: str, reason: str) -> None:
    text = f'image,question,answers\na.png,"two\nlines?",yes\n{bad}\nb.png,what?,no\n'
    file = table(tmp_path, text)
    told = f"{file}: line 4: {reason.format(folder=tmp_path)}"  # a row before it has two lines
    message = refusal("csv", tmp_path, "train")
    assert message.startswith(told) and message.endswith(HINT)
    data = datasets.create("csv", str(tmp_path), "train", skip_bad=True)
    assert [e.question for e in rows(data)] == ["two\nlines?", "what?"]
    assert len(data.skipped) == 1 and data.skipped[0].startswith(told)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", ":1: there is no column 'image'; the header is empty, separated by commas"),
        ("image;question;answer\n", "'image'; the header is image;question;answer, separated by"),
        ("image,answer\n", ":1: there is no column 'question'; the header is image, answer"),
        ("image,question\n", ":1: give either a column answer or a column answers"),
        ("image,question,answer,answers\n", "give either a column answer or a column answers"),
        ("image,question,image,answer\n", ":1: the column 'image' stands twice"),
        ("image,question,answer\n", "has no good line (0 bad lines)"),
        ('image,question,answer\na.png,"w" hy,yes\n', ":2: not valid CSV ("),
        (b"image,question,answer\na.png,\xff,yes\n", "is not UTF-8 (byte 28); save it as UTF-8"),
    ],
)
def test_csv_bad_file(tmp_path: Path, text: str | bytes, reason: str) -> None:
    file = table(tmp_path, text)
    message = refusal("csv", tmp_path, "train")
    assert message.startswith(str(file)) and reason in message


def test_csv_ids_are_unique(tmp_path: Path) -> None:
    table(tmp_path, "image,question,answer,question_id\na.png,a?,x,7\nb.png,b?,y,7\n")
    assert "line 3: question_id '7' repeats line 2" in refusal("csv", tmp_path, "train")


def test_csv_which_file(tmp_path: Path) -> None:
    file = table(tmp_path, "image,question,answer\na.png,a?,x\n", "all.csv")
    assert "csv needs a root" in refusal("csv", None, "train")
    told = refusal("csv", tmp_path, "train")
    assert told == (
        f"{tmp_path}/train.csv does not exist (the folder has all.csv); pass a CSV file or a "
        "folder with it"
    )
    assert "no CSV file is there" in refusal("csv", tmp_path / "nowhere", "train")
    assert ":1: there is no column split among image, question" in refusal("csv", file, "train")
    told = refusal("csv", DATA / "csv" / "questions.csv", "test")
    assert told.endswith("has no row of split 'test'; it has train, val")
