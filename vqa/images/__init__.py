"""Any picture a person may hand in -> its pixels at their own size, or one clear sentence.

`load` reads it whole, `open` where it is indexed, `size` its header only. One file = one kind of
source: pillow, pdf, vips (optional), array; all colours are made in colour.
"""

import contextlib
import os

import numpy as np
from PIL import Image
from torch import Tensor

from vqa.images import array, pdf, pillow, vips
from vqa.images.orientation import turned_size
from vqa.images.picture import Picture, Reader
from vqa.images.resample import shrunk_size
from vqa.images.source import (
    MAX_PIXELS,
    ImageError,
    ImageSource,
    check_size,
    name_of,
    open_stream,
)

__all__ = [
    "MAX_PIXELS",
    "ImageError",
    "ImageSource",
    "Picture",
    "load",
    "open",
    "shrunk_size",
    "size",
]


def load(
    source: ImageSource, max_pixels: int = MAX_PIXELS, page: int = 1, dpi: float = pdf.DPI
) -> Tensor:
    """Read an image whole, at its own size: uint8 [3, H, W], sRGB in [0, 255].

    What `open` says holds here, too.
    """
    with open(source, max_pixels, page, dpi) as picture:
        return picture[:, :, :]


def open(
    source: ImageSource, max_pixels: int = MAX_PIXELS, page: int = 1, dpi: float = pdf.DPI
) -> Picture:
    """Read the header only; the pixels follow where the picture is indexed. Close it after use.

    EXIF orientation and ICC profile are applied and transparency composed on white; 16-bit grey is
    scaled (v / 257, rounded). A broken profile, or one for other pixels, is ignored. Floating-point
    pixels (mode F, float arrays) must lie in [0, 1], mode I in [0, 65535]; any other range has no
    agreed meaning and is refused, not guessed. `page`, from 1, is a page of a TIFF or PDF or a
    frame of an animation; an open PIL image gives the frame it stands at. `dpi` (pixels per inch)
    is for PDF. Arrays are [H, W] or [H, W, 1 | 3 | 4] of uint8, uint16, bool or float. Raises
    ImageError, before decoding where the page does not exist or has more than `max_pixels`.
    """
    name = name_of(source)
    reader = _reader(source, name, max_pixels, page, dpi)
    try:
        check_size(reader.size, name, max_pixels)
    except ImageError:
        reader.close()
        raise
    return Picture(reader, name)


def size(source: ImageSource, page: int = 1, dpi: float = pdf.DPI) -> tuple[int, int]:
    """(width, height) as `load` will return it, in pixels, without decoding a file's pixels."""
    name = name_of(source)
    if isinstance(source, Image.Image):
        return pillow.borrowed_size(source, name, page)
    reader = _reader(source, name, MAX_PIXELS, page, dpi)
    reader.close()
    return turned_size(reader.size, reader.orientation)


def _reader(source: ImageSource, name: str, max_pixels: int, page: int, dpi: float) -> Reader:
    """The reader for a source, at its header."""
    if isinstance(source, np.ndarray):
        return array.Reader(source, name, page)
    if isinstance(source, Image.Image):
        return pillow.Borrowed(source, name, page, max_pixels)
    with open_stream(source, name) as stream:
        head = stream.read(1024)
    if pdf.accepts(head) and pillow.format_of(head) is None:  # a photograph may quote a PDF
        whole = name if isinstance(source, str | os.PathLike) else bytes(source)
        return pdf.Reader(whole, name, page, dpi)
    if vips.accepts(head):
        return _tiff_reader(source, name, max_pixels, page)
    return pillow.Reader(source, name, page, max_pixels)


def _tiff_reader(source: ImageSource, name: str, max_pixels: int, page: int) -> Reader:
    """libvips for tiles, of which it decodes single ones, and for what Pillow does not know."""
    try:
        reader = pillow.Reader(source, name, page, max_pixels)
    except ImageError as error:
        if vips.INSTALLED:
            with contextlib.suppress(ImageError):
                return vips.Reader(source, name, page)
        elif isinstance(error.__cause__, KeyError | SyntaxError):
            raise ImageError(
                f"{name} is a TIFF of a kind that Pillow cannot read ({error.__cause__}); "
                f"{vips.REMEDY}"
            ) from error
        raise
    if vips.INSTALLED and reader.tiled and reader.image.mode in vips.MODES:
        alpha = reader.image.mode in ("LA", "RGBA")
        with contextlib.suppress(ImageError):  # then Pillow says what is wrong, or can read it
            tiles = vips.Reader(source, name, page, alpha)
            reader.close()
            return tiles
    return reader
