"""The answers of a run to be sent: a folder that `vqa evaluate` wrote, or one of its files."""

import json
import os
from collections.abc import Sequence
from pathlib import Path

from vqa.dataset_options import parse_options
from vqa.datasets import Example
from vqa.evaluation import predictions
from vqa.evaluation.predictions import Rows
from vqa.submissions import SubmissionError
from vqa.submissions._reading import shown

_FIELDS = ("question_id", "question", "image", "answer", "probability", "top_k")


def read(path: Path) -> Rows:
    """What a submission needs of a run's answers. Raises RunError in one sentence."""
    return {
        row["question_id"]: {field: row[field] for field in _FIELDS if field in row}
        for row in predictions.read(path).values()
    }


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
