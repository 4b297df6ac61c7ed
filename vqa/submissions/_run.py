"""The answers of a run to be sent: a folder that `vqa evaluate` wrote, or one of its files."""

import json
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from vqa.dataset_options import parse_options
from vqa.datasets import Example
from vqa.datasets._reading import no_collection
from vqa.submissions import SubmissionError
from vqa.submissions._reading import shown

Row = dict[str, Any]
Rows = dict[int | str, Row]
_FIELDS = ("question_id", "question", "image", "answer", "probability", "top_k")


def read(path: Path) -> Rows:
    """By question id: the lines of predictions.jsonl, or the objects of results.json.

    Raises SubmissionError in one sentence.
    """
    file = _file(path)
    try:
        text = file.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise SubmissionError(f"{file} is not UTF-8 text ({error.reason})") from None
    except OSError as error:
        raise SubmissionError(
            f"{file} cannot be read ({error.strerror}); give a folder that vqa evaluate wrote, its "
            "predictions.jsonl or results.json"
        ) from None
    with no_collection():
        return _by_id(file, _lines(text, file) if file.suffix == ".jsonl" else _objects(text, file))


def check_asked(path: Path, rows: Rows, questions: Sequence[Example]) -> None:
    """Raises SubmissionError for a run of another split whose ids happen to be the same.

    A blind baseline leaves the question or the image as it was.
    """
    for question in questions:
        row = rows.get(question.question_id, {})
        if row.get("question") is None or row.get("image") is None:
            continue
        if row["question"] != question.question and row["image"] != os.path.basename(
            question.image
        ):
            raise SubmissionError(
                f"{path} asked {shown(row['question'])} as question_id {question.question_id!r}, "
                f"and the data set asks {shown(question.question)}; give the split that was "
                "evaluated"
            )


def task_of(path: Path, default: str) -> str | None:
    """The option `task` that a folder was evaluated with; None where that is not known."""
    try:
        record = json.loads((path / "run.json").read_text(encoding="utf-8"))
        return str(parse_options(record["options"]).get("task", default))
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _by_id(file: Path, found: Iterator[tuple[str, Any]]) -> Rows:
    rows: Rows = {}
    for where, content in found:
        row = _checked(content, f"{file} {where}")
        identity = row["question_id"]
        if identity in rows:
            raise SubmissionError(
                f"{file} {where}: question_id {identity!r} is there already; evaluate into an "
                "empty folder"
            )
        rows[identity] = row
    return rows


def _file(path: Path) -> Path:
    if not path.is_dir():
        return path
    file = path / "predictions.jsonl"
    if not file.exists() and (path / "parts").is_dir():
        raise SubmissionError(f"{path} is not answered to its end; run vqa evaluate again")
    return file


def _lines(text: str, file: Path) -> Iterator[tuple[str, Any]]:
    # Not splitlines(): an answer may hold a line separator that JSON leaves as it is.
    for number, line in enumerate(text.split("\n"), 1):
        if line.strip():
            yield f"line {number}", _parsed(line, f"{file} line {number}")


def _objects(text: str, file: Path) -> Iterator[tuple[str, Any]]:
    rows = _parsed(text, str(file))
    if not isinstance(rows, list):
        raise SubmissionError(
            f'{file} holds no array of {{"question_id": ..., "answer": ...}}; give the '
            "results.json that vqa evaluate wrote"
        )
    yield from ((f"row {place}", row) for place, row in enumerate(rows))


def _parsed(text: str, where: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise SubmissionError(
            f"{where} is not valid JSON ({error}); run vqa evaluate again"
        ) from None


def _checked(row: Any, where: str) -> Row:
    if not isinstance(row, dict):
        raise SubmissionError(f"{where} must be an object, not {shown(row)}")
    if type(row.get("question_id")) not in (int, str):
        raise SubmissionError(
            f"{where}: question_id must be an integer or a string, not "
            f"{shown(row.get('question_id'))}"
        )
    if not isinstance(row.get("answer"), str):
        raise SubmissionError(f"{where}: answer must be a string, not {shown(row.get('answer'))}")
    return {field: row[field] for field in _FIELDS if field in row}
