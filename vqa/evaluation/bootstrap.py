"""How sure a mean is: percentile bootstrap intervals."""

from collections.abc import Hashable, Sequence

import numpy as np

REPEATS = 1000
LEVEL = 0.95
_AT_ONCE = 2**22  # drawn numbers in memory at a time


def interval(
    values: Sequence[float], groups: Sequence[Hashable] | None = None, seed: int = 0
) -> tuple[float, float]:
    """The 95 % interval of the mean of `values`.

    Whole `groups` are drawn: questions about one image are not independent. The same values give
    the same interval.
    """
    if not len(values):
        return (float("nan"), float("nan"))
    sums, counts = _of_groups(np.asarray(values, np.float64), groups)
    generator = np.random.default_rng(seed)
    means: list[np.ndarray] = []
    step = max(1, _AT_ONCE // len(sums))
    for start in range(0, REPEATS, step):
        size = (min(step, REPEATS - start), len(sums))
        drawn = generator.integers(len(sums), size=size)
        means.append(sums[drawn].sum(1) / counts[drawn].sum(1))
    tail = (1 - LEVEL) / 2
    low, high = np.quantile(np.concatenate(means), (tail, 1 - tail))
    return float(low), float(high)


def _of_groups(
    values: np.ndarray, groups: Sequence[Hashable] | None
) -> tuple[np.ndarray, np.ndarray]:
    """Sum and count of each group."""
    if groups is None:
        return values, np.ones(len(values))
    numbers: dict[Hashable, int] = {}
    of = np.array([numbers.setdefault(group, len(numbers)) for group in groups])
    return np.bincount(of, values), np.bincount(of).astype(np.float64)
