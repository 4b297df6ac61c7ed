"""An image, opened at the size that a budget allows."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace

from encoders.vision.sheet import ImageTokens
from vqa import images, search
from vqa.budget import Budget, parse_bytes, plan
from vqa.encoded import Source
from vqa.images import ImageSource, Picture
from vqa.model import Encoding, LatteVQA


@dataclass(frozen=True)
class Reading:
    """How images are to be read.

    `max_pixels`: larger ones are refused; `page` of a file with several, from 1; `budget`: what
    reading may cost, where less than everything is read if it must be.
    """

    max_pixels: int = images.MAX_PIXELS
    page: int = 1
    budget: Budget = Budget()

    @staticmethod
    def within(
        max_pixels: int | None = None,
        page: int = 1,
        max_tokens: int | None = None,
        max_memory: str | None = None,
        max_seconds: float | None = None,
    ) -> "Reading":
        """From what people write: None: no limit of theirs; memory such as 4GiB.

        Raises ValueError for what is no limit.
        """
        memory = None if max_memory is None else parse_bytes(max_memory)
        budget = Budget(max_tokens, memory, max_seconds)
        return Reading(images.MAX_PIXELS if max_pixels is None else max_pixels, page, budget)


NATIVE = Reading()


@contextmanager
def opened(
    model: LatteVQA,
    image: ImageSource,
    reading: Reading,
    room: int,
    question_tokens: int = 32,
    top_k: int = 5,
) -> Iterator[tuple[Picture, Source]]:
    """`image` as `model` is to read it, for `top_k` answers to a question of `question_tokens`.

    `room`: bytes that kept images may hold besides. Raises ImageError, and BudgetError where
    the budget cannot be met.
    """
    with images.open(image, reading.max_pixels, reading.page) as picture:
        shown = picture
        if reading.budget != Budget():
            found = plan(
                model,
                *picture.shape[1:],
                reading.budget,
                question_tokens=question_tokens,
                picture_bytes=picture.held,
                decoder=picture.format,
                beams=search.beams(top_k),
                kept=room,
            )
            if found.scale < 1:
                shown = picture.scaled(found.read_height, found.read_width)
        yield shown, source_of(model, picture.shape, shown.shape)


def source_of(model: LatteVQA, shape: Sequence[int], read: Sequence[int]) -> Source:
    """An image of `shape` [3, H, W] that `model` reads as one of shape `read`."""
    _, height, width = shape
    scale = max(read[1] / height, read[2] / width)
    patches = getattr(model.vision, "read_size", lambda *size: size)(*read[1:])
    shrunk = max(part / whole for part, whole in zip(patches, read[1:], strict=True))
    return Source(width, height, scale, model.vision.count(*read[1:]), min(1.0, shrunk))


def counted(source: Source, seen: Sequence[Picture] | Encoding) -> Source:
    """`source` with the tokens that there are, where an encoder makes fewer of some images."""
    if not isinstance(seen, ImageTokens):
        return source
    return replace(source, tokens=int(seen.mask.sum()))
