"""Faults of array submissions: each named, and found where the servers' tools refuse."""

import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from vqa import submissions
from vqa.datasets import Dataset

DATA = Path(__file__).parent / "data" / "readers"


def opened(name: str, split: str, **options: Any) -> tuple[submissions.Submission, Dataset]:
    form = submissions.create(name)
    return form, submissions.open_dataset(form, name, str(DATA / name), split, **options)


def v2(rows: Any) -> list[str]:
    """The faults of a submission to VQA v2's test split, ids 9000 and 9001."""
    form, data = opened("vqa_v2", "test")
    content = rows if isinstance(rows, bytes) else json.dumps(rows).encode()
    return submissions.check(form, data, content)


def row(identity: Any = 9000, answer: Any = "yes") -> dict[str, Any]:
    return {"question_id": identity, "answer": answer}


MISSING = "is missing; the server wants every question of the split answered"
FAULTS: dict[str, tuple[Any, list[str]]] = {
    "missing": ([row()], [f"question_id 9001 {MISSING}"]),
    "none": ([], [f"question_id 9000 {MISSING}", f"question_id 9001 {MISSING}"]),
    "extra": (
        [row(), row(9001), row(77)],
        ["row 2: question_id 77 is not in the data set; remove it, or check another split"],
    ),
    "duplicate": (
        [row(), row(9001), row(9000, "no")],
        ["row 2: question_id 9000 repeats row 0; keep one of them"],
    ),
    "id is text": (
        [row("9000"), row(9001)],
        ["row 0: question_id '9000' is a string and must be a number, as in the data set"],
    ),
    "text and number": (
        [row("9000"), row(9001), row(9000)],
        [
            "row 0: question_id '9000' is a string and must be a number, as in the data set",
            "row 2: question_id 9000 repeats row 0; keep one of them",
        ],
    ),
    "id is a float": (
        [row(9000.0), row(9001)],
        [
            "row 0: question_id must be an integer, not 9000.0; write it as the data set does",
            f"question_id 9000 {MISSING}",
        ],
    ),
    "id is a list": (
        [row([1]), row(9001), row(9000)],
        ["row 0: question_id must be an integer, not [1]; write it as the data set does"],
    ),
    "answer is a number": (
        [row(answer=5), row(9001)],
        ["row 0: question_id 9000: answer must be a string, not 5"],
    ),
    "answer is null": (
        [row(), row(9001, None)],
        ["row 1: question_id 9001: answer must be a string, not None"],
    ),
    "surrogate": (
        [row(answer="\ud800"), row(9001)],
        [
            "row 0: question_id 9000: answer '\\ud800' holds half a character (a lone surrogate); "
            "write the answer again"
        ],
    ),
    "no answer": (
        [{"question_id": 9000}, row(9001)],
        ["row 0: question_id 9000 has no 'answer'"],
    ),
    "no id": (
        [{"answer": "x"}, row(), row(9001)],
        ["row 0: 'question_id' is missing in {'answer': 'x'}"],
    ),
    "no object": ([row(), 5, row(9001)], ["row 1: must be an object, not 5"]),
    "object": (
        {"9000": "yes"},
        ['the file holds an object, not an array of {"question_id": ..., "answer": ...}'],
    ),
    "null": (
        None,
        ['the file holds null, not an array of {"question_id": ..., "answer": ...}'],
    ),
    "UTF-16": ("[]".encode("utf-16"), ["byte 0 (0xff) is not UTF-8; save the file as UTF-8"]),
    "Latin-1": (
        b'[{"question_id": 9000, "answer": "caf\xe9"}]',
        ["byte 37 (0xe9) is not UTF-8; save the file as UTF-8"],
    ),
    "BOM": (
        b"\xef\xbb\xbf[]",
        ["the file starts with a byte order mark; save it as UTF-8 without one"],
    ),
    "several": (
        [row(answer=[]), row(5), 0],
        [
            "row 0: question_id 9000: answer must be a string, not []",
            "row 1: question_id 5 is not in the data set; remove it, or check another split",
            "row 2: must be an object, not 0",
            f"question_id 9001 {MISSING}",
        ],
    ),
}


@pytest.mark.parametrize(("rows", "told"), FAULTS.values(), ids=FAULTS)
def test_fault(rows: Any, told: list[str]) -> None:
    assert v2(rows) == told


