"""Where in the image an answer was read: a heat map over its patches, a box and a point."""

import math
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import conv2d, max_pool2d

from encoders.tiling import Grid
from encoders.vision.sheet import ImageTokens
from vqa.encoded import Source

Box = tuple[int, int, int, int]
"""left, top, right, bottom in pixels; right and bottom are the first pixels outside."""

NOWHERE = "no part of the image made this answer more probable"
"""What people are told of evidence without a box."""


@dataclass(frozen=True)
class Evidence:
    """Where an answer was read, in pixels of the image as it is shown (after EXIF rotation).

    `heat` fp32 `[rows, columns]`: how much each patch made the answer more probable; it sums to
    `share`, that of the image, of which the words have the rest. `patch`: (width, height) of a
    patch; those at the right and lower edge may reach over it. `peak`: (x, y) of the middle of the
    hottest patch, once each has been averaged with its neighbours (weights 1 2 1 both ways), since
    encoders mix these. `box` holds the patches that are connected with it, over edges or corners,
    and then at least half as hot; of an image of which only patches with letters are read, which
    seldom touch, all at least half as hot as the hottest, and what is around them, for a letter is
    larger than a patch. Both are None where no patch made the answer more probable.
    """

    heat: np.ndarray = field(compare=False)
    patch: tuple[float, float]
    peak: tuple[int, int] | None
    box: Box | None

    @property
    def share(self) -> float:
        return float(self.heat.sum())

    def to_dict(self) -> dict[str, Any]:
        """Plain types, for JSON: without the heat map."""
        box, peak = (None if place is None else list(place) for place in (self.box, self.peak))
        return {"box": box, "peak": peak, "share": self.share}


def locate(relevance: Tensor, image: ImageTokens, source: Source) -> Evidence:
    """The evidence of the only image of `image`.

    `relevance` `[N]` of its tokens: those of the patches of its grids, the image's own and that of
    its overview, and perhaps others after them.
    """
    down, across = image.pitch[0].tolist()
    size = across * source.width, down * source.height
    heat = _heat(relevance.detach().float().cpu(), image, Grid(_whole(down), _whole(across)))
    if not float(heat.max()) > 0:
        return Evidence(heat.numpy(), size, None, None)
    mixed = _with_neighbours(heat)
    row, column = divmod(int(mixed.argmax()), heat.shape[1])
    alone = image.grids[0][0].size < heat.numel()
    region = _letters(heat) if alone else _around(mixed, row, column)
    rows, columns = region.nonzero().unbind(1)
    left, right = _pixels(columns, size[0], source.width)
    top, bottom = _pixels(rows, size[1], source.height)
    peak = tuple(
        min(whole - 1, int((place + 0.5) * side))
        for place, side, whole in ((column, size[0], source.width), (row, size[1], source.height))
    )
    return Evidence(heat.numpy(), size, (peak[0], peak[1]), (left, top, right, bottom))


def _whole(pitch: float) -> int:
    """Patches across a side of which each is a share of `pitch`."""
    return max(1, math.ceil(1 / pitch - 1e-3))


def _heat(relevance: Tensor, image: ImageTokens, whole: Grid) -> Tensor:
    """The patches' relevance on the whole image's grid; an overview's is spread over what it shows.

    Of an image of which not all patches are read, the others have none.
    """
    own, *others = image.grids[0]
    start = own.size
    row, column = (image.places[0, :start].cpu() + 0.5).floor().long().unbind(1)
    heat = torch.zeros(whole)
    at = row.clamp(0, whole.rows - 1), column.clamp(0, whole.columns - 1)
    heat.index_put_(at, relevance[:start], accumulate=True)
    for small in others:
        view = relevance[start : start + small.size].view(small)
        down, across = (_overlap(*sides) for sides in zip(whole, small, strict=True))
        heat = heat + down @ view @ across.T
        start += small.size
    return heat


def _overlap(fine: int, coarse: int) -> Tensor:
    """The part of each of `coarse` equal pieces that lies in each of `fine`: `[fine, coarse]`."""
    edges, cuts = torch.linspace(0, 1, fine + 1), torch.linspace(0, 1, coarse + 1)
    until = torch.minimum(edges[1:, None], cuts[1:])
    since = torch.maximum(edges[:-1, None], cuts[:-1])
    return (until - since).clamp(min=0) * coarse


def _with_neighbours(heat: Tensor) -> Tensor:
    """Each patch averaged with those around it; there is no heat outside the image."""
    weights = torch.tensor([1.0, 2.0, 1.0]) / 4
    return conv2d(heat[None, None], torch.outer(weights, weights)[None, None], padding=1)[0, 0]


def _around(heat: Tensor, row: int, column: int) -> Tensor:
    """Patches at least half as hot as the one given that are connected with it, itself included."""
    hot = heat >= heat[row, column] / 2
    region = torch.zeros_like(heat)
    region[row, column] = 1
    while True:
        grown = max_pool2d(region[None], 3, 1, 1)[0] * hot
        if torch.equal(grown, region):
            return region
        region = grown


def _letters(heat: Tensor) -> Tensor:
    """Patches at least half as hot as the hottest, two above and below, and one to each side."""
    return max_pool2d((heat >= heat.max() / 2).float()[None], (5, 3), 1, (2, 1))[0]


def _pixels(places: Tensor, side: float, whole: int) -> tuple[int, int]:
    """The first pixel of the first patch and the one after the last, within the image."""
    return int(int(places.min()) * side), min(whole, round((int(places.max()) + 1) * side))
