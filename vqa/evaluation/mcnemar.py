"""McNemar's exact test: whether one of two models is right more often on the same questions."""

from collections.abc import Sequence
from typing import NamedTuple


class McNemar(NamedTuple):
    """Questions only the first, and only the second has right, and how likely chance is."""

    first_only: int
    second_only: int
    p_value: float


def mcnemar(first: Sequence[bool], second: Sequence[bool]) -> McNemar:
    """The exact two-sided test (binomial, one half) on questions that one has right only."""
    first_only = sum(a and not b for a, b in zip(first, second, strict=True))
    second_only = sum(b and not a for a, b in zip(first, second, strict=True))
    discordant = first_only + second_only
    tail = term = 1
    for right in range(min(first_only, second_only)):
        term = term * (discordant - right) // (right + 1)
        tail += term
    # Whole numbers: exact, and no overflow however many questions there are.
    return McNemar(first_only, second_only, min(1.0, 2 * tail / (1 << discordant)))
