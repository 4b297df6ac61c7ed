"""TIFFs of any size through libvips, which decodes only the tiles it is asked for.

Optional: pip install "latte-vqa[vips]". libvips gives the stored numbers; their colours are made
where those of Pillow are made, so that both readers give the same pixels.
"""

import contextlib
import importlib.util
import threading
from collections.abc import Iterator
from typing import Any

import numpy as np
from PIL import Image

from vqa.images import colour
from vqa.images.source import ImageError, ImageSource, name_of, refuse_page

INSTALLED = importlib.util.find_spec("pyvips") is not None
_CACHE = threading.Lock()  # around libvips' setting, which is one for the process

REMEDY = 'pip install "latte-vqa[vips]" to read such files'

# Pillow's modes of which libvips has the same numbers; of YCbCr and LAB it has not.
MODES = ("1", "L", "LA", "P", "RGB", "RGBA", "RGBX", "CMYK", "I;16", "I;16B", "I", "F")

DTYPES = {"uchar": np.uint8, "ushort": np.uint16, "int": np.int32, "float": np.float32}


def accepts(head: bytes) -> bool:
    """Whether a file that begins with these bytes is a TIFF or a BigTIFF."""
    return head[:4] in (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")


class Reader:
    """One page of a TIFF, given by its path or its bytes.

    `alpha`: whether a last band beside grey or colours is opacity; None: as libvips sees it.
    """

    held = 0  # two rows of tiles, whatever the height
    format = "TIFF"

    def __init__(
        self, source: ImageSource, name: str, page: int = 1, alpha: bool | None = None
    ) -> None:
        import pyvips

        self.name = name
        self.error = pyvips.Error
        self.failed: ImageError | None = None
        try:
            first = _load(source, 1)
            self.pages = _field(first, "n-pages", 1)
            if not 1 <= page <= self.pages:
                refuse_page(page, self.pages, name)
            image = first if page == 1 else _load(source, page)
            if image.interpretation in ("lab", "labs"):  # never one that Pillow knows, too
                image = image.colourspace("srgb")
            self.pixels = pyvips.Region.new(image)
        except pyvips.Error as error:
            raise self._broken(error) from error
        if image.format not in DTYPES or image.bands > 5:
            raise ImageError(
                f"{name} has {image.bands} bands of {image.format}; "
                "save it as grey, RGB, RGBA or CMYK of 8 or 16 bits"
            )
        self.size = (image.width, image.height)
        turned = _field(image, "orientation", 1)
        self.orientation = turned if turned in range(1, 9) else 1
        self.profile = colour.read_profile(_field(image, "icc-profile-data", None))
        self.mode = _mode(image, alpha)
        self.shape = (image.bands, DTYPES[image.format])

    def region(self, left: int, top: int, right: int, bottom: int) -> np.ndarray:
        """sRGB uint8 [h, w, 3], in the order the file stores it."""
        width, height = right - left, bottom - top
        bands, dtype = self.shape
        if self.failed is not None:
            raise self.failed
        try:
            data = self.pixels.fetch(left, top, width, height)
        except self.error as error:
            # libvips says so once and then shows black tiles, so remember it.
            self.failed = self._broken(error)
            raise self.failed from error
        values = np.frombuffer(data, dtype).reshape(height, width, bands)
        if bands == 1:
            return colour.to_rgb(Image.fromarray(values[..., 0]), self.profile, self.name)
        # Of 16 bits in several bands Pillow keeps the high byte; so do we.
        values = (values >> 8).astype(np.uint8) if dtype == np.uint16 else values
        values = colour.to_uint8(values, self.name)[..., : Image.getmodebands(self.mode)]
        strip = Image.frombytes(self.mode, (width, height), values.tobytes())
        return colour.to_rgb(strip, self.profile, self.name)

    def close(self) -> None:
        """Close the file."""
        del self.pixels

    def _broken(self, error: Exception) -> ImageError:
        reason = " ".join(str(error).split())
        return ImageError(
            f"{self.name} is a corrupt or truncated TIFF image ({reason}); get a new copy"
        )


@contextlib.contextmanager
def _uncached() -> Iterator[None]:
    """libvips would remember an opened file: hold it open, and show it again after it changed."""
    import pyvips

    with _CACHE:
        most = pyvips.cache_get_max()
        pyvips.cache_set_max(0)
        try:
            yield
        finally:
            pyvips.cache_set_max(most)


def _load(source: ImageSource, page: int) -> Any:
    """The header of a page. Of some damage (in LZW) libvips only warns, so warnings are errors."""
    import pyvips

    options = {"page": page - 1, "fail_on": "warning"}
    with _uncached():
        if isinstance(source, bytes | bytearray | memoryview):
            return pyvips.Image.tiffload_buffer(bytes(source), **options)
        return pyvips.Image.tiffload(name_of(source), **options)


def _field(image: Any, key: str, default: Any) -> Any:
    return image.get(key) if image.get_typeof(key) else default


def _mode(image: Any, alpha: bool | None) -> str:
    """Pillow's mode for the bands; those beyond it are left out."""
    if image.interpretation == "cmyk":
        return "CMYK"
    opaque = not (image.hasalpha() if alpha is None else alpha)
    if image.bands < 3:
        return "L" if opaque else "LA"
    return "RGB" if opaque else "RGBA"
