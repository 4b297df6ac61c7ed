"""Any picture a person may hand in -> its full pixels as one uint8 tensor, or one clear sentence.

An ICC profile is not applied yet: the stored numbers are read as sRGB.
"""

import contextlib
import io
import os
import struct
from collections.abc import Iterator
from typing import IO

import numpy as np
import torch
from PIL import ExifTags, Image
from PIL.TiffImagePlugin import TiffImageFile

ImageSource = str | os.PathLike[str] | bytes | Image.Image | np.ndarray

MAX_PIXELS = 16384 * 16384

# Raster formats that have a signature, and whose header tells the true size. Left out on purpose:
# EPS (runs Ghostscript), ICO and ICNS (hold other files of other sizes), TGA (accepts any text).
FORMATS = ("PNG", "JPEG", "WEBP", "GIF", "TIFF", "BMP", "PPM", "JPEG2000", "AVIF", "QOI")

_STRIP_PIXELS = 2**20  # pixels converted at a time, so that no second full copy is held


class ImageError(ValueError):
    """An image that cannot be used, in one sentence: the file, the value and the remedy."""


def load(source: ImageSource, max_pixels: int = MAX_PIXELS) -> torch.Tensor:
    """Read an image whole, at its own size: uint8 [3, H, W], RGB in [0, 255].

    EXIF orientation is applied and transparency composed on white; 16-bit grey is scaled (v / 257,
    rounded). Floating-point pixels (mode F, float arrays) must lie in [0, 1], mode I in [0, 65535];
    any other range has no agreed meaning and is refused, not guessed. Files with several frames or
    pages give the first one, an open PIL image gives the frame it stands at. Arrays are [H, W] or
    [H, W, 1 | 3 | 4] of uint8, uint16, bool or float. Raises ImageError. Pillow's own pixel guard
    is neither used nor touched; Pillow's LOAD_TRUNCATED_IMAGES, if a program sets it, still counts.
    """
    name = _name(source)
    if isinstance(source, np.ndarray):
        _check_size(_array_size(source, name), name, max_pixels)
        return _render(source, 1, name)
    with _opened(source, name) as image:
        _check_size(image.size, name, max_pixels)
        _decode(image, name)
        return _render(image, _orientation(image, header_only=False), name)


def size(source: ImageSource) -> tuple[int, int]:
    """(width, height) as `load` will return it, in pixels, without decoding a file's pixels.

    A PNG may, rarely, store its orientation behind the pixels; only `load` sees that one.
    """
    name = _name(source)
    if isinstance(source, np.ndarray):
        return _array_size(source, name)
    with _opened(source, name) as image:
        header_only = not isinstance(source, Image.Image)
        turned = _orientation(image, header_only) in (5, 6, 7, 8)
        return (image.height, image.width) if turned else image.size


def _name(source: ImageSource) -> str:
    """What to call the source in a sentence."""
    return os.fsdecode(source) if isinstance(source, str | os.PathLike) else "the image"


@contextlib.contextmanager
def _opened(source: ImageSource, name: str) -> Iterator[Image.Image]:
    """A PIL image of which only the header has been read; the file is closed on leaving."""
    if isinstance(source, Image.Image):
        yield source
    elif isinstance(source, bytes | bytearray | memoryview):
        yield _identify(io.BytesIO(source), name)
    elif isinstance(source, str | os.PathLike):
        with _stream(name) as stream:
            yield _identify(stream, name)
    else:
        raise ImageError(
            f"an image cannot be a {type(source).__name__}; pass a path, the bytes of a file, "
            "a PIL image or a NumPy array"
        )


def _stream(name: str) -> io.BufferedReader:
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


def _identify(stream: IO[bytes], name: str) -> Image.Image:
    """Read the header. Image.open would apply Pillow's pixel guard, one global for all threads."""
    prefix = stream.read(16)
    if not prefix:
        raise ImageError(f"{name} is empty (0 bytes); pass an image file")
    Image.init()
    for key in FORMATS:
        factory, accept = Image.OPEN.get(key, (None, None))
        if factory is None or accept is None or accept(prefix) is not True:
            continue  # accept may also return a reason: a format this Pillow was built without
        stream.seek(0)
        try:
            return factory(stream, "")
        except Exception as error:  # plug-ins raise nearly anything on bad bytes
            raise _broken(name, key, error) from error
    raise ImageError(f"{name} is not an image that can be read here; use {', '.join(FORMATS)}")


def _decode(image: Image.Image, name: str) -> None:
    """Decode the pixels, all of them or none."""
    try:
        if isinstance(image, TiffImageFile) and image._im is None:
            # A TIFF allocates behind Pillow's pixel guard (see _identify), so allocate before it.
            image.im = Image.core.new(image.mode, image._tile_size)
        image.load()
    except Exception as error:  # as above: OSError, SyntaxError, struct.error, zlib.error ...
        raise _broken(name, image.format or image.mode, error) from error


def _broken(name: str, kind: str, error: Exception) -> ImageError:
    """The sentence for bytes that begin like an image and fail to be one."""
    if isinstance(error, MemoryError):
        return ImageError(f"{name} does not fit in memory; crop it or use a larger machine")
    reason = str(error) or type(error).__name__
    if "truncated" in reason.lower() or isinstance(error, EOFError | struct.error):
        return ImageError(f"{name} is a truncated {kind} image ({reason}); get a complete copy")
    return ImageError(f"{name} is a corrupt or truncated {kind} image ({reason}); get a new copy")


