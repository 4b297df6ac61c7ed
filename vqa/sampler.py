"""Which questions come together in a batch, at which image size, in which order, on which device.

Everything is a function of seed, epoch and the number of the batch, so training can be resumed
anywhere and every process knows what the others read.
"""

import random
from bisect import bisect_left
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from functools import cache
from itertools import accumulate, pairwise
from statistics import harmonic_mean

from torch.utils.data import Sampler

from vqa.questions import At

SIMILAR = 1.1
"""Largest over smallest pixel count of images in a bucket with FULL batches or more."""
WIDEST = 4.0
"""The same in a bucket with fewer: a small data set should not fall into batches of one."""
FULL = 8


class Plan:
    """All questions in batches of images of similar size, put together anew in each pass.

    `images` and `pixels`: name and pixel count of each question's image. A batch holds at most
    `batch_size` questions, and as many images as `pixels_per_batch` has room for at the largest
    size of their bucket, but always one. `together` questions about the same image follow each
    other. Batches of a bucket are about equally large, nothing is left out or doubled, and the
    number of batches is the same in every pass.
    """

    def __init__(
        self,
        images: Sequence[str],
        pixels: Sequence[int],
        batch_size: int,
        pixels_per_batch: int | None = None,
        together: int = 1,
    ) -> None:
        self.buckets: list[_Bucket] = []
        owners: list[list[int]] = [[index] for index in range(len(images))]
        if together > 1:
            of_image: dict[str, list[int]] = defaultdict(list)
            for index, image in enumerate(images):
                of_image[image].append(index)
            owners = list(of_image.values())
        owners.sort(key=lambda members: pixels[members[0]])
        for bucket in _buckets(owners, pixels, batch_size, pixels_per_batch):
            largest = pixels[bucket[-1][0]]
            room = max(1, (pixels_per_batch or batch_size * largest) // largest)
            self.buckets.append(_Bucket(bucket, batch_size, room, together))

    def __len__(self) -> int:
        return sum(len(bucket.bounds) - 1 for bucket in self.buckets)

    def batches(self, rng: random.Random) -> list[list[int]]:
        """The batches of a pass drawn from `rng`, in random order."""
        batches = [batch for bucket in self.buckets for batch in bucket.batches(rng)]
        rng.shuffle(batches)
        return batches


def _buckets(
    owners: list[list[int]], pixels: Sequence[int], batch_size: int, limit: int | None
) -> Iterator[list[list[int]]]:
    """`owners`, sorted by pixels, cut where sizes differ enough and batches are not too few."""
    start, questions = 0, 0
    for place, members in enumerate(owners):
        ratio = pixels[members[0]] / pixels[owners[start][0]]
        full = max(questions / batch_size, (place - start) * pixels[members[0]] / (limit or 2**63))
        if ratio > WIDEST or (ratio > SIMILAR and full >= FULL):
            yield owners[start:place]
            start, questions = place, 0
        questions += len(members)
    yield owners[start:]


class _Bucket:
    """Questions by image (`owners`) in batches of at most `batch_size` questions, `room` images.

    Questions about one image come in groups of `together`. The lengths of the groups, and so where
    batches are cut, are put in order once; each pass draws which group of a length takes a place.
    """

    def __init__(self, owners: list[list[int]], batch_size: int, room: int, together: int) -> None:
        self.owners = owners
        self.together = min(together, batch_size)
        self.lengths = [
            min(self.together, len(members) - start)
            for members in owners
            for start in range(0, len(members), self.together)
        ]
        random.Random(0).shuffle(self.lengths)
        ends = list(accumulate(self.lengths, initial=0))
        count = max(-(-ends[-1] // batch_size), -(-len(self.lengths) // room))
        cuts = _even(ends, count)
        while any(ends[b] - ends[a] > batch_size or b - a > room for a, b in pairwise(cuts)):
            count += max(1, count // 64)
            cuts = _even(ends, count)
        self.bounds = [ends[cut] for cut in cuts]

    def batches(self, rng: random.Random) -> list[list[int]]:
        groups: dict[int, list[list[int]]] = defaultdict(list)
        for members in self.owners:
            drawn = rng.sample(members, len(members)) if len(members) > 1 else members
            for start in range(0, len(drawn), self.together):
                group = drawn[start : start + self.together]
                groups[len(group)].append(group)
        for alike in groups.values():
            rng.shuffle(alike)
        order = [index for length in self.lengths for index in groups[length].pop()]
        return [order[start:end] for start, end in pairwise(self.bounds)]


def _even(ends: list[int], count: int) -> list[int]:
    """Where to cut groups that end at `ends` into `count` parts of about as many questions."""
    cuts = {0}
    for part in range(1, count + 1):
        goal = ends[-1] * part / count
        after = bisect_left(ends, goal)
        cuts.add(after if ends[after] - goal < goal - ends[after - 1] else after - 1)
    return sorted(cuts)


class Batches(Sampler[list[At]]):
    """The batches of training, epoch by epoch: those of one process of `replicas`.

    `plans`: a plan for each image size, smallest size first. Each batch draws its size from those
    unlocked; one more unlocks at equal parts of the first half of `epochs`. Each size goes through
    all questions in passes of its own, so every question is seen equally often at every size. An
    epoch has as many batches as one pass over the questions takes on average of the sizes; with one
    size it is exactly that pass.

    Process `rank` reads batch `rank`, `rank + replicas`, ...; of the epoch's batches at most
    `replicas - 1`, others in each epoch, are left out to make the processes even. The next pass
    over the sampler begins after `start` batches.
    """

    def __init__(
        self,
        plans: dict[int | None, Plan],
        seed: int = 0,
        replicas: int = 1,
        rank: int = 0,
        reshuffle: bool = True,
    ) -> None:
        self.plans = plans
        self.seed = seed
        self.replicas = replicas
        self.rank = rank
        self.reshuffle = reshuffle
        self.whole = round(harmonic_mean([len(plan) for plan in plans.values()]))
        self.epochs = 1.0
        self.epoch = 0
        self.start = 0
        if self.whole < replicas:
            raise ValueError(
                f"an epoch of {self.whole} batches cannot be shared by {replicas} devices; "
                "use a smaller batch_size or fewer devices"
            )

    def set_epoch(self, epoch: int) -> None:
        """Called by Lightning before each epoch."""
        self.epoch = epoch if self.reshuffle else 0

    def __len__(self) -> int:
        return self.whole // self.replicas

    def __iter__(self) -> Iterator[list[At]]:
        start, self.start = self.start, 0
        return iter(self.batches()[self.rank :: self.replicas][start : len(self)])

    def batches(self) -> list[list[At]]:
        """The batches of the epoch, of all processes together."""
        taken: Counter[int | None] = Counter()
        if len(self.plans) > 1:
            for epoch in range(self.epoch):
                taken.update(self._sizes(epoch))
        else:
            taken.update({size: self.epoch * self.whole for size in self.plans})

        @cache
        def drawn(size: int | None, number: int) -> list[list[int]]:
            return self.plans[size].batches(random.Random(f"{self.seed}/{size}/{number}"))

        batches = []
        for size in self._sizes(self.epoch):
            number, place = divmod(taken[size], len(self.plans[size]))
            batches.append([(index, size) for index in drawn(size, number)[place]])
            taken[size] += 1
        return batches

    def _sizes(self, epoch: int) -> list[int | None]:
        """The size of each batch of an epoch."""
        rng = random.Random(f"{self.seed}/sizes/{epoch}")
        numbers = range(epoch * self.whole, (epoch + 1) * self.whole)
        total = self.epochs * self.whole
        return [rng.choice(unlocked(number / total, list(self.plans))) for number in numbers]


def unlocked(progress: float, sizes: list[int | None]) -> list[int | None]:
    """The sizes that batches are drawn from: one more at equal parts of the first half.

    `progress`: share of the training that is done.
    """
    return sizes[: 1 + int(2 * progress * len(sizes))]


def by_size(images: Sequence[str], pixels: Sequence[int]) -> list[int]:
    """The order of evaluation with the least padding: small images first, each image's questions
    together."""
    return sorted(range(len(images)), key=lambda index: (pixels[index], images[index]))


def in_order(
    order: Sequence[int],
    images: Sequence[str],
    pixels: Sequence[int],
    batch_size: int,
    pixels_per_batch: int | None = None,
    replicas: int = 1,
    rank: int = 0,
) -> list[list[int]]:
    """The questions `order` in batches of evaluation, those of one process of `replicas`.

    All processes get equally many batches: for that some are halved, and only where all hold one
    question are some questions asked twice.
    """
    limit = pixels_per_batch or 2**63
    batches: list[list[int]] = []
    seen: set[str] = set()
    largest = 0
    for index in order:
        seen.add(images[index])
        largest = max(largest, pixels[index])
        full = not batches or len(batches[-1]) == batch_size
        if full or (len(seen) > 1 and len(seen) * largest > limit):
            batches.append([])
            seen, largest = {images[index]}, pixels[index]
        batches[-1].append(index)
    while len(batches) % replicas:
        place = max(range(len(batches)), key=lambda place: len(batches[place]))
        longest = batches[place]
        half = len(longest) // 2
        batches[place : place + 1] = [longest[:half], longest[half:]] if half else [longest] * 2
    return batches[rank::replicas]
