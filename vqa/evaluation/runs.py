"""Runs to be compared: predictions with scores."""

from dataclasses import dataclass
from pathlib import Path

from vqa.evaluation import predictions
from vqa.evaluation.predictions import Row, Rows, RunError

_FIELDS = (
    *("question_id", "question", "answers", "answer_type", "question_type", "image"),
    *("score", "probability", "answer"),
)


@dataclass(frozen=True)
class Run:
    """The answers of one model."""

    name: str
    file: Path
    rows: Rows
    """What a comparison needs of the lines of predictions.jsonl."""


def read(path: Path) -> Run:
    """The run in a folder that `vqa evaluate` wrote, or in its predictions.jsonl.

    Raises RunError, in one sentence.
    """
    rows: Rows = {}
    for where, row in predictions.read(path).items():
        _check(row, where)
        # top_k and the like may be many.
        rows[row["question_id"]] = {field: row.get(field) for field in _FIELDS}
    name, file = str(path), path
    if path.is_dir():
        name, file = path.resolve().name, path / "predictions.jsonl"
    return Run(name, file, rows)


def _check(row: Row, where: str) -> None:
    score, answers, probability = (row.get(f) for f in ("score", "answers", "probability"))
    if not isinstance(row.get("question"), str):
        raise RunError(f"{where}: question must be a string, not {row.get('question')!r}")
    if isinstance(score, bool) or not isinstance(score, int | float) or not 0 <= score <= 1:
        raise RunError(
            f"{where}: score must be a number in [0, 1], not {score!r}; evaluate a split that has "
            "answers"
        )
    answers = answers or []
    if not (isinstance(answers, list) and all(isinstance(answer, str) for answer in answers)):
        raise RunError(f"{where}: answers must be a list of strings, not {str(answers)[:80]}")
    if not isinstance(probability, int | float | None):
        raise RunError(f"{where}: probability must be a number, not {probability!r}")
    for field in ("answer_type", "question_type", "image"):
        if not isinstance(row.get(field), str | None):
            raise RunError(f"{where}: {field} must be a string, not {row[field]!r}")