def _check_size(size: tuple[int, int], name: str, max_pixels: int) -> None:
    """Refuse by the header what would be empty or too large to decode."""
    width, height = size
    if width < 1 or height < 1:
        raise ImageError(f"{name} has no pixels ({width} x {height}); pass a non-empty image")
    if width * height > max_pixels:
        raise ImageError(
            f"{name} is {width} x {height} = {width * height:,} pixels, over the limit of "
            f"{max_pixels:,} pixels; crop it or raise max_pixels"
        )


def _array_size(array: np.ndarray, name: str) -> tuple[int, int]:
    """(width, height); refuses shapes and dtypes whose meaning would have to be guessed."""
    if array.ndim not in (2, 3) or (array.ndim == 3 and array.shape[2] not in (1, 3, 4)):
        raise ImageError(
            f"{name} is an array of shape {array.shape}; "
            "pass [H, W] or [H, W, C] with C = 1, 3 or 4 (channels last)"
        )
    if array.dtype.kind not in "bf" and array.dtype.newbyteorder("=") not in (np.uint8, np.uint16):
        raise ImageError(
            f"{name} is an array of {array.dtype}; pass uint8, uint16, bool or float in [0, 1]"
        )
    return array.shape[1], array.shape[0]


def _orientation(image: Image.Image, header_only: bool) -> int:
    """EXIF orientation 1..8; 1 (and, in a bad file, anything else) = as stored."""
    if isinstance(image, TiffImageFile):
        return 1  # Pillow turns a TIFF itself while loading, and its size is the turned one
    try:
        # PngImageFile.getexif decodes the pixels to look behind them; the base class does not.
        exif = Image.Image.getexif(image) if header_only else image.getexif()
        return exif.get(ExifTags.Base.Orientation, 1)
    except Exception:  # an EXIF block that cannot be parsed says nothing; the pixels are still good
        return 1


def _render(source: Image.Image | np.ndarray, orientation: int, name: str) -> torch.Tensor:
    """Convert strip by strip, straight to its turned place: one copy beside the decoded pixels."""
    height, width = source.shape[:2] if isinstance(source, np.ndarray) else source.size[::-1]
    turned = orientation in (5, 6, 7, 8)
    pixels = np.empty((3, width, height) if turned else (3, height, width), np.uint8)
    stored = _stored_view(pixels.transpose(1, 2, 0), orientation)  # [height, width, 3]
    rows = max(1, _STRIP_PIXELS // width)
    for top in range(0, height, rows):
        bottom = min(top + rows, height)
        if isinstance(source, np.ndarray):
            stored[top:bottom] = _compose(_to_uint8(source[top:bottom], name))
        else:
            # Not crop(): that one asks Pillow's pixel guard. An integer extent copies exactly.
            box = (0, top, width, bottom)
            strip = source.transform((width, bottom - top), Image.Transform.EXTENT, box)
            stored[top:bottom] = _rgb(strip, name)
    return torch.from_numpy(pixels)


def _stored_view(turned: np.ndarray, orientation: int) -> np.ndarray:
    """The turned image [H, W, 3] seen in the order its file stores it, without a copy."""
    if orientation in (2, 3, 6, 7):
        turned = turned[:, ::-1]
    if orientation in (3, 4, 7, 8):
        turned = turned[::-1]
    return turned.swapaxes(0, 1) if orientation in (5, 6, 7, 8) else turned


def _rgb(strip: Image.Image, name: str) -> np.ndarray:
    """One strip of any PIL mode -> uint8 [h, w, 3]."""
    if strip.mode == "F" or strip.mode.startswith("I"):
        values = np.asarray(strip)  # [h, w]
        pixels = _compose(_to_uint8(values, name))
        if "transparency" in strip.info:  # a colour key that Pillow does not apply to 16 bits
            pixels[values == strip.info["transparency"]] = 255
        return pixels
    strip = strip.convert("LA") if strip.mode == "La" else strip
    return _compose(np.asarray(strip.convert("RGBA" if strip.has_transparency_data else "RGB")))


def _to_uint8(values: np.ndarray, name: str) -> np.ndarray:
    """Scale any accepted dtype to [0, 255]; the shape stays."""
    if values.dtype == np.uint8:
        return values
    if values.dtype.kind == "b":
        return values.astype(np.uint8) * np.uint8(255)
    top = 1 if values.dtype.kind == "f" else 65535
    bad = values[~((values >= 0) & (values <= top))]  # NaN fails both
    if bad.size:
        raise ImageError(
            f"{name} has the {values.dtype} pixel value {bad[0]}; scale its pixels to [0, {top}]"
        )
    if values.dtype.kind == "f":
        return np.rint(values.astype(np.float32) * 255).astype(np.uint8)
    return ((values.astype(np.uint32) + 128) // 257).astype(np.uint8)


def _compose(pixels: np.ndarray) -> np.ndarray:
    """Grey, RGB or RGBA uint8 [h, w] or [h, w, C] -> RGB [h, w, 3], on white where transparent."""
    if pixels.ndim == 2 or pixels.shape[2] == 1:
        return np.repeat(pixels.reshape(*pixels.shape[:2], 1), 3, axis=2)
    if pixels.shape[2] == 3:
        return pixels
    alpha = pixels[..., 3:].astype(np.uint16)
    colour = pixels[..., :3] * alpha + 255 * (255 - alpha)  # at most 255 * 255: fits 16 bits
    return ((colour + 127) // 255).astype(np.uint8)
