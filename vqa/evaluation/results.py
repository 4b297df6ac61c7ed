"""The files that an evaluation leaves behind."""

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from vqa.datasets import Dataset, Example
from vqa.evaluation.journal import Journal, Row, write
from vqa.evaluation.scores import scores_of


def row_of(dataset: Dataset, example: Example, answer: str, probability: float) -> Row:
    """A line of predictions.jsonl; nothing in it differs from run to run."""
    score = dataset.score(answer, example.answers) if example.answers else None
    return {
        "question_id": example.question_id,
        "image": os.path.basename(example.image),
        "question": example.question,
        "answers": example.answers,
        "answer_type": example.answer_type,
        "question_type": example.question_type,
        "answer": answer,
        "score": score,
        "probability": probability,
        "tokens": 0,
        "padding": 0,
    }


def finish(
    journal: Journal,
    dataset: Dataset,
    examples: Sequence[Example],
    costs: list[dict[str, Any]],
) -> dict[str, Any]:
    """Writes all of them, the answers in the order of the data set; returns the scores."""
    rows, out = journal.rows(), journal.out
    ordered = [rows[example.question_id] for example in examples]
    _write_json(out / "results.json", [_result(row) for row in ordered])
    scores = scores_of(dataset, examples, ordered)
    _write_json(out / "scores.json", scores)
    _write_json(out / "cost.json", _cost(costs))
    journal.close(ordered)
    return scores


def _result(row: Row) -> Row:
    return {"question_id": row["question_id"], "answer": row["answer"]}


def _cost(costs: list[dict[str, Any]]) -> dict[str, Any]:
    """Of all processes together: they work at the same time, each with memory of its own."""
    seconds = max(cost["seconds"] for cost in costs)
    questions, tokens = (sum(cost[name] for cost in costs) for name in ("questions", "tokens"))
    return {
        "questions": questions,
        "processes": len(costs),
        "seconds": round(seconds, 3),
        "questions_per_second": round(questions / max(seconds, 1e-9), 3),
        "tokens_per_second": round(tokens / max(seconds, 1e-9), 1),
        "peak_bytes": max(cost["peak_bytes"] for cost in costs),
    }


def _write_json(path: Path, content: Any) -> None:
    write(path, json.dumps(content, ensure_ascii=False, indent=1) + "\n")
