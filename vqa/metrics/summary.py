"""Means of scores in percent, overall and by group, as reports hold them."""

from collections import defaultdict
from collections.abc import Hashable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from vqa.datasets import Example


def paired(
    examples: Sequence["Example"], predictions: Sequence[str]
) -> Iterator[tuple["Example", str]]:
    """Each example with its prediction.

    Raises ValueError, in one sentence, when their numbers differ, when there are none, or at an
    example without answers.
    """
    if len(examples) != len(predictions) or not examples:
        raise ValueError(
            f"a report needs one prediction for each question and at least one, not "
            f"{len(predictions)} predictions for {len(examples)} questions"
        )
    for example, prediction in zip(examples, predictions, strict=True):
        if not example.answers:
            raise ValueError(
                f"question {example.question_id!r} has no answers to score with; report on a split "
                "that has them"
            )
        yield example, prediction


def percent(scores: Sequence[float]) -> float:
    """The mean of scores in [0, 1], in percent, not rounded."""
    return 100 * sum(scores) / len(scores)


def mean_score(scores: Sequence[float]) -> dict[str, Any]:
    """{overall: percent rounded to 2 places, overall_unrounded: percent, n: how many}."""
    value = percent(scores)
    return {"overall": round(value, 2), "overall_unrounded": value, "n": len(scores)}


def mean_scores(names: Sequence[Hashable], scores: Sequence[float]) -> dict[str, dict[str, Any]]:
    """Of each group {score: percent rounded, unrounded: percent, n: how many}, sorted by name.

    Scores whose group is None are in no group. Numbers sort as numbers and become strings, as JSON
    would make them.
    """
    groups: dict[Any, list[float]] = defaultdict(list)
    for name, score in zip(names, scores, strict=True):
        if name is not None:
            groups[name].append(score)
    return {str(name): group(groups[name]) for name in sorted(groups)}


def group(scores: Sequence[float]) -> dict[str, Any]:
    """{score: percent rounded to 2 places, unrounded: percent, n: how many}."""
    value = percent(scores)
    return {"score": round(value, 2), "unrounded": value, "n": len(scores)}
