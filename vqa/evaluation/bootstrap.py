"""How sure a mean is: percentile bootstrap intervals."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

_DRAWN_AT_ONCE = 1 << 22  # clusters; bounds the memory of the bootstrap at about 100 MB


class Interval(NamedTuple):
    """A mean and where 95 % of the resampled ones lie."""

    mean: float
    low: float
    high: float
    clusters: int
    """What was drawn: images, or questions where they are alone."""


def bootstrap(
    values: Sequence[float], clusters: Sequence[str], resamples: int = 2000, seed: int = 0
) -> Interval:
    """The mean of `values` with its 95 % percentile interval.

    Questions of one cluster (an image) are not independent, so whole clusters are drawn with
    replacement (Field and Welsh 2007). The same seed gives the same interval.
    """
    scores = np.asarray(values, dtype=np.float64)
    numbers: dict[str, int] = {}
    index = [numbers.setdefault(name, len(numbers)) for name in clusters]
    sums, counts = np.bincount(index, weights=scores), np.bincount(index)
    rng = np.random.default_rng(seed)
    means = np.empty(resamples)
    step = max(1, _DRAWN_AT_ONCE // len(numbers))
    for start in range(0, resamples, step):
        stop = min(resamples, start + step)
        drawn = rng.integers(len(numbers), size=(stop - start, len(numbers)), dtype=np.int32)
        means[start:stop] = sums[drawn].sum(axis=1) / counts[drawn].sum(axis=1)
    low, high = np.percentile(means, (2.5, 97.5))
    return Interval(float(scores.mean()), float(low), float(high), len(numbers))
