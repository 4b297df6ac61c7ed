"""Calibration and abstention beside their definitions, written out."""

import math
import random

import numpy as np
import pytest

from vqa.evaluation.confidence import BINS, COVERAGES, abstention, calibration


def answers(count: int, seed: int, ties: bool = False) -> tuple[list[float], list[float]]:
    rng = random.Random(seed)
    p = [rng.choice((0.1, 0.5, 1.0)) if ties else rng.random() for _ in range(count)]
    return p, [rng.choice((0.0, 0.3, 1.0)) for _ in range(count)]


@pytest.mark.parametrize("count", (1, 7, 400))
def test_calibration_error_is_its_definition(count: int) -> None:
    p, s = answers(count, count)
    error = 0.0
    for number in range(BINS):
        low, high = number / BINS, (number + 1) / BINS
        inside = [i for i in range(count) if low < p[i] <= high]
        if inside:
            gap = math.fsum(p[i] for i in inside) - math.fsum(s[i] for i in inside)
            error += abs(gap) / count
    found = calibration(p, s)
    assert found["ece"] == pytest.approx(error, abs=1e-12)
    assert sum(part["n"] for part in found["bins"]) == count


def test_edges_of_bins() -> None:
    assert calibration([0.0, 1.0], [0.0, 1.0])["ece"] == 0
    assert [part["n"] for part in calibration([1 / BINS, 1 / BINS + 1e-9], [0, 0])["bins"]] == [
        1,
        1,
    ]
    assert calibration([0.9] * 10, [1.0] * 5 + [0.0] * 5)["ece"] == pytest.approx(0.4)


@pytest.mark.parametrize("ties", (False, True))
def test_abstention_is_the_mean_over_all_orders_of_ties(ties: bool) -> None:
    p, s = answers(12, 3, ties)
    rng, areas, halves = random.Random(0), [], []
    for _ in range(4000 if ties else 1):
        order = sorted(range(12), key=lambda i: (-p[i], rng.random()))
        means = [sum(s[i] for i in order[:n]) / n for n in range(1, 13)]
        areas.append(1 - sum(means) / 12)
        halves.append(means[5])
    found = abstention(p, s)
    assert found["area"] == pytest.approx(np.mean(areas), abs=0.01 if ties else 1e-12)
    half = found["curve"][COVERAGES.index(0.5)]
    assert half["score"] == pytest.approx(np.mean(halves), abs=0.02 if ties else 1e-12)
    assert half["threshold"] == sorted(p, reverse=True)[5] and half["coverage"] == 0.5
    assert found["curve"][0]["score"] == pytest.approx(np.mean(s))


def test_a_perfect_order_abstains_from_all_mistakes() -> None:
    curve = abstention([0.9, 0.8, 0.2, 0.1], [1, 1, 0, 0])["curve"]
    assert {row["score"] for row in curve if row["coverage"] <= 0.5} == {1.0}
