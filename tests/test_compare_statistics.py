"""The bootstrap and McNemar's test against definitions counted out."""

import random
from itertools import product
from statistics import NormalDist

import pytest

from vqa.evaluation.bootstrap import bootstrap
from vqa.evaluation.mcnemar import mcnemar


def exact_p(first_only: int, second_only: int) -> float:
    """Every way the coin may fall, as far from even as it did or farther."""
    n = first_only + second_only
    far = abs(first_only - second_only)
    ways = [abs(n - 2 * sum(heads)) >= far for heads in product((0, 1), repeat=n)]
    return sum(ways) / len(ways)


@pytest.mark.parametrize("first_only", range(6))
@pytest.mark.parametrize("second_only", range(6))
def test_mcnemar_counts_out_the_coins(first_only: int, second_only: int) -> None:
    first = [True] * first_only + [False] * second_only + [True, True, False]
    second = [False] * first_only + [True] * second_only + [True, True, False]
    told = mcnemar(first, second)
    assert (told.first_only, told.second_only) == (first_only, second_only)
    assert told.p_value == pytest.approx(exact_p(first_only, second_only))


def test_mcnemar_of_many_questions() -> None:
    """Near the normal approximation, where factorials of floats would overflow."""
    first = [True] * 10_200 + [False] * 9_800
    told = mcnemar(first, [not right for right in first])
    z = (10_200 - 9_800 - 1) / 20_000**0.5
    assert told.p_value == pytest.approx(2 * (1 - NormalDist().cdf(z)), rel=1e-3)
    assert mcnemar([True] * 5000, [False] * 5000).p_value == 0.0


def test_bootstrap_is_near_the_normal_interval() -> None:
    chance = random.Random(0)
    values = [chance.choice((-1.0, 0.0, 0.0, 1.0, 1.0)) for _ in range(2000)]
    mean = sum(values) / len(values)
    error = (sum((v - mean) ** 2 for v in values) / len(values)) ** 0.5 / len(values) ** 0.5
    told = bootstrap(values, [str(i) for i in range(len(values))])
    assert told.mean == pytest.approx(mean) and told.clusters == 2000
    assert told.low == pytest.approx(mean - 1.96 * error, abs=0.15 * error)
    assert told.high == pytest.approx(mean + 1.96 * error, abs=0.15 * error)


def test_clusters_widen_the_interval() -> None:
    """Nine copies of a question tell no more than one does; drawn one by one they would seem to."""
    chance = random.Random(1)
    values = [chance.choice((-1.0, 0.0, 1.0)) for _ in range(300)]
    copies = [value for value in values for _ in range(9)]
    alone = bootstrap(values, [str(i) for i in range(300)])
    together = bootstrap(copies, [str(i // 9) for i in range(2700)])
    apart = bootstrap(copies, [str(i) for i in range(2700)])
    assert together.low == pytest.approx(alone.low) and together.high == pytest.approx(alone.high)
    assert (together.high - together.low) == pytest.approx(3 * (apart.high - apart.low), rel=0.15)


def test_clusters_of_different_sizes_are_ratios() -> None:
    """All two-cluster resamples by hand: the means are 0, 0.9 and 1 with chances 1/4, 1/2, 1/4."""
    told = bootstrap([1.0] * 9 + [0.0], ["big"] * 9 + ["small"], resamples=4001)
    assert (told.low, told.high, told.mean) == (0.0, 1.0, pytest.approx(0.9))


def test_a_seed_is_an_interval_whatever_the_resamples() -> None:
    values, names = [0.0, 1.0, -1.0, 0.5] * 25, [str(i) for i in range(100)]
    assert bootstrap(values, names, seed=3) == bootstrap(values, names, seed=3)
    assert bootstrap(values, names, seed=3) != bootstrap(values, names, seed=4)
