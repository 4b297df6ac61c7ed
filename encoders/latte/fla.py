"""Causal Latte through the gated linear attention kernels of flash-linear-attention.

Yang et al., "Gated Linear Attention Transformers" (arXiv 2312.06635), package `fla-core` (or
`flash-linear-attention`, which brings it), an optional dependency. Causal Latte is a gated linear
recurrence U_t = e^(z[t-1] - z[t]) U_{t-1} + e^(k_t - z_t) v_t, y_t = p_t U_t, z the running
logsumexp of k: queries p, keys e^(k - z), log gates z[t-1] - z[t] <= 0.

Checked on a CPU only, against the recurrence and in Triton's interpreter; not yet run on a GPU.
"""

from functools import cache
from importlib import import_module
from importlib.util import find_spec

import torch
from torch import Tensor

from encoders.latte.state import State, product_dtype

# The kernels sum up to 64 log gates and subtract the sums, so one gate of -1e30 (the first token
# after an empty state) would leave no digit for its neighbours. A gate changed from less than
# e^-30 to e^-30 moves y and u by less than 1e-13 of the largest value.
FLOOR = -30.0


@cache
def _installed() -> bool:
    return find_spec("fla") is not None


def available(v: Tensor) -> bool:
    """Whether values like v can go through `scan`: on a GPU, in half precision, with fla there.

    Not in float32, which the kernels multiply as TF32, in 11 bits of 24.
    """
    return v.is_cuda and v.dtype in (torch.bfloat16, torch.float16) and _installed()


def scan(p: Tensor, k: Tensor, v: Tensor, start: State) -> tuple[Tensor, State]:
    """y [B, T, H, Dh] in v's dtype and the state after the last token, from the state `start`.

    p = softmax(q) and k [B, T, H, Lh] in float32, pads of k at EMPTY; v [B, T, H, Dh], pads at
    zero. Products are taken in bfloat16 for bfloat16 values, else in float32.
    """
    chunk_gla = import_module("fla.ops.gla").chunk_gla
    dtype = product_dtype(v.dtype, torch.float32)
    z = torch.logaddexp(start.z.unsqueeze(1), k.logcumsumexp(1))
    # As a reference that keeps exponents <= 0, z cancels and is held constant. It counts as the
    # normaliser of what is read: a factor of one with a derivative of its own, which spares the
    # differences of large sums that the gradients of the gates would be.
    fixed, first = z.detach(), start.z.detach()
    normaliser = (fixed - z).exp()
    before = torch.cat([first.unsqueeze(1), fixed[:, :-1]], 1)
    y, u = chunk_gla(
        q=(p * normaliser).to(dtype),
        k=(k - fixed).exp().to(dtype),
        v=v.to(dtype),
        g=(before - fixed).clamp(min=FLOOR),
        scale=1.0,
        initial_state=start.u * (start.z - first).exp().unsqueeze(-1),
        output_final_state=True,
    )
    return y.to(v.dtype), State(u * normaliser[:, -1].unsqueeze(-1), z[:, -1])