@pytest.mark.parametrize("content", [b"", b"[{", b"{}]", b"[" * 100_000, b"nan"])
def test_no_json(content: bytes) -> None:
    (fault,) = v2(content)
    assert fault.startswith("the file is not valid JSON (") and fault.endswith("; write it again")


def test_no_fault() -> None:
    """Any order, an empty answer, further keys: servers take them."""
    assert v2([row(9001, ""), {**row(), "probability": 0.5}]) == []


def test_multiple_choice_wants_a_choice() -> None:
    form, data = opened("vqa_v1", "val", task="multiple_choice")
    rows = [row(30, "no"), row(31, "Circle"), row(40, "3")]
    assert submissions.check(form, data, json.dumps(rows).encode()) == [
        "row 1: question_id 31: answer 'Circle' is none of the choices: bar, circle, yes, 4"
    ]
    form, data = opened("vqa_v1", "val")
    assert submissions.check(form, data, json.dumps(rows).encode()) == []


JUNK: tuple[Any, ...] = (
    None,
    True,
    0,
    9000.5,
    1e999,
    "",
    "9000",
    [],
    [[]],
    {},
    {"question_id": {}},
    "\ud800",
)


@pytest.mark.parametrize("name", submissions.available())
def test_no_content_breaks_a_check(name: str) -> None:
    """Junk at every level is told of in sentences of one line, and deep or long values in short."""
    dataset = name.split("_answer")[0]
    form = submissions.create(dataset, "answerability" if dataset != name else None)
    split = "test" if dataset in ("vqa_v2", "clevr") else "train" if name == "st_vqa" else "val"
    data = submissions.open_dataset(form, dataset, str(DATA / dataset), split)
    keys = ("question_id", "questionId", "image", "answer", "prediction", "direct_answer")
    deep: Any = []
    for _ in range(600):
        deep = [deep]
    contents: list[Any] = [*JUNK, deep, [deep], ["x" * 10_000], {"a": deep}, {"x" * 10_000: 1}]
    for value in (*JUNK, deep, "x" * 10_000):
        rows = [{key: value} for key in keys] + [dict.fromkeys(keys, value)]
        contents += [rows, {str(data[0].question_id): rows[-1]}, {"9000": value}, [value]]
    for content in contents:
        faults = submissions.check(form, data, json.dumps(content).encode())
        assert faults and all(len(fault) < 400 and "\n" not in fault for fault in faults)


def accepted(content: Any, expected: set[Any]) -> bool:
    """The conventions of VQA v2 as a plain reading of its official loader, and strict types."""
    if type(content) is not list:
        return False
    try:
        found = [entry["question_id"] for entry in content]
        answers = [entry["answer"] for entry in content]
    except (TypeError, KeyError):
        return False
    plain = all(type(name) is int for name in found) and all(type(a) is str for a in answers)
    return plain and sorted(found) == sorted(expected)


def test_faults_where_the_loader_refuses_and_nowhere_else() -> None:
    chance = random.Random(0)
    form, data = opened("ok_vqa", "val")
    expected = {5005, 5006, 6005}
    changes: list[Callable[[list[Any]], object]] = [
        lambda rows: rows.pop(chance.randrange(len(rows))),
        lambda rows: rows.append(dict(rows[0])),
        lambda rows: rows.append(row(chance.choice([1, "5005", 5005, None, 5005.0, True, {}]))),
        lambda rows: rows[0].update(answer=chance.choice(["", "no", 1, None, ["x"], {}])),
        lambda rows: rows[0].pop("answer"),
        lambda rows: rows[0].update(more=1),
        lambda rows: chance.shuffle(rows),
        lambda rows: rows.insert(0, chance.choice([[], "x", 3, None])),
    ]
    seen = set()
    for _ in range(300):
        rows: list[Any] = [row(name) for name in expected]
        for change in chance.sample(changes, chance.randint(0, 2)):
            try:
                change(rows)
            except (AttributeError, ValueError, TypeError):
                continue  # a change on top of one that left nothing to change
        faults = submissions.check(form, data, json.dumps(rows).encode())
        assert (faults == []) == accepted(rows, expected), (rows, faults)
        seen.add(faults == [])
    assert seen == {True, False}
