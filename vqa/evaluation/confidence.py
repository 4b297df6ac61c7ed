"""Whether a model knows when it is right: calibration, and what abstaining buys."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from scipy.optimize import isotonic_regression
from scipy.stats import rankdata

BINS = 15
COVERAGES = (1.0, 0.9, 0.8, 0.7, 0.6, 0.5)


def calibration(probabilities: Sequence[float], scores: Sequence[float]) -> dict[str, Any]:
    """Expected calibration error over 15 equal bins (Guo et al. 2017, eq. 3), and the bins.

    A bin holds its questions' mean probability and mean score. A bin is open to the left.
    """
    p, s = np.asarray(probabilities, np.float64), np.asarray(scores, np.float64)
    place = np.clip(np.ceil(p * BINS).astype(int) - 1, 0, BINS - 1)
    bins, error = [], 0.0
    for number in range(BINS):
        inside = place == number
        if inside.any():
            mean, right = float(p[inside].mean()), float(s[inside].mean())
            error += float(inside.mean()) * abs(mean - right)
            bins.append({"probability": mean, "score": right, "n": int(inside.sum())})
    return {"ece": error, "bins": bins}


def abstention(probabilities: Sequence[float], scores: Sequence[float]) -> dict[str, Any]:
    """What is scored where the model answers only when it is sure enough.

    `curve`: for shares of the questions, the most probable ones, their mean score and the least
    probability among them: the threshold. `area`: mean over all shares of 1 - score (the area under
    the risk-coverage curve, AURC); ties are broken as if drawn: by their mean score.
    """
    p, s = np.asarray(probabilities, np.float64), np.asarray(scores, np.float64)
    order = np.argsort(-p, kind="stable")
    p, s = p[order], _levelled(p[order], s[order])
    means = np.cumsum(s) / np.arange(1, len(s) + 1)
    curve = []
    for share in COVERAGES:
        count = max(1, round(share * len(s)))
        row = {"coverage": count / len(s), "score": float(means[count - 1])}
        curve.append({**row, "threshold": float(p[count - 1])})
    return {"area": float((1 - means).mean()), "curve": curve}


def _levelled(p: np.ndarray, s: np.ndarray) -> np.ndarray:
    """Scores of equal probabilities replaced by their mean, so that their order is no matter."""
    _, group = np.unique(p, return_inverse=True)
    mean: np.ndarray = (np.bincount(group, s) / np.bincount(group))[group]
    return mean


def abstention_threshold(
    probabilities: Sequence[float], scores: Sequence[float], min_accuracy: float = 0.5
) -> float:
    """The least probability from which on answers reach `min_accuracy`.

    By isotonic regression of the scores (Zadrozny and Elkan 2002), so that a lucky answer among
    improbable ones does not decide. 1 if no answers are.
    """
    p, s = np.asarray(probabilities, np.float64), np.asarray(scores, np.float64)
    order = np.argsort(p, kind="stable")
    p, s = p[order], _levelled(p[order], s[order])
    fitted = isotonic_regression(s).x
    above = fitted >= min_accuracy
    return float(p[np.argmax(above)]) if above.any() else 1.0


def auroc(probabilities: Sequence[float], scores: Sequence[float]) -> float:
    """The chance that a right answer is more probable than a wrong one, ties counting half.

    An answer of score s counts as s right and 1 - s wrong ones. NaN if all are right or all wrong.
    """
    s = np.asarray(scores, np.float64)
    ranks = rankdata(np.asarray(probabilities, np.float64), "dense") - 1
    right, wrong = np.bincount(ranks, s), np.bincount(ranks, 1 - s)
    below = np.cumsum(wrong) - wrong
    pairs = right.sum() * wrong.sum()
    return float((right * (below + wrong / 2)).sum() / pairs) if pairs else float("nan")
