"""What a page goes through before it is read: print, paper, stamps, pens, scanners, compression.

Each step happens to some pages only, and its strength is bound to the size of letters, so that a
person can still read them. Greys, as scans mostly are; one page in eight is tinted.
"""

import io
import random
from functools import cache

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

from vqa.pages import fonts
from vqa.pages.fonts import Face
from vqa.pages.scene import Scene
from vqa.pages.view import seen

_TILE = 768
_STAMPS = ("PAID", "RECEIVED", "COPY", "POSTED", "APPROVED", "CHECKED", "ENTERED", "VERIFIED")


def draw(scene: Scene) -> np.ndarray:
    """The image of a page, uint8 [3, H, W]."""
    rng = random.Random(scene.wear)
    image = seen(scene)
    grey = _screen(image, rng) if scene.flat else _scan(image, rng, scene.em)
    return _tinted(np.asarray(_compressed(grey, rng, scene.em)), rng)


def _screen(image: Image.Image, rng: random.Random) -> Image.Image:
    """Even, sharp; dark now and then."""
    light, dark = rng.randint(225, 255), rng.randint(0, 70)
    if rng.random() < 0.25:
        light, dark = rng.randint(10, 60), rng.randint(190, 255)
    return image.point([round(light + (dark - light) * level / 255) for level in range(256)])


def _scan(image: Image.Image, rng: random.Random, em: float) -> Image.Image:
    image = _pressed(image, rng, em)
    ink = np.asarray(image, np.float32)
    if rng.random() < 0.3:
        ink = ink * _bands(ink.shape, rng)
    if rng.random() < 0.2:
        ink = ink * (1 - 0.45 * (_blotches(ink.shape, rng, em / 3) > rng.uniform(0.72, 0.85)))
    ink = np.maximum(ink, _pens(ink.shape, rng, em))
    paper = _paper(ink.shape, rng)
    darkness = rng.uniform(0.62, 1.0)
    grey = paper * (1 - ink * np.float32(darkness / 255))
    grey = _specks(grey, rng)
    if rng.random() < 0.12:
        _border(grey, rng)
    image = Image.fromarray(np.clip(grey, 0, 255).astype(np.uint8))
    if rng.random() < 0.45:
        image = image.filter(ImageFilter.GaussianBlur(em * rng.uniform(0.015, 0.045)))
    if rng.random() < 0.45:
        image = _noisy(image, rng, rng.uniform(1, 9))
    if rng.random() < 0.18 and em >= 12:
        image = _two_levels(image, rng, em)
    return image


def _pressed(image: Image.Image, rng: random.Random, em: float) -> Image.Image:
    """More or less ink than the letters have: bolder or thinner strokes, paler or full."""
    roll = rng.random()
    if roll < 0.06 and em > 26:
        image = image.filter(ImageFilter.MaxFilter(3))
    elif roll < 0.12 and em > 30:
        image = image.filter(ImageFilter.MinFilter(3))
    gain, power = rng.uniform(0.75, 1.15), rng.choice((1.0, 0.7, 0.8, 1.2))
    return image.point([min(255, round(255 * gain * (n / 255) ** power)) for n in range(256)])


def _bands(shape: tuple[int, ...], rng: random.Random) -> np.ndarray:
    """Thermal print that fades in soft bands across or along the page, never to nothing."""
    height, width = shape
    length = height if (across := rng.random() < 0.5) else width
    knots = [rng.uniform(0.45, 1.1) for _ in range(rng.randint(3, 9))]
    places = np.linspace(0, length - 1, len(knots))
    wave = np.interp(np.arange(length), places, knots).clip(0.45, 1).astype(np.float32)
    return wave[:, None] if across else wave[None, :]


def _blotches(shape: tuple[int, ...], rng: random.Random, grain: float) -> np.ndarray:
    """Smooth noise in [0, 1] with spots of about `grain` pixels."""
    height, width = shape
    small = (max(2, int(width / max(2, grain))), max(2, int(height / max(2, grain))))
    field = _noise(small[1], small[0], rng)
    # 1.6 standard deviations either way
    image = Image.fromarray(np.clip(field * 80 + 128, 0, 255).astype(np.uint8))
    resized = image.resize((width, height), Image.Resampling.BILINEAR)
    return np.asarray(resized, np.float32) / 255


def _paper(shape: tuple[int, ...], rng: random.Random) -> np.ndarray:
    """From white to grey, even or shaded, with grain and stains on some, float32 [H, W]."""
    height, width = shape
    white = rng.choice((255, rng.uniform(235, 255), rng.uniform(200, 245), rng.uniform(165, 225)))
    paper = np.full(shape, white, np.float32)
    if rng.random() < 0.35:
        tilt = [rng.uniform(-22, 22) for _ in range(2)]
        paper += np.linspace(-tilt[0], tilt[0], height, dtype=np.float32)[:, None]
        paper += np.linspace(-tilt[1], tilt[1], width, dtype=np.float32)[None, :]
    if rng.random() < 0.3:
        size = rng.choice((0.05, 0.15, 0.4)) * max(shape)
        paper += (_blotches(shape, rng, size) - 0.5) * rng.uniform(8, 34)
    if rng.random() < 0.12:  # folds
        for _ in range(rng.randint(1, 3)):
            place = rng.randrange(height)
            paper[place : place + 2] -= rng.uniform(8, 40)
    return paper


