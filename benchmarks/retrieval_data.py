"""Synthetic pictures on patch grids, with questions about one patch or a small group of patches.

A picture of `grid x grid` patches is a chequerboard of two halves. Patches of one half are empty
or show a white digit, half and half; among them stand the arrows, one of each colour, never at the
border. Patches of the other half all show a digit, white but for one digit of each colour. So the
four neighbours of an arrow are digits, and its four diagonal patches are empty or not.

    kind      what is asked of a colour                                  chance
    digit     the digit of that colour                                    1/8
    right     the digit right of the arrow of that colour                 1/8
    above     the digit above it                                          1/8
    pointed   the digit next to it, where it points                       1/8
    count     how many of its diagonal patches are not empty, 0 to 4      about 3/8

A sequence is the patches, one token for the kind, and a token for each colour, where the answer is
read: the kind must reach the colours past all patches, and all five kinds share one picture.
"""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

KINDS = ("digit", "right", "above", "pointed", "count")
COLOURS = 8
DIGITS = 8
SYMBOLS = 1 + DIGITS + 4  # empty, digits, arrows
ANSWERS = DIGITS + 5
ARROW = 1 + DIGITS  # the first of four: right, up, left, down


class Scene(NamedTuple):
    """`colour` (0 = white) and `symbol` `[B, grid * grid]`; `kind` `[B]`; `asked` `[B, n]`, colours
    from 1; `answer` `[B, n]`, digits from 0 and counts from DIGITS."""

    colour: Tensor
    symbol: Tensor
    kind: Tensor
    asked: Tensor
    answer: Tensor


def colours(grid: int) -> int:
    """How many colours a picture has: fewer than 8 only where their arrows would not fit."""
    return min(COLOURS, (grid - 2) ** 2 // 2)


def generator(seed: int, index: int, train: bool) -> torch.Generator:
    """The random numbers of batch `index`; no seed shares any between training and evaluation.

    Raises ValueError if `seed` or `index` does not fit: torch's generator reads 32 bits of a seed.
    """
    if not 0 <= seed < 2**11 or not 0 <= index < 2**20:
        raise ValueError(f"seed {seed} must be in [0, 2^11) and index {index} in [0, 2^20)")
    return torch.Generator().manual_seed((seed << 21) + 2 * index + int(train))


def scenes(grid: int, count: int, source: torch.Generator, kinds: Sequence[int]) -> Scene:
    """`count` pictures of `grid x grid` patches, each with one kind of question about each colour.

    The kind is drawn for each picture from `kinds`, places in KINDS. Raises ValueError if `grid`
    is below 4.
    """
    if grid < 4:
        raise ValueError(f"a grid must have at least 4 patches each way, got {grid}")

    def below(high: int, *shape: int) -> Tensor:
        return torch.randint(high, shape, generator=source)

    def chosen(allowed: Tensor) -> Tensor:
        scores = torch.rand(allowed.shape, generator=source).masked_fill(~allowed, -1)
        return scores.topk(colours(grid)).indices

    line = torch.arange(grid)
    parity = (line[:, None] + line).flatten() % 2
    inner = (line > 0) & (line < grid - 1)
    half = parity == below(2, count, 1)
    arrows, digits = chosen(half & (inner[:, None] & inner).flatten()), chosen(~half)

    symbol = 1 + below(DIGITS, count, grid * grid)
    symbol.masked_fill_(half & (below(2, count, grid * grid) == 0), 0)
    towards = below(4, *arrows.shape)
    symbol.scatter_(1, arrows, ARROW + towards)
    asked = 1 + torch.rand(count, COLOURS, generator=source).argsort(1)[:, : colours(grid)]
    colour = torch.zeros_like(symbol).scatter_(1, arrows, asked).scatter_(1, digits, asked)

    def shown(place: Tensor) -> Tensor:
        return symbol.gather(1, place) - 1

    step = torch.tensor([1, -grid, -1, grid])
    corners = [arrows + shift for shift in (-grid - 1, -grid + 1, grid - 1, grid + 1)]
    filled = torch.stack([shown(corner) >= 0 for corner in corners]).sum(0)
    answers = torch.stack(
        [
            shown(digits),
            shown(arrows + 1),
            shown(arrows - grid),
            shown(arrows + step[towards]),
            DIGITS + filled,
        ]
    )
    kind = torch.tensor(kinds)[below(len(kinds), count)]
    return Scene(colour, symbol, kind, asked, answers[kind, torch.arange(count)])
