"""Which questions of a data set are counted apart: see results.py."""

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from vqa.metrics import normalise

LARGE = 8_000_000
"""Pixels from which a scan is counted apart."""

Row = dict[str, Any]
Test = Callable[[int | str], bool]
"""Whether a question belongs to a group, by its id."""


def questions(file: Path) -> dict[int | str, Row]:
    """The lines of a split by question id; none where there is no such file."""
    if not file.is_file():
        return {}
    with file.open(encoding="utf-8") as lines:
        return {row["question_id"]: row for row in map(json.loads, lines)}


def by_kind(field: str, asked: Mapping[int | str, Row], run: Mapping[int | str, Row]) -> list[str]:
    """Values of `field`, in the order of the questions of `run`."""
    found = (kind_of(field, key, asked, run) for key in run)
    return [kind for kind in dict.fromkeys(found) if kind is not None]


def kind_of(
    field: str, key: int | str, asked: Mapping[int | str, Row], run: Mapping[int | str, Row]
) -> str | None:
    """`field` of a question's meta, or of its prediction where the data set is not at hand."""
    meta = asked[key].get("meta") or {} if key in asked else run[key]
    kind = meta.get(field)
    return None if kind is None else str(kind)


def groups(
    field: str, asked: Mapping[int | str, Row], run: Mapping[int | str, Row]
) -> dict[str, Test]:
    """All questions, and those of each kind."""
    tests: dict[str, Test] = {"all": lambda key: True}
    for name in by_kind(field, asked, run):
        tests[name] = lambda key, name=name: kind_of(field, key, asked, run) == name  # type: ignore[misc]
    return tests


def receipts(asked: Mapping[int | str, Row], learned: Mapping[int | str, Row]) -> dict[str, Test]:
    """Receipts by size, and by whether training shows one of the same shop, which looks alike."""
    shop, known = shops(asked), set(shops(learned).values())

    def large(key: int | str) -> bool:
        meta = asked[key]["meta"]
        return bool(meta["width"] * meta["height"] > LARGE)

    def seen(key: int | str) -> bool:
        return shop.get(asked[key]["image"]) in known

    return {
        "scans over 8 megapixels": large,
        "scans up to 8 megapixels": lambda key: not large(key),
        "shops that training shows": seen,
        "shops that training does not show": lambda key: not seen(key),
    }


def shops(asked: Mapping[int | str, Row]) -> dict[str, str]:
    """Who issued each receipt, by its image."""
    company = [row for row in asked.values() if row["meta"]["kind"] == "company"]
    return {row["image"]: normalise(row["answers"][0]) for row in company}
