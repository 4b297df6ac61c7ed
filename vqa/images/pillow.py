"""Raster files through Pillow: the header at once, the pixels all together at the first region.

Pillow's own pixel guard is neither used nor touched: it is one global for all threads. A program's
LOAD_TRUNCATED_IMAGES still counts.
"""

import struct
from typing import IO

import numpy as np
from PIL import ExifTags, Image
from PIL.TiffImagePlugin import TiffImageFile

from vqa.images import colour, orientation
from vqa.images.source import ImageError, ImageSource, check_size, open_stream, refuse_page

# Raster formats that have a signature, and whose header tells the true size. Left out on purpose:
# EPS (runs Ghostscript), ICO and ICNS (hold other files of other sizes), TGA (accepts any text).
FORMATS = ("PNG", "JPEG", "WEBP", "GIF", "TIFF", "BMP", "PPM", "JPEG2000", "AVIF", "QOI")

TILE_WIDTH = 322  # TIFF tag; only tiled files have it


class _Decoded:
    """Regions of a PIL image, which is decoded when the first one is asked for."""

    image: Image.Image
    name: str
    decoded = False
    profile: colour.Profile | None = None

    def region(self, left: int, top: int, right: int, bottom: int) -> np.ndarray:
        """sRGB uint8 [h, w, 3], in the order the file stores it."""
        self.decode()
        # Not crop(): that one asks Pillow's pixel guard. An integer extent copies exactly.
        box = (left, top, right, bottom)
        strip = self.image.transform((right - left, bottom - top), Image.Transform.EXTENT, box)
        return colour.to_rgb(strip, self.profile, self.name)

    def decode(self) -> None:
        """Decode the pixels, all of them or none."""
        if self.decoded:
            return
        image = self.image
        try:
            if isinstance(image, TiffImageFile) and image._im is None:
                # A TIFF allocates behind Pillow's pixel guard, so allocate before it.
                image.im = Image.core.new(image.mode, image._tile_size)
            image.load()
        except Exception as error:  # plug-ins raise nearly anything on bad bytes
            raise broken(self.name, image.format or image.mode, error) from error
        self.profile = colour.read_profile(image.info.get("icc_profile"))
        self.decoded = True


class Reader(_Decoded):
    """One page of a file, given by its path or its bytes."""

    def __init__(self, source: ImageSource, name: str, page: int, max_pixels: int) -> None:
        self.source = source
        self.name = name
        self.stream = open_stream(source, name)
        try:
            self.image = identify(self.stream, name)
            self._seek(page, max_pixels)
            self.orientation = orientation.of_file(self.image, self.stream)
            if isinstance(self.image, TiffImageFile):
                # Pillow would turn a TIFF itself while loading, with a second copy of all pixels.
                self.image.getexif()[ExifTags.Base.Orientation] = 1
                self.image._size = self.image._tile_size
        except BaseException:
            self.close()
            raise
        self.size = self.image.size
        self.format = str(self.image.format)
        mode = self.image.mode
        self.held = 1 if mode in ("1", "L", "P") else 2 if mode.startswith("I;16") else 4

    def _seek(self, page: int, max_pixels: int) -> None:
        """Go to a page; a frame may need those before it decoded, so the size is checked first."""
        if page == 1:
            return
        if self.image.format not in ("TIFF", "MPO"):
            check_size(self.image.size, self.name, max_pixels)
        try:
            if page < 1:
                raise EOFError
            self.image.seek(page - 1)
        except EOFError:
            refuse_page(page, self.pages, self.name)
        except Exception as error:  # as in decode
            raise broken(self.name, str(self.image.format), error) from error

    @property
    def pages(self) -> int:
        """Frames of the file, counted in a fresh copy of its header: counting moves a file."""
        with open_stream(self.source, self.name) as stream:
            image = identify(stream, self.name)
            try:
                return getattr(image, "n_frames", 1)
            except Exception as error:  # as in decode
                raise broken(self.name, str(image.format), error) from error

    @property
    def tiled(self) -> bool:
        """Whether the file is a TIFF of which other readers can decode a part."""
        return isinstance(self.image, TiffImageFile) and TILE_WIDTH in self.image.tag_v2

    def close(self) -> None:
        """Close the file."""
        self.stream.close()


class Borrowed(_Decoded):
    """An open PIL image at the frame it stands at; it stays open and keeps its pixels.

    An image that is still a file is decoded here: only then is it sure how it is to be turned.
    """

    pages = 1
    orientation = 1
    held = 0  # the image is there already
    format = ""

    def __init__(self, image: Image.Image, name: str, page: int, max_pixels: int) -> None:
        _refuse_other_frames(page, name)
        self.image = image
        self.name = name
        check_size(image.size, name, max_pixels)
        self.decode()
        self.orientation = orientation.of_exif(image.getexif) or 1
        self.size = image.size

    def close(self) -> None:
        """The image is not ours to close."""


def borrowed_size(image: Image.Image, name: str, page: int) -> tuple[int, int]:
    """(width, height) of an open PIL image once turned, without decoding it where that is known."""
    _refuse_other_frames(page, name)
    if isinstance(image, TiffImageFile):
        return image.size  # the turned one: Pillow turns a TIFF itself while loading
    return orientation.turned_size(image.size, orientation.of_exif(image.getexif) or 1)


def _refuse_other_frames(page: int, name: str) -> None:
    if page != 1:
        raise ImageError(
            f"{name} is an open PIL image, of which page {page} cannot be chosen; seek it instead"
        )


def identify(stream: IO[bytes], name: str) -> Image.Image:
    """Read the header. Image.open would apply Pillow's pixel guard, one global for all threads."""
    key = format_of(stream.read(16))
    if key is None:
        known = ", ".join(FORMATS)
        raise ImageError(f"{name} is not an image that can be read here; use {known}, PDF")
    stream.seek(0)
    try:
        return Image.OPEN[key][0](stream, "")
    except Exception as error:  # as in decode
        raise broken(name, key, error) from error


def format_of(head: bytes) -> str | None:
    """The one of FORMATS that a file beginning with these bytes claims to have."""
    Image.init()
    for key in FORMATS:
        accept = Image.OPEN[key][1] if key in Image.OPEN else None
        # `accept` may also return a reason: a format this Pillow was built without.
        if accept is not None and accept(head[:16]) is True:
            return key
    return None


def broken(name: str, kind: str, error: Exception) -> ImageError:
    """The sentence for bytes that begin like an image and fail to be one."""
    if isinstance(error, MemoryError):
        return ImageError(f"{name} does not fit in memory; crop it or use a larger machine")
    reason = str(error) or type(error).__name__
    if "truncated" in reason.lower() or isinstance(error, EOFError | struct.error):
        return ImageError(f"{name} is a truncated {kind} image ({reason}); get a complete copy")
    return ImageError(f"{name} is a corrupt or truncated {kind} image ({reason}); get a new copy")
