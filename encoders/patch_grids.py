"""Sequences that begin with patch grids: what treats patches by their neighbours goes grid by grid.

A sequence is the patches of one or more grids, row by row, and then other tokens; in a batch
each sequence may have grids of its own.
"""

from collections import defaultdict
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from encoders.tiling import Grid

Grids = Sequence[tuple[Grid, ...]]
"""For each sequence of a batch, the patch grids at its start, one after the other."""

Tensors = tuple[Tensor, ...]


def map_grids(
    tensors: Tensors,
    grids: Grids,
    patches: Callable[[Tensors, Grid], Tensor],
    others: Callable[[Tensors], Tensor],
) -> Tensor:
    """`patches(parts, grid)` of every patch grid and `others(parts)` of what follows, joined.

    `tensors` are `[B, T, ...]` each; their parts `[b, grid.size, ...]` or `[b, rest, ...]` for b
    sequences with the same grids. Returns `[B, T, ...]`.
    Raises ValueError if there are not grids for B sequences.
    """
    batch = len(tensors[0])
    if len(grids) != batch:
        raise ValueError(f"{batch} sequences but patch grids for {len(grids)}")
    alike: dict[tuple[Grid, ...], list[int]] = defaultdict(list)
    for index, shapes in enumerate(grids):
        alike[shapes].append(index)
    if len(alike) == 1:
        return _map_alike(tensors, grids[0], patches, others)
    # Each size on its own: padding to a common grid would cost rows x columns of the largest
    # both ways.
    order = torch.tensor([row for rows in alike.values() for row in rows])
    groups = [
        _map_alike(tuple(x[rows] for x in tensors), shapes, patches, others)
        for shapes, rows in alike.items()
    ]
    return torch.cat(groups)[order.argsort().to(groups[0].device)]


def _map_alike(
    tensors: Tensors,
    shapes: tuple[Grid, ...],
    patches: Callable[[Tensors, Grid], Tensor],
    others: Callable[[Tensors], Tensor],
) -> Tensor:
    parts, start = [], 0
    for grid in shapes:
        parts.append(patches(tuple(x[:, start : start + grid.size] for x in tensors), grid))
        start += grid.size
    if start < tensors[0].shape[1]:
        parts.append(others(tuple(x[:, start:] for x in tensors)))
    dtype = parts[0].dtype  # under autocast that of a product, where there is one
    return torch.cat([part.to(dtype) for part in parts], dim=1)


def strips(mask: Tensor) -> list[tuple[Grid, ...]]:
    """The real tokens of each sequence, which come first, as a grid of one row; `mask` `[B, T]`."""
    return [(Grid(1, count),) for count in mask.sum(1).tolist()]
