"""What may be handed in as an image, and what is refused before a pixel is decoded."""

import io
import os
from typing import IO, NoReturn

import numpy as np
from PIL import Image

ImageSource = str | os.PathLike[str] | bytes | Image.Image | np.ndarray

MAX_PIXELS = 16384 * 16384


class ImageError(ValueError):
    """An image that cannot be used, in one sentence: the file, the value and the remedy."""


def name_of(source: ImageSource) -> str:
    """What to call the source in a sentence."""
    return os.fsdecode(source) if isinstance(source, str | os.PathLike) else "the image"


def open_stream(source: ImageSource, name: str) -> IO[bytes]:
    """The bytes of a path or of bytes, at their start; never empty."""
    if isinstance(source, bytes | bytearray | memoryview):
        stream: IO[bytes] = io.BytesIO(source)
    elif isinstance(source, str | os.PathLike):
        stream = _open_file(name)
    else:
        raise ImageError(
            f"an image cannot be a {type(source).__name__}; pass a path, the bytes of a file, "
            "a PIL image or a NumPy array"
        )
    if not stream.read(1):
        stream.close()
        raise ImageError(f"{name} is empty (0 bytes); pass an image file")
    stream.seek(0)
    return stream


def _open_file(name: str) -> io.BufferedReader:
    """Open a file; what is not one is refused before opening it (a pipe would block)."""
    if name.lower().startswith(("http://", "https://")):
        raise ImageError(f"{name} is a URL; download it and pass the file")
    if os.path.isdir(name):
        raise ImageError(f"{name} is a directory; pass an image file")
    if not os.path.exists(name):
        raise ImageError(f"{name or 'an empty path'} does not exist; check the path")
    if not os.path.isfile(name):
        raise ImageError(f"{name} is not a regular file; pass an image file")
    try:
        return open(name, "rb")
    except OSError as error:
        raise ImageError(f"{name} cannot be opened ({error.strerror}); check the file") from error


def check_size(size: tuple[int, int], name: str, max_pixels: int) -> None:
    """Refuse by (width, height) what would be empty or too large."""
    width, height = size
    if width < 1 or height < 1:
        raise ImageError(f"{name} has no pixels ({width} x {height}); pass a non-empty image")
    if width * height > max_pixels:
        raise ImageError(
            f"{name} is {width} x {height} = {width * height:,} pixels, over the limit of "
            f"{max_pixels:,} pixels; crop it or raise max_pixels"
        )


def refuse_page(page: int, pages: int, name: str) -> NoReturn:
    """Say which pages there are."""
    numbers = f"choose 1 to {pages}" if pages > 1 else "it has 1 page only; choose 1"
    raise ImageError(f"{name} has no page {page}; {numbers}")
