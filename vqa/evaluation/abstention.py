"""Fit a model's abstention threshold to validation runs of `vqa evaluate`."""

import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from vqa.evaluation import predictions
from vqa.evaluation.confidence import abstention_threshold, auroc, calibration
from vqa.evaluation.predictions import RunError


def calibrate(folder: Path, runs: Sequence[Path], min_accuracy: float) -> dict[str, Any]:
    """Write `abstain_below` into the config.json of `folder`; what was measured on `runs`.

    An answer below it is right less often than `min_accuracy`. Returns the threshold, the share of
    questions answered, their mean score, the mean score of all, the AUROC of probability for right
    against wrong answers, and the expected calibration error.
    Raises ValueError for a folder without config.json and RunError for runs without scores.
    """
    config = folder / "config.json"
    try:
        content = json.loads(config.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ValueError(f"{config} cannot be read: {error}") from None
    rows = [row for run in runs for row in predictions.read(run).values()]
    scored = [row for row in rows if _number(row.get("score")) and _number(row.get("probability"))]
    if not scored:
        raise RunError("the runs hold no scores; evaluate a split with answers")
    probabilities = [float(row["probability"]) for row in scored]
    scores = [float(row["score"]) for row in scored]
    threshold = abstention_threshold(probabilities, scores, min_accuracy)
    answered = [s for p, s in zip(probabilities, scores, strict=True) if p >= threshold]
    content["abstain_below"] = round(threshold, 3)
    config.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
    return {
        "abstain_below": content["abstain_below"],
        "questions": len(scores),
        "answered": len(answered) / len(scores),
        "score_of_answered": sum(answered) / max(1, len(answered)),
        "score": sum(scores) / len(scores),
        "auroc": auroc(probabilities, scores),
        "ece": calibration(probabilities, scores)["ece"],
    }


def _number(value: Any) -> bool:
    return isinstance(value, int | float) and math.isfinite(value)