def _pens(shape: tuple[int, ...], rng: random.Random, em: float) -> np.ndarray:
    """What people add: a number or a scrawl in pen, a ring, a rubber stamp; uint8 [H, W]."""
    if rng.random() > 0.28 or min(shape) < 96:
        return np.zeros((1, 1), np.uint8)
    height, width = shape
    image = Image.new("L", (width, height))
    pencil = ImageDraw.Draw(image)
    roll = rng.random()
    if roll < 0.45:
        _scrawl(pencil, rng, width, height, em)
    elif roll < 0.65:
        x, y = rng.uniform(0, width), rng.uniform(0, height)
        reach, rise = rng.uniform(2, 4) * em, rng.uniform(0.8, 1.4) * em
        pencil.ellipse(
            (x - reach, y - rise, x + reach, y + rise), outline=200, width=max(1, int(em / 12))
        )
    else:
        _stamp(image, rng, em)
    return np.asarray(image)


def _scrawl(
    pencil: ImageDraw.ImageDraw, rng: random.Random, width: int, height: int, em: float
) -> None:
    """A line as of a hand that writes, along the edge."""
    x, y = rng.uniform(0, 0.7) * width, rng.choice((0.02, 0.04, 0.95)) * height
    points = [(x, y)]
    for _ in range(rng.randint(6, 24)):
        x += rng.uniform(-0.2, 0.8) * em
        points.append((x, y + rng.uniform(-0.8, 0.8) * em))
    pencil.line(points, rng.randint(120, 255), max(1, int(em / 14)), joint="curve")


def _stamp(image: Image.Image, rng: random.Random, em: float) -> None:
    """A word in a frame, aslant and pale enough to read through."""
    face = Face("", max(10, min(60, round(em * rng.uniform(1.2, 2.4)))))
    alphabet = fonts.letters(face)
    word = rng.choice(_STAMPS)
    length = round(alphabet.font.getlength(word))
    stamp = Image.new("L", (length + face.size, round(1.7 * face.size)))
    pencil = ImageDraw.Draw(stamp)
    level = rng.randint(50, 110)
    pencil.text((face.size // 2, face.size // 4), word, level, alphabet.font)
    pencil.rectangle(
        (1, 1, stamp.width - 2, stamp.height - 2), outline=level, width=max(1, face.size // 12)
    )
    stamp = stamp.rotate(rng.uniform(-25, 25), Image.Resampling.BILINEAR, expand=True)
    left = rng.randint(-stamp.width // 3, max(0, image.width - stamp.width // 2))
    image.paste(stamp, (left, rng.randint(0, max(0, image.height - stamp.height // 2))))


def _specks(grey: np.ndarray, rng: random.Random) -> np.ndarray:
    """Dust: some dark and light pixels and small dots."""
    if rng.random() > 0.25:
        return grey
    height, width = grey.shape
    for _ in range(round(height * width * 10 ** rng.uniform(-4.8, -3.3))):
        x, y, side = rng.randrange(width), rng.randrange(height), rng.choice((1, 1, 1, 2))
        grey[y : y + side, x : x + side] = rng.choice((40, 90, 255))
    return grey


def _border(grey: np.ndarray, rng: random.Random) -> None:
    """The dark lid of a scanner along an edge, a few pixels."""
    thick = max(1, round(min(grey.shape) * rng.uniform(0.004, 0.02)))
    edge = rng.choice((np.s_[:thick], np.s_[-thick:], np.s_[:, :thick], np.s_[:, -thick:]))
    grey[edge] = rng.uniform(0, 70)


def _noisy(image: Image.Image, rng: random.Random, sigma: float) -> Image.Image:
    values = np.asarray(image, np.float32)
    height, width = values.shape
    values = values + (_noise(height, width, rng) * sigma).astype(np.float32)
    return Image.fromarray(np.clip(values, 0, 255).astype(np.uint8))


def _two_levels(image: Image.Image, rng: random.Random, em: float) -> Image.Image:
    """Black and white, as faxes and cheap scanners make it; softened again on most."""
    values = np.asarray(image)
    paper = float(np.percentile(values[::4, ::4], 80))
    ink = float(np.percentile(values[::2, ::2], 1))
    cut = ink + (paper - ink) * rng.uniform(0.5, 0.72)
    image = image.point([255 if n > cut else 0 for n in range(256)])
    return image.filter(ImageFilter.GaussianBlur(0.02 * em)) if rng.random() < 0.7 else image


def _compressed(image: Image.Image, rng: random.Random, em: float) -> Image.Image:
    if rng.random() > 0.4:
        return image
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=rng.randint(40 if em < 16 else 25, 90))
    return Image.open(buffer)


def _tinted(grey: np.ndarray, rng: random.Random) -> np.ndarray:
    """uint8 [3, H, W]; the same three times, or paper and ink of a colour."""
    if rng.random() > 0.12:
        return np.repeat(grey[None], 3, axis=0)
    tables = []
    for _ in range(3):
        dark, light = rng.uniform(0, 50), rng.uniform(215, 255)
        tables.append(np.linspace(dark, light, 256).astype(np.uint8))
    return np.stack([table[grey] for table in tables])


def _noise(height: int, width: int, rng: random.Random) -> np.ndarray:
    """Normal noise cut from one large square of it: drawing anew takes longer than the page."""
    rows = (np.arange(height) + rng.randrange(_TILE)) % _TILE
    columns = (np.arange(width) + rng.randrange(_TILE)) % _TILE
    return _square().take(rows, 0).take(columns, 1)


@cache
def _square() -> np.ndarray:
    generator = np.random.Generator(np.random.PCG64(0))
    return generator.standard_normal((_TILE, _TILE), np.float32)
