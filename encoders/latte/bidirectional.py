"""Bidirectional Latte: every token reads all tokens."""

from torch import Tensor

from encoders.latte.state import State, check


def bidirectional(q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None = None) -> Tensor:
    """softmax_latents(q) @ (softmax_time(k)^T @ v), in time and memory linear in T.

    q, k logits [B, T, H, Lh]; v [B, T, H, Dh]; mask bool [B, T]. Returns [B, T, H, Dh] in v's
    dtype, also at padded positions; a row with no real token gives zeros.
    Paper: section 3, p(s|t) = sum_l p(l|t) p(s|l).
    Raises ValueError if the shapes disagree or the mask is not bool.
    """
    check(q, k, v, mask)
    return State.of(k, v, mask).read(q, v.dtype)
