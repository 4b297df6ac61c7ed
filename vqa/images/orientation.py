"""EXIF orientation: finding it, and the geometry it asks for.

1 = as stored, 2-4 = mirrored or upside down, 5-8 = rows are columns.
"""

import struct
from collections.abc import Callable
from os import SEEK_CUR
from typing import IO

import numpy as np
from PIL import ExifTags, Image
from PIL.PngImagePlugin import PngImageFile

MIRRORED_ROWS = (3, 4, 7, 8)
MIRRORED_COLUMNS = (2, 3, 6, 7)
SWAPPED = (5, 6, 7, 8)


def of_file(image: Image.Image, stream: IO[bytes]) -> int:
    """The orientation of a file of which only the header has been read."""
    # PngImageFile.getexif would decode the pixels to look behind them; the base class does not.
    found = of_exif(lambda: Image.Image.getexif(image))
    if found is None and isinstance(image, PngImageFile):
        found = of_exif(lambda: _exif_of_png(stream))
    return found or 1


def of_exif(getexif: Callable[[], Image.Exif]) -> int | None:
    """The orientation in an EXIF block; None where it has none that makes sense."""
    try:
        value = getexif().get(ExifTags.Base.Orientation)
    except Exception:  # an EXIF block that cannot be parsed says nothing; the pixels are still good
        return None
    return value if value in range(1, 9) else None


def _exif_of_png(stream: IO[bytes]) -> Image.Exif:
    """The EXIF chunk of a PNG wherever it stands, also behind the pixels."""
    exif, place = Image.Exif(), stream.tell()
    stream.seek(8)
    while len(head := stream.read(8)) == 8:
        length, kind = struct.unpack(">I4s", head)
        if kind == b"eXIf":
            exif.load(stream.read(length))
            break
        stream.seek(length + 4, SEEK_CUR)  # the chunk and its checksum
    stream.seek(place)
    return exif


def turned_size(size: tuple[int, int], orientation: int) -> tuple[int, int]:
    """(width, height) as shown, of an image stored as `size` = (width, height)."""
    return size[::-1] if orientation in SWAPPED else size


Box = tuple[int, int, int, int]  # left, top, right, bottom, in pixels


def stored_box(box: Box, size: tuple[int, int], orientation: int) -> Box:
    """Where the file stores what is shown at `box`; `size`: (width, height) as shown."""
    left, top, right, bottom = box
    if orientation in MIRRORED_COLUMNS:
        left, right = size[0] - right, size[0] - left
    if orientation in MIRRORED_ROWS:
        top, bottom = size[1] - bottom, size[1] - top
    return (top, left, bottom, right) if orientation in SWAPPED else (left, top, right, bottom)


def turn(stored: np.ndarray, orientation: int) -> np.ndarray:
    """Pixels [h, w, 3] as shown, from stored ones; a view."""
    shown = stored.swapaxes(0, 1) if orientation in SWAPPED else stored
    shown = shown[::-1] if orientation in MIRRORED_ROWS else shown
    return shown[:, ::-1] if orientation in MIRRORED_COLUMNS else shown
