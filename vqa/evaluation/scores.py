"""From answers to numbers: the data set's score with its interval, by kind; the official report."""

from collections.abc import Sequence
from typing import Any

from vqa.datasets import Dataset, Example, Reported
from vqa.evaluation.bootstrap import bootstrap
from vqa.evaluation.confidence import abstention, calibration
from vqa.evaluation.journal import Row

KINDS = ("answer_type", "question_type")


def scores_of(dataset: Dataset, examples: Sequence[Example], rows: Sequence[Row]) -> dict[str, Any]:
    """What scores.json holds; in percent, with 95 % intervals, by kind, calibration, abstention.

    "padding" is the share of all tokens read that was padding; questions without an accepted answer
    are answered and not scored.
    """
    scored = [row for row in rows if row["score"] is not None]
    found: dict[str, Any] = {"n": len(rows), "scored": len(scored)}
    if scored:
        found = {"overall": (whole := _part(scored)).pop("score"), **whole, **found}
        for name in KINDS:
            kinds = sorted({row[name] for row in scored if row[name] is not None})
            if kinds:
                found[f"per_{name}"] = {
                    kind: _part([row for row in scored if row[name] == kind]) for kind in kinds
                }
        if isinstance(dataset, Reported) and len(scored) == len(rows):
            found["official"] = dataset.report(examples, [row["answer"] for row in rows])
        pairs = [row["probability"] for row in scored], [row["score"] for row in scored]
        if None not in pairs[0]:
            found["calibration"] = calibration(*pairs)
            found["abstention"] = abstention(*pairs)
    padding = sum(row["padding"] for row in rows)
    tokens = sum(row["tokens"] for row in rows) + padding
    found["padding"] = round(padding / max(1, tokens), 4)
    found["skipped"] = len(dataset.skipped)
    return found


def _part(rows: Sequence[Row]) -> dict[str, Any]:
    values = [row["score"] for row in rows]
    _, low, high, _ = bootstrap(values, [row["image"] for row in rows])
    return {
        "score": round(100 * sum(values) / len(values), 2),
        "interval": [round(100 * low, 2), round(100 * high, 2)],
        "n": len(values),
    }
