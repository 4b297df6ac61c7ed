"""Backgrounds: light, faint, and made of one small tile that repeats without a seam."""

import random
import zlib
from collections.abc import Callable
from functools import cache

import numpy as np
from PIL import Image, ImageDraw, ImageFont

LEARN = ("paper", "clouds", "ruled", "columns")
HELD_OUT = ("weave", "graph", "print")

_SIDE = 512
_VARIANTS = 8  # of each texture, drawn once a process; tint and place differ from canvas to canvas


def paint(width: int, height: int, texture: str, seed: int) -> np.ndarray:
    """A background, uint8 [3, height, width]."""
    rng = random.Random(seed)
    grey = tile(texture, rng.randrange(_VARIANTS))
    shift = (rng.randrange(_SIDE), rng.randrange(_SIDE))
    tinted = _tinted(np.roll(grey, shift, (0, 1))[:height, :width], rng, _DEPTH[texture])
    canvas = np.empty((3, height, width), np.uint8)
    for top in range(0, height, _SIDE):
        for left in range(0, width, _SIDE):
            part = canvas[:, top : top + _SIDE, left : left + _SIDE]
            part[:] = tinted[:, : part.shape[1], : part.shape[2]]
    return canvas


def _tinted(grey: np.ndarray, rng: random.Random, depth: int) -> np.ndarray:
    """From a light colour where `grey` [h, w] is 255 to one up to `depth` darker, [3, h, w]."""
    paper = np.array([rng.randint(228, 255) for _ in range(3)], np.uint16)[:, None, None]
    ink = np.array([rng.randint(depth // 2, depth) for _ in range(3)], np.uint16)[:, None, None]
    # A third of the time of a table of 256 colours; at most 255 * 255: fits 16 bits.
    return (paper - (ink * (255 - grey) >> 8)).astype(np.uint8)


@cache
def tile(texture: str, variant: int) -> np.ndarray:
    """One square of a texture, uint8 [512, 512]: 255 is paper, 0 its darkest ink."""
    generator = np.random.Generator(np.random.PCG64(zlib.crc32(f"{texture}/{variant}".encode())))
    return TEXTURES[texture](generator)


def _plain(generator: np.random.Generator) -> np.ndarray:
    return np.full((_SIDE, _SIDE), 255, np.uint8)


def _paper(generator: np.random.Generator) -> np.ndarray:
    """Fine grain over broad stains."""
    return _scaled(0.5 * _noise(generator, 0.0) + _noise(generator, 1.2))


def _clouds(generator: np.random.Generator) -> np.ndarray:
    """The spectrum of photographs: amplitude falls with frequency."""
    return _scaled(_noise(generator, 1.6))


def _ruled(generator: np.random.Generator) -> np.ndarray:
    """Writing paper: lines, and one margin."""
    grey = np.full((_SIDE, _SIDE), 255, np.uint8)
    pitch = int(generator.choice([16, 32, 64]))
    grey[::pitch] = 60
    grey[1::pitch] = 120
    grey[:, 40:42] = 0
    return grey


def _columns(generator: np.random.Generator) -> np.ndarray:
    """A page seen from afar: words as grey bars, in columns, with gaps between paragraphs."""
    grey = np.full((_SIDE, _SIDE), 255, np.uint8)
    pitch = int(generator.choice([12, 16, 20]))
    for left in range(12, _SIDE, _SIDE // 2):
        for top in range(4, _SIDE - pitch, pitch):
            if generator.random() < 0.15:
                continue
            x, end = left, left + _SIDE // 2 - 24
            while (length := int(generator.integers(8, 44))) < end - x:
                grey[top : top + pitch // 2, x : x + length] = 40
                x += length + 6
    return grey


def _weave(generator: np.random.Generator) -> np.ndarray:
    """Cloth: two threads crossing."""
    turns = int(generator.choice([32, 64, 128]))
    wave = np.sin(np.arange(_SIDE) * (2 * np.pi * turns / _SIDE))
    return _scaled(wave[:, None] * wave[None, :] + 0.3 * _noise(generator, 0.5))


def _graph(generator: np.random.Generator) -> np.ndarray:
    """Squared paper with a stronger line every fourth."""
    grey = np.full((_SIDE, _SIDE), 255, np.uint8)
    pitch = int(generator.choice([8, 16, 32]))
    for step, shade in ((pitch, 150), (4 * pitch, 20)):
        grey[::step] = shade
        grey[:, ::step] = shade
    return grey


def _print(generator: np.random.Generator) -> np.ndarray:
    """Lines of small letters that spell nothing."""
    image = Image.new("L", (_SIDE, _SIDE), 255)
    pencil = ImageDraw.Draw(image)
    size = int(generator.choice([8, 9, 11]))
    face = ImageFont.load_default(size)
    letters = np.array(list("abcdefghijklmnopqrstuvwxyz    "))
    for top in range(2, _SIDE - size, size + 5):
        line = "".join(letters[generator.integers(0, len(letters), 80)])
        while face.getlength(line) > _SIDE - 8:  # no letter across the seam
            line = line[:-3]
        pencil.text((4, top), line, 0, face)
    return np.asarray(image)


def _noise(generator: np.random.Generator, slope: float) -> np.ndarray:
    """Periodic noise [512, 512] of unit variance with amplitude frequency ** -slope."""
    spectrum = np.fft.rfft2(generator.standard_normal((_SIDE, _SIDE)))
    frequency = np.hypot(np.fft.fftfreq(_SIDE)[:, None], np.fft.rfftfreq(_SIDE)[None, :])
    frequency[0, 0] = np.inf  # no mean
    spectrum *= frequency**-slope if slope else frequency < np.inf
    noise = np.fft.irfft2(spectrum, (_SIDE, _SIDE))
    return noise / noise.std()


def _scaled(values: np.ndarray) -> np.ndarray:
    """Three standard deviations either way to 0 and 255."""
    centred = (values - values.mean()) / values.std()
    return np.rint(np.clip(centred / 6 + 0.5, 0, 1) * 255).astype(np.uint8)


TEXTURES: dict[str, Callable[[np.random.Generator], np.ndarray]] = {
    "plain": _plain,
    "paper": _paper,
    "clouds": _clouds,
    "ruled": _ruled,
    "columns": _columns,
    "weave": _weave,
    "graph": _graph,
    "print": _print,
}
_DEPTH = {
    "plain": 0,
    "paper": 50,
    "clouds": 90,
    "ruled": 80,
    "columns": 70,
    "weave": 60,
    "graph": 80,
    "print": 60,
}
