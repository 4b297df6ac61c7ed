"""What `vqa evaluate` wrote, compared with what it writes where other shapes are summed."""

import json
from pathlib import Path
from typing import Any

import pytest

Row = dict[str, Any]


def rows_of(out: Path) -> list[Row]:
    text = (out / "predictions.jsonl").read_text(encoding="utf-8")
    return [json.loads(line) for line in text.splitlines()]


def chances_of(rows: list[Row]) -> list[float]:
    """All probabilities, in their order."""
    return [
        chance
        for row in rows
        for chance in (row["probability"], *(each["score"] for each in row["top_k"]))
    ]


def same_answers(out: Path, other: Path) -> None:
    """Everything is the same but for the last digits of probabilities: products of other shapes (an
    image in a batch or by itself, padded or not) end in other bits, on some processors.

    Relative, for those of an untrained model may be 1e-30.
    """
    found, expected = rows_of(out), rows_of(other)
    assert chances_of(found) == pytest.approx(chances_of(expected), rel=1e-4, abs=0)
    assert [_plain(row) for row in found] == [_plain(row) for row in expected]


def _plain(row: Row) -> Row:
    """`row` without probabilities."""
    return {**row, "probability": None, "top_k": [each["answer"] for each in row["top_k"]]}
