"""Stored pixels of any kind -> sRGB, 8 bits a channel, opaque: every reader's regions end here.

In this order: 16 bits to 8, palettes to colours, the ICC profile, transparency on white.
"""

import io

import numpy as np
from PIL import Image, ImageCms

from vqa.images.source import ImageError

MODES = {"RGB": "RGB", "GRAY": "L", "CMYK": "CMYK"}  # colour space of a profile -> Pillow's mode


class Profile:
    """The way from one ICC profile to sRGB; `mode`: the pixels it is for."""

    def __init__(self, transform: ImageCms.ImageCmsTransform, mode: str) -> None:
        self.transform = transform
        self.mode = mode

        # Of grey there are 256 levels: a table is exact, and faster than the colour engine.
        levels = Image.fromarray(np.arange(256, dtype=np.uint8)[None])
        self.table = self._transformed(levels)[0] if mode == "L" else None  # [256, 3]

    def apply(self, strip: Image.Image) -> np.ndarray:
        """A strip in mode `mode`, as sRGB: uint8 [h, w, 3]."""
        if self.table is not None:
            return self.table[np.asarray(strip)]
        return self._transformed(strip)

    def _transformed(self, strip: Image.Image) -> np.ndarray:
        return np.asarray(ImageCms.applyTransform(strip, self.transform))


def read_profile(data: bytes | None) -> Profile | None:
    """The profile in `data`; None where there is none, it is broken, or it is sRGB already."""
    if not data:
        return None
    try:
        embedded = ImageCms.ImageCmsProfile(io.BytesIO(data))
        mode = MODES[embedded.profile.xcolor_space.strip()]
        srgb = ImageCms.createProfile("sRGB")
        # The engine's shortcut for grey is off by several levels in the shadows.
        flags = ImageCms.Flags.NOOPTIMIZE if mode == "L" else ImageCms.Flags.NONE
        transform = ImageCms.buildTransform(embedded, srgb, mode, "RGB", flags=flags)
        profile = Profile(transform, mode)
    except (ImageCms.PyCMSError, OSError, KeyError, TypeError, ValueError):
        return None
    return None if mode != "CMYK" and _is_srgb(profile) else profile


def _is_srgb(profile: Profile) -> bool:
    """Whether the profile moves no colour by more than 1 of 255, the rounding of two sRGBs.

    Most photographs carry an sRGB profile under one of many names; leaving their numbers as they
    are is exact and saves the time.
    """
    levels = np.arange(256)[None]  # [1, 256]
    if profile.mode == "RGB":
        levels = np.mgrid[0:256:17, 0:256:17, 0:256:17].reshape(3, 1, -1).transpose(1, 2, 0)
    before = Image.fromarray(levels.astype(np.uint8))
    moved = profile.apply(before).astype(np.int16) - np.asarray(before.convert("RGB"))
    return int(np.abs(moved).max()) <= 1


def to_rgb(strip: Image.Image, profile: Profile | None, name: str) -> np.ndarray:
    """A strip of any PIL mode -> uint8 [h, w, 3]."""
    if strip.mode == "F" or strip.mode.startswith("I"):
        values = np.asarray(strip)  # [h, w]
        pixels = _opaque_rgb(Image.fromarray(to_uint8(values, name)), profile)
        if "transparency" in strip.info:  # a colour key that Pillow does not apply to 16 bits
            clear = values == strip.info["transparency"]
            pixels = np.where(clear[..., None], np.uint8(255), pixels)
        return pixels
    if not strip.has_transparency_data:
        return _opaque_rgb(strip, profile)
    grey = strip.mode in ("1", "L", "LA", "La")
    strip = strip.convert("L") if strip.mode == "1" else strip  # keeps a colour key
    strip = strip.convert("LA" if grey else "RGBA")
    alpha = np.asarray(strip.getchannel("A"))
    return over_white(_opaque_rgb(strip.convert("L" if grey else "RGB"), profile), alpha)


def _opaque_rgb(strip: Image.Image, profile: Profile | None) -> np.ndarray:
    """A strip without transparency -> uint8 [h, w, 3]."""
    mode = "L" if strip.mode in ("1", "L") else "CMYK" if strip.mode == "CMYK" else "RGB"
    strip = _converted(strip, mode)
    if profile is not None and profile.mode == mode:
        return profile.apply(strip)
    return np.asarray(_converted(strip, "RGB"))


def _converted(strip: Image.Image, mode: str) -> Image.Image:
    """`convert` would copy what has the mode already."""
    return strip if strip.mode == mode else strip.convert(mode)


def array_to_rgb(values: np.ndarray, name: str) -> np.ndarray:
    """[h, w] or [h, w, 1 | 3 | 4] of any accepted dtype -> uint8 [h, w, 3]."""
    pixels = to_uint8(values, name)
    if pixels.ndim == 2 or pixels.shape[2] == 1:
        return np.repeat(pixels.reshape(*pixels.shape[:2], 1), 3, axis=2)
    return pixels if pixels.shape[2] == 3 else over_white(pixels[..., :3], pixels[..., 3])


def to_uint8(values: np.ndarray, name: str) -> np.ndarray:
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


def over_white(colour: np.ndarray, alpha: np.ndarray) -> np.ndarray:
    """Colours [h, w, 3] of opacity `alpha` [h, w] on white, rounded."""
    opacity = alpha[..., None].astype(np.uint16)
    mixed = colour * opacity + 255 * (255 - opacity)  # at most 255 * 255: fits 16 bits
    return ((mixed + 127) // 255).astype(np.uint8)
