"""Evidence drawn on a copy of the image."""

import os
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from vqa.evidence import Evidence
from vqa.images import Picture

LONGEST = 1600
"""Pixels of the longer side of a drawing, at most."""

FORMATS = {".png": "PNG", ".jpg": "JPEG", ".jpeg": "JPEG", ".webp": "WebP"}

HOT = (255, 60, 0)
FRAME = ((0, 0, 0), (255, 255, 255))
"""Colours of the box, outside and inside: one of them shows on any image."""

_MOST = 0.65  # of the hottest patch's colour; what it covers stays visible


def check(path: str | os.PathLike[str]) -> str:
    """The format that the ending of `path` names. Raises ValueError for any other file name."""
    target = Path(path)
    if target.suffix.lower() not in FORMATS:
        endings = ", ".join(FORMATS)
        raise ValueError(f"{path} cannot be drawn as evidence; use a name that ends in {endings}")
    if not target.absolute().parent.is_dir():
        raise ValueError(f"{path} cannot be written: there is no folder {target.parent}")
    return FORMATS[target.suffix.lower()]


def save(picture: Picture, evidence: Evidence, path: str | os.PathLike[str]) -> None:
    """`draw` as the PNG, JPEG or WebP file `path`. Raises ValueError where it cannot be written."""
    kind = check(path)
    drawing = draw(picture, evidence)
    try:
        drawing.save(path, kind)
    except OSError as error:
        raise ValueError(f"{path} cannot be written: {error.strerror or error}") from None


def draw(picture: Picture, evidence: Evidence) -> Image.Image:
    """A copy of `picture`, shrunk to at most LONGEST pixels a side, with heat map and box."""
    _, height, width = picture.shape
    pixels = picture.within(LONGEST)[:, :, :].permute(1, 2, 0).numpy()
    drawing = Image.fromarray(np.ascontiguousarray(pixels))
    veil = Image.new("RGB", drawing.size, HOT)
    drawing.paste(veil, mask=_veil(evidence, (width, height), drawing.size))
    if evidence.box is not None:
        scale = drawing.width / width, drawing.height / height
        _frame(drawing, tuple(edge * scale[n % 2] for n, edge in enumerate(evidence.box)))
    return drawing


def _veil(evidence: Evidence, shown: tuple[int, int], size: tuple[int, int]) -> Image.Image:
    """How much of the heat's colour covers each pixel, in [0, 255]."""
    heat = evidence.heat / max(float(evidence.heat.max()), np.finfo(np.float32).tiny)
    share = Image.fromarray(np.float32(255 * _MOST) * heat.astype(np.float32))
    # The patches at the edges may reach over the image.
    columns, rows = (whole / side for whole, side in zip(shown, evidence.patch, strict=True))
    covered = (0, 0, min(columns, heat.shape[1]), min(rows, heat.shape[0]))
    return share.resize(size, Image.Resampling.BILINEAR, box=covered).convert("L")


def _frame(drawing: Image.Image, box: tuple[float, ...]) -> None:
    pen = ImageDraw.Draw(drawing)
    line = max(1, max(drawing.size) // 400)
    left, top, right, bottom = (round(edge) for edge in box)
    right, bottom = max(left, right - 1), max(top, bottom - 1)
    for inset, colour in zip((0, line), FRAME, strict=True):
        inner = (left + inset, top + inset, right - inset, bottom - inset)
        if inner[2] >= inner[0] and inner[3] >= inner[1]:
            pen.rectangle(inner, outline=colour, width=line)
