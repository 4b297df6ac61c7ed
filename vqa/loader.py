"""Examples with their pixels: read once, kept in memory where small, collated."""

import random
from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from typing import Any

from torch import Tensor
from torch.utils.data import BatchSampler, DataLoader, Sampler
from torch.utils.data import Dataset as TorchDataset
from transformers import PreTrainedTokenizerFast

from vqa import images
from vqa.batch import Batch, collate
from vqa.datasets import Dataset, Example

Item = tuple[Example, Tensor]


class Questions(TorchDataset[Item]):
    """A data set with the pixels of its images, uint8 `[3, H, W]`.

    The last decoded images, `cache_mb` megabytes of them, stay in memory: a data set that fits is
    decoded once, and of a larger one the questions about one image, where they follow each other,
    share its pixels. Worker processes each have a cache of their own.
    """

    def __init__(self, dataset: Dataset, cache_mb: int = 0, max_pixels: int | None = None) -> None:
        self.dataset = dataset
        self.capacity = cache_mb * 2**20
        self.held = 0
        self.max_pixels = max_pixels or images.MAX_PIXELS
        self.cache: dict[str, Tensor] = {}

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, index: int) -> Item:
        example = self.dataset[index]
        return example, self.pixels(example.image)

    def pixels(self, path: str) -> Tensor:
        """The image at `path`. Raises ImageError, naming it, where it cannot be read."""
        image = self.cache.get(path)
        if image is None:
            image = images.load(path, self.max_pixels)
            self.cache[path] = image
            self.held += image.nbytes
            while self.held > self.capacity:  # a dict keeps its order: the oldest goes first
                self.held -= self.cache.pop(next(iter(self.cache))).nbytes
        return image


class Shuffled(Sampler[int]):
    """A random order of a data set that depends on the seed and the epoch only, so it can be
    resumed.

    `together` questions of the same image follow each other: a batch then reads each image once for
    several questions.
    """

    def __init__(self, dataset: Dataset, seed: int = 0, together: int = 1) -> None:
        self.images = [dataset[index].image for index in range(len(dataset))]
        self.seed = seed
        self.together = together
        self.epoch = 0

    def set_epoch(self, epoch: int) -> None:
        """Called by Lightning before each epoch."""
        self.epoch = epoch

    def __len__(self) -> int:
        return len(self.images)

    def __iter__(self) -> Iterator[int]:
        rng = random.Random(f"{self.seed}/{self.epoch}")
        order = list(range(len(self.images)))
        rng.shuffle(order)
        if self.together == 1:
            return iter(order)
        of_image: dict[str, list[int]] = {}
        for index in order:
            of_image.setdefault(self.images[index], []).append(index)
        groups = [
            members[start : start + self.together]
            for members in of_image.values()
            for start in range(0, len(members), self.together)
        ]
        rng.shuffle(groups)
        return iter([index for group in groups for index in group])


class ResumableBatches(BatchSampler):
    """Batches of a sampler; the next pass over it begins with batch number `start`."""

    start = 0

    def __iter__(self) -> Iterator[list[int]]:
        start, self.start = self.start, 0
        return islice(super().__iter__(), start, None)


class ResumableLoader(DataLoader[Any]):
    """A loader over `ResumableBatches` that knows its place: `taken` batches of the epoch."""

    taken = 0

    def __iter__(self) -> Any:
        self.taken = self.batch_sampler.start  # type: ignore[union-attr]
        for batch in super().__iter__():
            self.taken += 1
            yield batch

    def state_dict(self) -> dict[str, int]:
        """Batches taken of the epoch in progress."""
        return {"taken": self.taken}

    def load_state_dict(self, state_dict: dict[str, int]) -> None:
        """Goes on after the batches taken; after a whole epoch that is the next one's first."""
        self.batch_sampler.start = state_dict["taken"] % max(1, len(self))  # type: ignore[union-attr]


def collator(
    tokenizer: PreTrainedTokenizerFast,
    learn: bool = False,
    augment: Callable[[Tensor], Tensor] | None = None,
) -> Callable[[Sequence[Item]], Batch]:
    """Items to a `Batch` in which each image stands once; with `learn` also the answer to train on.

    Of several accepted answers the first is learned.
    """

    def join(items: Sequence[Item]) -> Batch:
        place: dict[str, int] = {}
        pixels: list[Tensor] = []
        for example, image in items:
            if example.image not in place:
                place[example.image] = len(pixels)
                pixels.append(augment(image) if augment else image)
        examples = [example for example, _ in items]
        return collate(
            pixels,
            [place[example.image] for example in examples],
            [example.question for example in examples],
            tokenizer,
            [example.answers[0] for example in examples] if learn else None,
            examples,
        )

    return join
