"""Batches hold every question once, in bounds, the same on every machine and after every stop."""

import random
from collections import Counter, defaultdict
from collections.abc import Sequence
from itertools import chain

import pytest

from vqa.questions import At
from vqa.sampler import Batches, Plan, by_size, in_order

BATCH = 8


def data(count: int = 300, seed: int = 0) -> tuple[list[str], list[int]]:
    """1 to 5 questions about each image, in no order; pixel counts log-uniform, 64 to 4096 a side.

    Few enough images have exactly the same size that buckets must mix sizes.
    """
    rng = random.Random(seed)
    rows = []
    for number in range(count // 3):
        pixels = round(2 ** rng.uniform(12, 24))
        rows += [(f"image{number}", pixels)] * rng.randint(1, 5)
    rng.shuffle(rows)
    return [name for name, _ in rows], [pixels for _, pixels in rows]


IMAGES, PIXELS = data()
LIMIT = 2**22


def flat(batches: Sequence[Sequence[int]]) -> list[int]:
    return sorted(chain.from_iterable(batches))


def padding(batches: Sequence[Sequence[int]], pixels: Sequence[int]) -> float:
    padded = sum(len(batch) * max(pixels[index] for index in batch) for batch in batches)
    return 1 - sum(pixels) / padded


@pytest.mark.parametrize("limit", (None, LIMIT, 1), ids="limit-{}".format)
@pytest.mark.parametrize("together", (1, 3, 16))
def test_every_pass_has_every_question_once_within_bounds(together: int, limit: int | None) -> None:
    plan = Plan(IMAGES, PIXELS, BATCH, limit, together)
    seen = set()
    for number in range(5):
        batches = plan.batches(random.Random(number))
        assert flat(batches) == list(range(len(IMAGES)))
        assert len(batches) == len(plan)
        seen.add(str(batches))
        for batch in batches:
            assert 1 <= len(batch) <= BATCH
            names = {IMAGES[index] for index in batch}
            largest = max(PIXELS[index] for index in batch)
            assert limit is None or len(names) == 1 or len(names) * largest <= limit
    assert len(seen) == 5


@pytest.mark.parametrize("size", (1, 7, 8, 9, 15, 17, 65))
def test_batches_of_one_size_are_even(size: int) -> None:
    """Neither a rest of one question nor one left out, and no more batches than needed."""
    plan = Plan([str(index) for index in range(size)], [100] * size, BATCH)
    lengths = [len(batch) for batch in plan.batches(random.Random(0))]
    assert len(lengths) == -(-size // BATCH)
    assert max(lengths) - min(lengths) <= 1


def test_similar_sizes_come_together() -> None:
    images, pixels = data(9000)
    order = random.Random(0).sample(range(len(images)), len(images))
    anyhow = [order[start : start + BATCH] for start in range(0, len(order), BATCH)]
    assert padding(anyhow, pixels) > 0.5
    assert padding(Plan(images, pixels, BATCH).batches(random.Random(0)), pixels) < 0.12


def test_buckets_are_wide_where_questions_are_few() -> None:
    """40 images, all of different sizes: not 40 batches."""
    pixels = [round(1000 * 1.1**index) for index in range(40)]
    plan = Plan([str(index) for index in range(40)], pixels, BATCH)
    assert len(plan) <= 2 * 40 / BATCH
    assert all(
        max(pixels[i] for i in batch) <= 4 * min(pixels[i] for i in batch)
        for batch in plan.batches(random.Random(0))
    )


def test_questions_about_an_image_stand_together() -> None:
    images = [f"image{index % 20}" for index in range(80)]  # 4 each
    for batch in Plan(images, [9] * 80, BATCH, together=4).batches(random.Random(3)):
        assert sorted(Counter(images[index] for index in batch).values()) == [4, 4]


def test_who_meets_whom_is_drawn_anew_in_each_pass() -> None:
    """Within a bucket all pairs of images may meet, however often sizes repeat."""
    plan = Plan([str(index) for index in range(32)], [50] * 32, BATCH)
    met = {
        (a, b)
        for number in range(200)
        for batch in plan.batches(random.Random(number))
        for a in batch
        for b in batch
    }
    assert len(met) == 32 * 32


def batches(sizes: Sequence[int | None] = (None,), epochs: float = 4, **words: int) -> Batches:
    """A curriculum over images that are drawn: a batch at size s has room for 1 + 900 // s."""
    plans = {size: Plan(IMAGES, [(size or 300) ** 2] * len(IMAGES), 16, 2**20) for size in sizes}
    made = Batches(plans, **words)
    made.epochs = epochs
    return made


def epochs(made: Batches, count: int = 4) -> list[list[list[At]]]:
    out = []
    for epoch in range(count):
        made.set_epoch(epoch)
        out.append(list(made))
    return out


SIZES = (256, 512, 1024)


@pytest.mark.parametrize("sizes", ((None,), SIZES), ids=("plain", "curriculum"))
def test_order_depends_on_seed_and_epoch_only(sizes: tuple[int | None, ...]) -> None:
    first = epochs(batches(sizes))
    late = batches(sizes)
    late.set_epoch(2)
    assert list(late) == first[2] != first[1]
    assert epochs(batches(sizes, seed=1)) != first
    assert all(len(epoch) == len(late) for epoch in first)


@pytest.mark.parametrize("sizes", ((None,), SIZES), ids=("plain", "curriculum"))
@pytest.mark.parametrize("start", (0, 1, 5))
def test_a_pass_goes_on_after_any_batch(sizes: tuple[int | None, ...], start: int) -> None:
    made = batches(sizes)
    whole = list(made)
    made.start = start
    assert list(made) == whole[start:]
    assert list(made) == whole  # and the next begins at its beginning


@pytest.mark.parametrize("sizes", ((None,), SIZES), ids=("plain", "curriculum"))
@pytest.mark.parametrize("replicas", (2, 3, 7))
def test_devices_share_out_what_one_would_see(sizes: tuple[int | None, ...], replicas: int) -> None:
    alone = epochs(batches(sizes))
    ranks = [epochs(batches(sizes, replicas=replicas, rank=rank)) for rank in range(replicas)]
    for epoch in range(4):
        shares = [rank[epoch] for rank in ranks]
        assert len({len(share) for share in shares}) == 1
        in_turns = [batch for turn in zip(*shares, strict=True) for batch in turn]
        assert in_turns == alone[epoch][: len(in_turns)]
        assert 0 <= len(alone[epoch]) - len(in_turns) < replicas


def test_sizes_unlock_over_the_first_half() -> None:
    made = batches(SIZES, epochs=10)
    numbered = [batch[0][1] for epoch in epochs(made, 10) for batch in epoch]
    total = len(numbered)
    assert total == 10 * len(made)
    first = {size: numbered.index(size) / total for size in SIZES}
    assert first[256] == 0
    assert 1 / 6 <= first[512] < 1 / 6 + 0.05
    assert 1 / 3 <= first[1024] < 1 / 3 + 0.05
    later = Counter(numbered[total // 2 :])
    assert all(count > 0.2 * total / 2 for count in later.values()) and len(later) == 3


def test_every_question_is_seen_equally_often_at_every_size() -> None:
    seen: dict[int | None, Counter[int]] = defaultdict(Counter)
    for epoch in epochs(batches(SIZES, epochs=6), 6):
        for batch in epoch:
            assert len({size for _, size in batch}) == 1
            assert len(batch) * (batch[0][1] or 0) ** 2 <= 2**20
            for index, size in batch:
                seen[size][index] += 1
    assert set(seen) == set(SIZES)
    for counts in seen.values():
        often = [counts[index] for index in range(len(IMAGES))]
        assert max(often) - min(often) <= 1


def test_without_sizes_an_epoch_is_one_pass() -> None:
    for epoch in epochs(batches()):
        assert flat([[index for index, _ in batch] for batch in epoch]) == list(range(len(IMAGES)))


def test_fewer_batches_than_devices_are_refused() -> None:
    plan = Plan(["a", "b"], [1, 1], 2)
    with pytest.raises(ValueError, match="1 batches cannot be shared by 2 devices; use"):
        Batches({None: plan}, replicas=2)


@pytest.mark.parametrize("limit", (None, LIMIT), ids="limit-{}".format)
@pytest.mark.parametrize("replicas", (1, 2, 3, 5))
def test_evaluation_asks_every_question_once(replicas: int, limit: int | None) -> None:
    order = by_size(IMAGES, PIXELS)
    shares = [
        in_order(order, IMAGES, PIXELS, BATCH, limit, replicas, rank) for rank in range(replicas)
    ]
    assert len({len(share) for share in shares}) == 1
    together = [batch for share in shares for batch in share]
    assert flat(together) == list(range(len(IMAGES)))
    for batch in together:
        names = {IMAGES[index] for index in batch}
        largest = max(PIXELS[index] for index in batch)
        assert len(batch) <= BATCH
        assert limit is None or len(names) == 1 or len(names) * largest <= limit
    assert padding(together, PIXELS) < 0.1


def test_evaluation_keeps_a_given_order() -> None:
    batches = in_order(range(len(IMAGES)), IMAGES, PIXELS, BATCH, LIMIT)
    assert list(chain.from_iterable(batches)) == list(range(len(IMAGES)))


def test_evaluation_doubles_questions_only_where_nothing_can_be_halved() -> None:
    shares = [in_order(range(3), "abc", [1, 1, 1], 1, None, 2, rank) for rank in range(2)]
    assert [len(share) for share in shares] == [2, 2]
    assert set(flat(shares[0]) + flat(shares[1])) == {0, 1, 2}


def test_a_large_image_with_many_questions_is_read_once() -> None:
    assert in_order(range(5), ["a"] * 4 + ["b"], [99] * 5, 8, 10) == [[0, 1, 2, 3], [4]]
