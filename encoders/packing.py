"""Moving the real tokens of a masked batch to the left, in order, and back.

What counts tokens, such as a window of w of them, may not count pads; packed, the last w places
are the last w tokens.
"""

from typing import NamedTuple

import torch
from torch import Tensor


class Packing(NamedTuple):
    """Where the tokens of a batch go: real ones first, in order, then the pads.

    `mask` bool `[B, T]` is that of the packed batch; `order` `[B, T]` the place from which each
    packed token comes, None if all stay where they are.
    """

    mask: Tensor
    order: Tensor | None

    @property
    def counts(self) -> Tensor:
        """Real tokens of each row, `[B]`."""
        return self.mask.sum(1)

    def take(self, x: Tensor) -> Tensor:
        """`x` `[B, T, ...]` packed; `x` itself if nothing moves."""
        self._check(x)
        return x if self.order is None else rows(x, self.order)

    def restore(self, x: Tensor) -> Tensor:
        """A packed `x` `[B, T, ...]` with its tokens back in their places."""
        self._check(x)
        return x if self.order is None else rows(x, self.order.argsort(dim=1))

    def _check(self, x: Tensor) -> None:
        if x.shape[:2] != self.mask.shape:
            mask = list(self.mask.shape)
            raise ValueError(f"tokens {list(x.shape)} do not belong to a mask {mask}")


def pack(mask: Tensor) -> Packing:
    """The packing of a batch with this mask, bool `[B, T]`, True = real.

    Raises ValueError for any other mask.
    """
    if mask.dtype != torch.bool or mask.dim() != 2:
        got = f"{mask.dtype} {list(mask.shape)}"
        raise ValueError(f"the mask must be torch.bool [B, T] (True = real), got {got}")
    if not (mask[:, 1:] & ~mask[:, :-1]).any():  # no token after a pad
        return Packing(mask, None)
    order = (~mask).byte().argsort(dim=1, stable=True)
    return Packing(mask.gather(1, order), order)


def rows(x: Tensor, index: Tensor) -> Tensor:
    """`x[b, index[b, n]]`: tokens `[B, T, ...]` at places `[B, N]`, as `[B, N, ...]`."""
    # A flat index copies whole tokens; gather and its derivative go number by number.
    start = torch.arange(len(x), device=x.device).unsqueeze(1) * x.shape[1]
    taken = x.flatten(0, 1).index_select(0, (start + index).flatten())
    return taken.unflatten(0, index.shape)
