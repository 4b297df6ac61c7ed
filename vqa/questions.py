"""Questions with the pixels of their images: read once, kept in memory where small, collated."""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

import torch
from torch import Tensor
from torch.nn.functional import interpolate
from torch.utils.data import Dataset as TorchDataset
from transformers import PreTrainedTokenizerFast

from vqa import images
from vqa.batch import Batch, collate
from vqa.datasets import Dataset, Example, Rendered

Item = tuple[Example, Tensor]
At = tuple[int, int | None]
"""Which question, and at which size its image: see `Questions`."""

HEADER_THREADS = 8  # a header waits for the disk or the network, not for the processor


class Questions(TorchDataset[Item]):
    """A data set with the pixels of its images, uint8 `[3, H, W]`.

    Item `(index, size)` is question `index`. With `size` None its image is as it is; otherwise
    `size` is the side of the canvas in pixels where the data set draws its images, and the longest
    side that an image file keeps: larger ones are shrunk, smaller ones left alone.

    The last decoded images, `cache_mb` megabytes of them, stay in memory: a data set that fits is
    decoded once, and of a larger one the questions about one image, where they follow each other,
    share its pixels. Worker processes each have a cache of their own.
    """

    def __init__(self, dataset: Dataset, cache_mb: int = 0, max_pixels: int | None = None) -> None:
        self.dataset = dataset
        self.capacity = cache_mb * 2**20
        self.held = 0
        self.max_pixels = max_pixels or images.MAX_PIXELS
        self.cache: dict[tuple[str, int | None], Tensor] = {}

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, at: At) -> Item:
        index, size = at
        if isinstance(self.dataset, Rendered):
            return self.dataset.render(index, size)
        example = self.dataset[index]
        return example, self.pixels(example.image, size)

    def pixels(self, path: str, size: int | None = None) -> Tensor:
        """The image at `path`. Raises ImageError, naming it, where it cannot be read."""
        image = self.cache.get((path, size))
        if image is None:
            image = shrink(images.load(path, self.max_pixels), size)
            self.cache[path, size] = image
            self.held += image.nbytes
            while self.held > self.capacity:  # a dict keeps its order: the oldest goes first
                self.held -= self.cache.pop(next(iter(self.cache))).nbytes
        return image


class Sizes:
    """How many pixels the image of each question has, from the headers of the files.

    The headers are read when first asked for, each file's once: 0.1 ms a file on a local disk, so
    10 s for 100,000. Raises ImageError for a file that is no image.
    """

    def __init__(self, dataset: Dataset, count: int | None = None) -> None:
        """Of the first `count` questions; of all, if not given."""
        count = len(dataset) if count is None else count
        self.rendered = isinstance(dataset, Rendered)
        self.images = [dataset[index].image for index in range(count)]
        self.headers: dict[str, tuple[int, int]] = {}

    def pixels(self, size: int | None = None) -> list[int]:
        """Pixels of each question's image as `Questions` gives it at `size`.

        Of pictures that are drawn at their own size it is known only that they are alike: 1.
        """
        if self.rendered:
            return [1 if size is None else size**2] * len(self.images)
        if not self.headers:
            paths = list(dict.fromkeys(self.images))
            with ThreadPoolExecutor(HEADER_THREADS) as pool:
                self.headers = dict(zip(paths, pool.map(images.size, paths), strict=True))
        pixels = {}
        for path, (width, height) in self.headers.items():
            rows, columns = shrunk_size(height, width, size)
            pixels[path] = rows * columns
        return [pixels[path] for path in self.images]


def shrunk_size(height: int, width: int, longest: int | None) -> tuple[int, int]:
    """Height and width in pixels once the longer side is `longest` at most, of the same shape.

    >>> shrunk_size(3000, 4000, 1000)
    (750, 1000)
    """
    scale = 1.0 if longest is None else min(1.0, longest / max(height, width))
    return max(1, round(height * scale)), max(1, round(width * scale))


def shrink(image: Tensor, longest: int | None) -> Tensor:
    """`image` uint8 `[3, H, W]` with its longer side at most `longest` pixels, never enlarged."""
    size = shrunk_size(image.shape[1], image.shape[2], longest)
    if size == tuple(image.shape[1:]):
        return image
    return interpolate(image.unsqueeze(0), size, mode="bilinear", antialias=True).squeeze(0)


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


def token_counts(batch: Batch, count: Callable[[int, int], int]) -> tuple[int, int]:
    """Image tokens of the rows of `batch`: the real ones, and all with padding.

    A row is a question; `count` tells the tokens of an image of so many pixels (height, width), as
    `LatteVQA.vision.count` does. The share of padding is 1 - real / all.
    """
    lengths = torch.tensor([count(image.shape[1], image.shape[2]) for image in batch.images])
    rows = lengths[batch.image_index.cpu()]
    return int(rows.sum()), len(rows) * int(rows.max())
