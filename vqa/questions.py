"""Questions with the pixels of their images: read once, kept in memory where small, collated."""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import torch
from torch import Tensor
from torch.utils.data import Dataset as TorchDataset
from transformers import PreTrainedTokenizerFast

from encoders.vision.sheet import ImageTokens
from vqa import blind, images
from vqa.batch import Batch, collate, transcript_tokens
from vqa.data.transcripts import TranscriptStore
from vqa.datasets import Dataset, Example, Mixed, Rendered
from vqa.features import Features, Missing, join_tokens

Item = tuple[Example, Tensor | ImageTokens | Missing]
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

    With `features`, an image file comes as the tokens kept of it, and is not decoded; as `Missing`
    where there are none yet. Drawn pictures come as pixels all the same.

    With `transcripts`, an image file comes with its text, of the pixels that it has, whatever
    `size`; drawn pictures, which are to be written to files first, have none.

    `blinded`: every question is about the grey square of vqa/blind.py, whatever its image and
    `size`; no image is read or drawn.
    """

    def __init__(
        self,
        dataset: Dataset,
        cache_mb: int = 0,
        max_pixels: int | None = None,
        features: Features | None = None,
        blinded: bool = False,
        transcripts: TranscriptStore | None = None,
    ) -> None:
        self.dataset = dataset
        self.transcripts = transcripts
        self.blinded = blinded
        self.features = features
        self.last: tuple[str, ImageTokens | Missing] | None = None
        self.capacity = cache_mb * 2**20
        self.held = 0
        self.max_pixels = max_pixels or images.MAX_PIXELS
        self.cache: dict[tuple[str, int | None], Tensor] = {}

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, at: At) -> Item:
        index, size = at
        if self.blinded:
            unseen = blind.unseen(self.dataset[index])
            transcript = None if self.transcripts is None else ""
            return replace(unseen, transcript=transcript), self._grey()
        dataset = self.dataset
        if isinstance(dataset, Mixed):
            dataset, index = dataset.within(index)
        if isinstance(dataset, Rendered):
            return dataset.render(index, size)
        example = dataset[index]
        if self.transcripts is not None:
            example = replace(example, transcript=self.transcripts.text(example.image))
        if self.features is not None:
            return example, self._tokens(self.features, example.image, size)
        return example, self.pixels(example.image, size)

    def _tokens(self, features: Features, path: str, size: int | None) -> ImageTokens | Missing:
        """What is kept of the image; that of the last one in memory, for its next question."""
        key = features.key(path, size)
        last = self.last[1] if self.last and self.last[0] == key else None
        if isinstance(last, ImageTokens):
            return last
        found: ImageTokens | Missing | None = features.get(key) or last
        if found is None:
            # Not `self.pixels`, which remembers a path, whatever became of the file since.
            pixels = _load(path, size, self.max_pixels)
            if features.key(path, size) != key:
                return Missing(pixels, None)
            found = Missing(pixels, key)
        self.last = key, found
        return found

    def _grey(self) -> Tensor | ImageTokens | Missing:
        if self.features is None:
            return blind.square()
        key = self.features.key_of(blind.DIGEST)
        if self.last is None or self.last[0] != key:
            found = self.features.get(key)
            if found is None:
                return Missing(blind.square(), key)
            self.last = key, found
        return self.last[1]

    def pixels(self, path: str, size: int | None = None) -> Tensor:
        """The image at `path`. Raises ImageError, naming it, where it cannot be read."""
        image = self.cache.get((path, size))
        if image is None:
            image = _load(path, size, self.max_pixels)
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
        self.rendered = isinstance(dataset, Rendered) or getattr(dataset, "rendered", False)
        self.images = [dataset[index].image for index in range(count)]
        self.headers: dict[str, tuple[int, int]] = {}

    def pixels(self, size: int | None = None) -> list[int]:
        """Pixels of each question's image as `Questions` gives it at `size`.

        Of pictures that are drawn at their own size, and of mixed data sets that draw some, which
        are to stand in one batch, nothing is known: 1.
        """
        pixels = {path: self.of(path, size) for path in dict.fromkeys(self.images)}
        return [pixels[path] for path in self.images]

    def of(self, path: str, size: int | None = None) -> int:
        """Pixels of one image, as `pixels`."""
        if self.rendered:
            return 1 if size is None else size**2
        width, height = self.sizes()[path]
        rows, columns = images.shrunk_size(height, width, size)
        return rows * columns

    def sizes(self) -> dict[str, tuple[int, int]]:
        """Width and height in pixels of each image file."""
        if not self.headers:
            paths = list(dict.fromkeys(self.images))
            with ThreadPoolExecutor(HEADER_THREADS) as pool:
                self.headers = dict(zip(paths, pool.map(images.size, paths), strict=True))
        return self.headers


def _load(path: str, longest: int | None, max_pixels: int) -> Tensor:
    """The image as `vqa ask` reads it, with its longer side at most `longest` pixels."""
    with images.open(path, max_pixels) as picture:
        return picture.within(longest)[:, :, :]


def collator(
    tokenizer: PreTrainedTokenizerFast, learn: bool = False, chat: bool = False
) -> Callable[[Sequence[Item]], Batch]:
    """Items to a `Batch` in which each image stands once; with `learn` also the answer to train on.

    Of several accepted answers the first is learned. Images come first, then those whose tokens
    are known already. `chat` as in `collate`.
    """

    def join(items: Sequence[Item]) -> Batch:
        pixels: dict[str, Tensor] = {}
        keys: dict[str, str | None] = {}
        letters: dict[str, Tensor | None] = {}
        stored: dict[str, ImageTokens] = {}
        texts: dict[str, str] = {}
        for example, image in items:
            name = example.image
            if example.transcript is not None:
                texts[name] = example.transcript
            if name in pixels or name in stored:
                continue
            if isinstance(image, ImageTokens):
                stored[name] = image
                continue
            if isinstance(image, Missing):
                image, keys[name] = image
            pixels[name], letters[name] = image, example.letters
        place = {name: index for index, name in enumerate([*pixels, *stored])}
        examples = [example for example, _ in items]
        known = all(example.answers for example in examples)  # not in every test split
        batch = collate(
            list(pixels.values()),
            [place[example.image] for example in examples],
            [example.question for example in examples],
            tokenizer,
            [example.answers[0] for example in examples] if learn and known else None,
            examples,
            chat,
        )
        if texts:
            shown = [texts[name] for name in place]
            batch.transcript, batch.transcript_mask = transcript_tokens(shown, tokenizer)
        batch.keys, batch.letters = list(keys.values()), list(letters.values())
        batch.stored = join_tokens(list(stored.values())) if stored else None
        return batch

    return join


def token_counts(batch: Batch, count: Callable[[int, int], int]) -> tuple[int, int]:
    """Image tokens of the rows of `batch`: the real ones, and all with padding.

    A row is a question; `count` tells the tokens of an image of so many pixels (height, width), as
    `LatteVQA.vision.count` does. The share of padding is 1 - real / all.
    """
    lengths = [count(image.shape[1], image.shape[2]) for image in batch.images]
    if batch.stored is not None:
        lengths += batch.stored.mask.sum(1).tolist()
    rows = torch.tensor(lengths)[batch.image_index.cpu()]
    return int(rows.sum()), len(rows) * int(rows.max())
