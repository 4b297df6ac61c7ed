"""The formula of VQA: an answer is as right as other annotators say it is."""

from functools import cache


@cache
def consensus(matches: int, annotators: int) -> float:
    """Accuracy of an answer that `matches` of the annotators gave.

    The mean over annotators i of min(1, matches among the others / 3): one is left out by
    position, never by value. With ten annotators 0, .3, .6, .9 and 1 from four matches on.
    """
    with_match = matches * min(1.0, (matches - 1) / 3)
    without = (annotators - matches) * min(1.0, matches / 3)
    return (with_match + without) / annotators
