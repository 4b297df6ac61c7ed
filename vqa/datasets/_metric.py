"""Metrics by name, for data sets that have none of their own."""

from collections.abc import Callable, Sequence

from vqa import metrics
from vqa.datasets._reading import known_option

METRICS: dict[str, Callable[[str, Sequence[str]], float]] = {
    name: getattr(metrics, name)
    for name in (
        "exact_match",
        "vqa_accuracy",
        "textvqa_accuracy",
        "aokvqa_accuracy",
        "anls",
        "relaxed_accuracy",
        "gqa_accuracy",
    )
}


def known_metric(name: str, metric: str) -> Callable[[str, Sequence[str]], float]:
    """The function of vqa.metrics for the data set `name`. Raises DataError where there is none."""
    return METRICS[known_option(name, "metric", metric, METRICS)]
