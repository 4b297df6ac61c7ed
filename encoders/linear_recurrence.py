"""The gated linear recurrence h_t = a_t h_{t-1} + b_t, per channel, in about sqrt(T) vector steps.

Tokens are taken in about sqrt(T) blocks of about sqrt(T): place by place, all blocks at once, to
find what a block adds and how much it keeps; block by block, to find what enters each; then
place by place once more, from there. Decays are only multiplied, never divided by nor taken the
logarithm of, so that 0 and 1 are exact and a product that underflows is one that no longer counts.
"""

from math import isqrt
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from encoders.latte.state import accumulator


def linear_recurrence(decay: Tensor, drive: Tensor, start: Tensor) -> Tensor:
    """h_t = decay_t h_{t-1} + drive_t for all t at once, with h_0 = `start`.

    decay in [0, 1] and drive [B, T, D], start [B, D]. Returns h [B, T, D] in float64 if any input
    is, else in float32. Time and memory are linear in T; differentiable once.
    Raises ValueError if the shapes disagree or there is no token.
    """
    batch, length, dim = decay.shape if decay.dim() == 3 else (0, 0, 0)
    if not length or drive.shape != decay.shape or start.shape != (batch, dim):
        shapes = f"decay {list(decay.shape)}, drive {list(drive.shape)}, start {list(start.shape)}"
        raise ValueError(f"decay and drive must be [B, T, D], T > 0, start [B, D], got {shapes}")
    dtype = accumulator(decay, drive, start)
    h: Tensor = _Recurrence.apply(decay.to(dtype), drive.to(dtype), start.to(dtype))
    return h


class _Recurrence(torch.autograd.Function):
    """The recurrence, and its derivatives by the same recurrence from right to left."""

    @staticmethod
    def forward(ctx: Any, decay: Tensor, drive: Tensor, start: Tensor) -> Tensor:
        h = torch.empty_like(drive, memory_format=torch.contiguous_format)
        _scan(decay, drive, start, h)
        ctx.save_for_backward(decay, start, h)
        return h

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, g: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        decay, start, h = ctx.saved_tensors
        ddrive = torch.empty_like(h)
        ddrive[:, -1] = g[:, -1]
        _scan(decay[:, 1:], g[:, :-1], g[:, -1], ddrive[:, :-1], reverse=True)
        ddecay = torch.empty_like(h)
        torch.mul(ddrive[:, 0], start, out=ddecay[:, 0])
        torch.mul(ddrive[:, 1:], h[:, :-1], out=ddecay[:, 1:])
        return ddecay, ddrive, ddrive[:, 0] * decay[:, 0]


def _scan(decay: Tensor, drive: Tensor, start: Tensor, out: Tensor, reverse: bool = False) -> None:
    """Fills `out` [B, T, D], from the left or, in `reverse`, from the right; T may be 0."""
    length, way = drive.shape[1], -1 if reverse else 1
    size = max(isqrt(length), 1)
    h = _entering(decay, drive, start, size, way)
    for place in range(min(size, length)):
        first = (length - 1 - place) % size if reverse else place
        b = drive[:, first::size]
        # The block that is scanned last may be shorter than the others.
        count = b.shape[1]
        h = h[:, -count:] if reverse else h[:, :count]
        h = torch.addcmul(b, decay[:, first::size], h, out=out[:, first::size])


def _entering(decay: Tensor, drive: Tensor, start: Tensor, size: int, way: int) -> Tensor:
    """h before every block of `size` tokens, in the order of the tokens: [B, blocks, D]."""
    batch, length, dim = drive.shape
    whole = max(length - 1, 0) // size  # all blocks but the one scanned last
    span = slice(length - whole * size, None) if way < 0 else slice(0, whole * size)
    added = drive.new_zeros(batch, whole, dim)
    kept = torch.ones_like(added)
    a, b = (x[:, span].unflatten(1, (whole, size)).unbind(2)[::way] for x in (decay, drive))
    for a_place, b_place in zip(a, b, strict=True):
        torch.addcmul(b_place, a_place, added, out=added)
        kept *= a_place
    states = [start]
    for add, keep in zip(added.unbind(1)[::way], kept.unbind(1)[::way], strict=True):
        states.append(torch.addcmul(add, keep, states[-1]))
    return torch.stack(states[::way], 1)
