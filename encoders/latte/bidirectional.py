"""Bidirectional Latte: every token reads all tokens."""

from torch import Tensor

from encoders.latte.state import (
    accumulator,
    check,
    drop_empty,
    exact,
    key_logits,
    product_dtype,
)
from encoders.latte.streams import average, read_out


def bidirectional(q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None = None) -> Tensor:
    """softmax_latents(q) @ (softmax_time(k)^T @ v), in time and memory linear in T.

    q, k logits [B, T, H, Lh]; v [B, T, H, Dh]; mask bool [B, T]. Returns [B, T, H, Dh] in v's
    dtype, also at padded positions; a row with no real token gives zeros.
    Paper: section 3, p(s|t) = sum_l p(l|t) p(s|l).
    Raises ValueError if the shapes disagree or the mask is not bool.
    """
    check(q, k, v, mask)
    wide = accumulator(q, k, v)
    narrow = product_dtype(v.dtype, wide)
    with exact(v):
        u = drop_empty(average(key_logits(k, wide, mask), v.to(narrow)), mask)
        return read_out(q.to(wide), u, narrow).to(v.dtype)
