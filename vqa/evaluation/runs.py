"""What `vqa evaluate` wrote, read again: a run's predictions.jsonl."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

Row = dict[str, Any]
_FIELDS = (
    *("question_id", "question", "answers", "answer_type", "question_type", "image"),
    *("score", "probability", "answer"),
)


class RunError(ValueError):
    """A run that cannot be compared: the file, the line or value, and the remedy."""


@dataclass(frozen=True)
class Run:
    """The answers of one model."""

    name: str
    file: Path
    rows: dict[int | str, Row]
    """The lines of predictions.jsonl by question id: what a comparison needs of them."""


def read(path: Path) -> Run:
    """The run in a folder that `vqa evaluate` wrote, or in its predictions.jsonl.

    Raises RunError, in one sentence.
    """
    file = path / "predictions.jsonl" if path.is_dir() else path
    rows: dict[int | str, Row] = {}
    lines: dict[int | str, int] = {}
    try:
        text = file.read_text(encoding="utf-8")
    except OSError as error:
        raise RunError(
            f"{file} cannot be read ({error.strerror}); give a folder that vqa evaluate wrote, or "
            "its predictions.jsonl"
        ) from error
    except UnicodeDecodeError as error:
        raise RunError(f"{file} is not UTF-8 text ({error.reason})") from error
    # Not splitlines(): an answer may hold a line separator that JSON leaves as it is.
    for number, line in enumerate(text.split("\n"), 1):
        if not line.strip():
            continue
        row = _row(line, f"{file} line {number}")
        identity = row["question_id"]
        if identity in rows:
            raise RunError(
                f"{file} line {number}: question_id {identity!r} is on line {lines[identity]} "
                "already; evaluate into an empty folder"
            )
        rows[identity], lines[identity] = row, number
    if not rows:
        raise RunError(f"{file} holds no predictions; run vqa evaluate first")
    return Run(path.resolve().name if path.is_dir() else str(path), file, rows)


def _row(line: str, where: str) -> Row:
    try:
        row = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise RunError(
            f"{where} is not valid JSON ({error}); if vqa evaluate was interrupted, run it again"
        ) from error
    if not isinstance(row, dict):
        raise RunError(f"{where} holds a JSON {type(row).__name__}, not a prediction")
    if type(row.get("question_id")) not in (int, str):
        raise RunError(
            f"{where}: question_id must be a number or a string, not {row.get('question_id')!r}"
        )
    for field in ("question", "answer"):
        if not isinstance(row.get(field), str):
            raise RunError(f"{where}: {field} must be a string, not {row.get(field)!r}")
    score = row.get("score")
    if isinstance(score, bool) or not isinstance(score, int | float) or not 0 <= score <= 1:
        raise RunError(
            f"{where}: score must be a number in [0, 1], not {score!r}; evaluate a split that has "
            "answers"
        )
    _check_optional(row, where)
    return {field: row.get(field) for field in _FIELDS}  # top_k and the like may be many


def _check_optional(row: Row, where: str) -> None:
    answers, probability = row.get("answers") or [], row.get("probability")
    if not (isinstance(answers, list) and all(isinstance(answer, str) for answer in answers)):
        raise RunError(f"{where}: answers must be a list of strings, not {str(answers)[:80]}")
    if not isinstance(probability, int | float | None):
        raise RunError(f"{where}: probability must be a number, not {probability!r}")
    for field in ("answer_type", "question_type", "image"):
        if not isinstance(row.get(field), str | None):
            raise RunError(f"{where}: {field} must be a string, not {row[field]!r}")
