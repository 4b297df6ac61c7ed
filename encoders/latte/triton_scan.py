"""Causal Latte through own Triton kernels, forward and backward, in memory O(T (Lh + Dh)).

Checked against the formulas in Triton's interpreter on a CPU, and compiled for GPUs; not yet run
on one.
"""

from functools import cache
from importlib.util import find_spec
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from encoders.latte.state import State

LARGEST = 64 * 128  # numbers of a head's state, which a program keeps in registers


@cache
def _installed() -> bool:
    return find_spec("triton") is not None


def available(k: Tensor, v: Tensor) -> bool:
    """Whether tokens like k and v can go through `scan`: on a GPU, not double, heads not too wide.

    Lh and Dh count as the next powers of two, at least 16; their product may be up to 64 * 128.
    """
    latents, width = (max(16, 1 << (x.shape[-1] - 1).bit_length()) for x in (k, v))
    fits = latents * width <= LARGEST and v.dtype != torch.float64
    return v.is_cuda and fits and _installed()


def scan(p: Tensor, k: Tensor, v: Tensor, start: State) -> tuple[Tensor, State]:
    """y [B, T, H, Dh] in v's dtype and the state after the last token, from the state `start`.

    p = softmax(q) and k [B, T, H, Lh], pads of k at EMPTY; v [B, T, H, Dh], pads at zero; start
    in float32. Products are taken in bfloat16 for bfloat16 values, else in float32.
    """
    y, u, z = _Scan.apply(p, k, v, *start)
    return y, State(u, z)


class _Scan(torch.autograd.Function):
    """Outputs and the state after the last token, with their derivatives by hand.

    The kernels are imported where they are launched: triton is not on every platform.
    """

    @staticmethod
    def forward(
        ctx: Any, p: Tensor, k: Tensor, v: Tensor, u: Tensor, z: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        from encoders.latte.triton_forward import forward

        inputs = [x.contiguous() for x in (p, k, v, u, z)]
        with torch.cuda.device_of(v):  # Triton launches on the current device
            y, *saved = forward(*inputs)
        ctx.save_for_backward(*inputs, *saved)
        return y, saved[0], saved[1]

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, g: Tensor, du: Tensor, dz: Tensor) -> tuple[Tensor, ...]:
        from encoders.latte.triton_backward import backward

        with torch.cuda.device_of(g):
            return backward(ctx.saved_tensors, *(x.contiguous() for x in (g, du, dz)))
