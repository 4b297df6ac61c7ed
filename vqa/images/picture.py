"""A picture: indexed like its tensor of pixels, decoded and converted only where asked for."""

import operator
import threading
from types import TracebackType
from typing import Any, Protocol, Self

import numpy as np
import torch
from torch import Tensor

from vqa.images import orientation
from vqa.images.resample import Resampled, shrunk_size
from vqa.images.source import ImageError

BLOCK = 1024  # pixels a side converted at a time, so that no second full copy is held


class Reader(Protocol):
    """One page of one source.

    `size`: (width, height) as stored; `orientation`: EXIF, 1 to 8; `held`: bytes a pixel that stay
    in memory once it is decoded; `format`: of the file, as Pillow names it, or nothing.
    """

    orientation: int
    size: tuple[int, int]
    held: int
    format: str

    @property
    def pages(self) -> int: ...

    def region(self, left: int, top: int, right: int, bottom: int) -> np.ndarray:
        """sRGB uint8 [h, w, 3], as stored; the box lies within the image and is not empty."""

    def close(self) -> None: ...


class Picture:
    """`picture[:, top:bottom, left:right]` is a new uint8 tensor [3, h, w], RGB.

    `shape` is (3, height, width) as shown, in pixels; `name` what sentences call the source.
    Threads may share a picture: they read one after the other. Reading raises ImageError where the
    pixels turn out to be damaged, or the picture is closed.
    """

    def __init__(self, reader: Reader, name: str) -> None:
        self.name = name
        self._reader: Reader | None = reader
        self._lock = threading.RLock()
        width, height = orientation.turned_size(reader.size, reader.orientation)
        self.shape = (3, height, width)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.name}: {self.shape[2]} x {self.shape[1]}>"

    @property
    def pages(self) -> int:
        """How many pages or frames the file has; this picture is one of them."""
        with self._lock:
            return self._open_reader().pages

    @property
    def held(self) -> int:
        """Bytes a pixel of the file that reading keeps in memory; 0: no more than a band or two."""
        return self._open_reader().held

    @property
    def format(self) -> str:
        """The file's format, as Pillow names it; nothing for what is in memory already."""
        return self._open_reader().format

    def __getitem__(self, key: Any) -> Tensor:
        """Slices as of a tensor: clipped, step 1, not negative; all three channels."""
        channels, rows, columns = _three(key)
        _, height, width = self.shape
        if _span(channels, 3) != (0, 3):
            raise IndexError(f"a picture gives all 3 channels; write picture[:, ...], not {key}")
        top, bottom = _span(rows, height)
        left, right = _span(columns, width)
        pixels = torch.empty((3, bottom - top, right - left), dtype=torch.uint8)
        shown = pixels.numpy().transpose(1, 2, 0)  # [h, w, 3], the same memory
        with self._lock:
            for y in range(top, bottom, BLOCK):
                for x in range(left, right, BLOCK):
                    below, beyond = min(y + BLOCK, bottom), min(x + BLOCK, right)
                    part = shown[y - top : below - top, x - left : beyond - left]
                    part[:] = self._region(x, y, beyond, below)
        return pixels

    def scaled(self, height: int, width: int) -> "Picture":
        """This picture resampled to `height` x `width` pixels, where and when it is read.

        Antialiased bicubic. Closing either closes the file.
        """
        if height < 1 or width < 1:
            raise ImageError(f"{self.name} cannot be scaled to {width} x {height}; use 1 or more")
        return Scaled(self, height, width)

    def within(self, longest: int | None) -> "Picture":
        """This picture, or where its longer side has more than `longest` pixels, `scaled` to it."""
        _, height, width = self.shape
        size = shrunk_size(height, width, longest)
        return self if size == (height, width) else self.scaled(*size)

    def _region(self, left: int, top: int, right: int, bottom: int) -> np.ndarray:
        """uint8 [h, w, 3] as shown."""
        reader, (_, height, width) = self._open_reader(), self.shape
        box = (left, top, right, bottom)
        box = orientation.stored_box(box, (width, height), reader.orientation)
        return orientation.turn(reader.region(*box), reader.orientation)

    def _open_reader(self) -> Reader:
        if self._reader is None:
            raise ImageError(f"{self.name} has been closed; open it again")
        return self._reader

    def close(self) -> None:
        """Close the file and let go of what has been decoded."""
        with self._lock:
            if self._reader is not None:
                self._reader.close()
            self._reader = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


class Scaled(Picture):
    """A picture at another size; see `Picture.scaled`."""

    def __init__(self, picture: Picture, height: int, width: int) -> None:
        self.name = picture.name
        self.shape = (3, height, width)
        self._picture = picture
        self._lock = picture._lock
        size = (picture.shape[2], picture.shape[1])
        self._resampled = Resampled(picture._region, size, (width, height))

    def _region(self, left: int, top: int, right: int, bottom: int) -> np.ndarray:
        self._picture._open_reader()  # blocks are kept, but a closed picture is closed
        return self._resampled.region(left, top, right, bottom)

    def _open_reader(self) -> Reader:
        return self._picture._open_reader()

    def scaled(self, height: int, width: int) -> Picture:
        """Not of a scaled picture: its pixels would be resampled twice."""
        raise ImageError(f"{self.name} is scaled already; scale the picture that was opened")

    def close(self) -> None:
        """Close the file."""
        with self._lock:
            self._picture.close()
            self._resampled.block.cache_clear()


def _three(key: Any) -> tuple[slice, slice, slice]:
    """`[:, a:b]` and `[:]` leave the rest out, as for a tensor."""
    keys = key if isinstance(key, tuple) else (key,)
    if len(keys) > 3 or not all(isinstance(part, slice) for part in keys):
        raise IndexError(f"a picture is read as picture[:, top:bottom, left:right], not [{key}]")
    rest = (slice(None),) * (3 - len(keys))
    channels, rows, columns = keys + rest
    return channels, rows, columns


def _span(part: slice, length: int) -> tuple[int, int]:
    """First and last + 1, clipped to the picture."""
    start = 0 if part.start is None else operator.index(part.start)
    stop = length if part.stop is None else operator.index(part.stop)
    if start < 0 or stop < 0 or part.step not in (None, 1):
        raise IndexError(f"a picture takes slices from 0 up with step 1, not {part}")
    start = min(start, length)
    return start, max(start, min(stop, length))
