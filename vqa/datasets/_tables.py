"""Rows of tables on the Hugging Face hub as examples: which column is what, one row."""

import importlib
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from vqa.datasets import DataError, Example
from vqa.datasets._reading import a_text, an_id

_ANSWERS = ("answers", "answer")
_IDS = ("question_id", "questionId", "qid")


@dataclass(frozen=True)
class Columns:
    """The names of the columns that are read; None: the table has no such column."""

    image: str
    question: str
    answers: str | None
    question_id: str | None
    answer_type: str | None
    question_type: str | None
    labelled: bool
    """Whether every question must have an answer."""

    @property
    def text(self) -> list[str]:
        """All but the image."""
        names = (self.question, self.answers, self.question_id, self.answer_type)
        return [name for name in (*names, self.question_type) if name is not None]


def choose_columns(
    where: str,
    split: str,
    present: Sequence[str],
    image: str,
    question: str,
    answers: str | None,
    question_id: str | None,
) -> Columns:
    """Those asked for, and of the usual names those there are. Raises DataError.

    Questions of splits to learn and choose from (train, val, dev) must have answers.
    """
    for option, name in (
        ("image", image),
        ("question", question),
        ("answers", answers),
        ("question_id", question_id),
    ):
        if name is not None and name not in present:
            raise DataError(
                f"{where} has no column {name!r}; name one of {', '.join(present)} by the option "
                f"{option}"
            )
    answers = answers or _first(_ANSWERS, present)
    labelled = split.startswith(("train", "val", "dev"))
    if labelled and answers is None:
        raise DataError(
            f"{where} has no column answers or answer; name one of {', '.join(present)} by the "
            "option answers"
        )
    return Columns(
        image,
        question,
        answers,
        question_id or _first(_IDS, present),
        _first(("answer_type",), present),
        _first(("question_type",), present),
        labelled,
    )


def make_example(
    columns: Columns, place: int, image: str | None, row: Mapping[str, Any]
) -> Example:
    """One row; `place` is its id where the table has no ids. Raises DataError with the reason."""
    accepted = () if columns.answers is None else answers_of(row[columns.answers], columns.answers)
    if not accepted and columns.labelled:
        raise DataError(f"{columns.answers} holds no answer")
    if image is None:
        raise DataError(f"{columns.image} holds no image")
    if not os.path.isfile(image):
        raise DataError(f"image file {image} does not exist")
    named = columns.question_id
    return Example(
        place if named is None else an_id(row, named),
        image,
        a_text(row, columns.question),
        accepted,
        _kind(row, columns.answer_type),
        _kind(row, columns.question_type),
    )


def answers_of(value: Any, name: str) -> tuple[str, ...]:
    """One answer, a list of them or of objects with the key answer; null and [] are none."""
    if value is None:
        return ()
    return tuple(_answer(item, name) for item in (value if isinstance(value, list) else [value]))


def content_of(value: Any) -> bytes | str | None:
    """The bytes or the path of an image: both, of which bytes count, or one of them."""
    if isinstance(value, Mapping):
        value = value.get("bytes") or value.get("path")
    return value if isinstance(value, bytes | str) and value else None


def library(name: str) -> Any:
    """A module of the extra `datasets`. Raises DataError where it is not installed."""
    try:
        return importlib.import_module(name)
    except ImportError as error:
        package = name.split(".")[0]
        raise DataError(
            f'{package} is not installed; pip install "latte-vqa[datasets]" to read such data sets'
        ) from error


def _answer(item: Any, name: str) -> str:
    if isinstance(item, Mapping):
        item = item.get("answer")
    if type(item) in (int, float):
        return str(item)
    if not isinstance(item, str) or not item.strip():
        raise DataError(f"{name} must hold non-empty strings, not {str(item)[:80]!r}")
    return item


def _kind(row: Mapping[str, Any], name: str | None) -> str | None:
    value = None if name is None else row[name]
    if value is not None and not isinstance(value, str):
        raise DataError(f"{name} must be a string, not {str(value)[:80]!r}")
    return value


def _first(names: Sequence[str], present: Sequence[str]) -> str | None:
    return next((name for name in names if name in present), None)
