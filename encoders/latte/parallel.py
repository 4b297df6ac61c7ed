"""Context parallelism: Latte over one sequence that is split over the ranks of a process group.

Rank r holds the r-th contiguous part of the tokens, q and k [B, T_r, H, Lh], v [B, T_r, H, Dh],
mask [B, T_r]. Parts may differ in length and may be all pads, but hold at least one token; all
else (B, H, Lh, Dh, dtypes) is alike on all ranks. A part is nothing but its State to the others,
so what is sent is H Lh (Dh + 1) numbers a row and layer, however long the sequence. `group=None`
is the default group.

In a Block (encoders.stack) only the mixer's operator reads other tokens. Norms, projections, MLP,
residuals and dropout work token by token and need nothing; positions are added before the split;
GridConv reads neighbours, so it belongs before the split too, or in whole grids of one rank.

Gradients are those of the sum of all ranks' losses. A rank gets the exact ones of its own tokens.
Of what every rank holds a copy of (parameters, an initial state) it gets the part of its copy:
the sum over ranks is the whole. A mean over tokens divides by the number of tokens of all ranks.

Every rank has to call, and to go backward through what it got, even where it has only pads:
the collectives wait for all.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor
from torch.autograd.function import once_differentiable

from encoders.latte.causal import causal as local_causal
from encoders.latte.state import State, accumulator, check, check_state


def merge(state: State, group: dist.ProcessGroup | None = None) -> State:
    """What all ranks have read together, on every rank: State.merge as a collective.

    Forward: one all-reduce MAX of z [B, H, Lh] (its largest value keeps the exponents <= 0) and
    one all-reduce SUM of exp(z - max) * [u, 1]; backward: one all-reduce of as many numbers.
    Raises RuntimeError if torch.distributed is not initialised, ValueError if this process is
    not in the group.
    """
    _rank(group)
    return State(*_Merge.apply(*state, group))


def bidirectional(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    mask: Tensor | None = None,
    group: dist.ProcessGroup | None = None,
) -> Tensor:
    """Every token of every rank reads all tokens of all ranks: [B, T_r, H, Dh] in v's dtype.

    Sends what `merge` sends. Shapes, masks and errors as in encoders.latte.bidirectional, and
    the errors of `merge`.
    """
    check(q, k, v, mask)
    return merge(State.of(k, v, mask), group).read(q).to(v.dtype)


def causal(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    mask: Tensor | None = None,
    state: State | None = None,
    group: dist.ProcessGroup | None = None,
) -> tuple[Tensor, State]:
    """Every token reads `state`, all tokens of earlier ranks and its own part up to itself.

    `state` is given on all ranks alike or on none. Returns y [B, T_r, H, Dh] in v's dtype and
    the state after the last token of all ranks, the same on every rank; it may go into a next
    call. Forward: one all-gather of the parts' states; backward: one reduce-scatter. Each rank
    sends (ranks - 1) states; a log-depth exchange would send fewer in more rounds, and a state
    is small. Beyond encoders.latte.causal each part is read once more, for its State.
    Shapes, masks and errors as there, and the errors of `merge`.
    """
    check(q, k, v, mask)
    rank = _rank(group)
    dtype = accumulator(q, k, v) if state is None else accumulator(q, k, v, state.u)
    own = State.of(k.to(dtype), v.to(dtype), mask)
    if state is None:
        state = State.empty(*own.u.shape, dtype=dtype, device=v.device)
    check_state(state, k, v)
    start = _pack(state.u.to(dtype), state.z.to(dtype))
    # One tensor, cut afterwards: so autograd sees what enters depend on the gathered states on
    # every rank, the first too, and every rank comes to the reduce-scatter.
    parts = torch.cat([start.unsqueeze(0), _Gather.apply(_pack(*own), group)])
    y, _ = local_causal(q, k, v, mask, _pool(parts[: 1 + rank]))
    return y, _pool(parts)


def _rank(group: dist.ProcessGroup | None) -> int:
    """This process's rank in the group."""
    if not (dist.is_available() and dist.is_initialized()):
        raise RuntimeError("torch.distributed is not initialised: call init_process_group first")
    rank = dist.get_rank(group)
    if rank < 0:
        raise ValueError(f"rank {dist.get_rank()} is not in the process group")
    return rank


def _pack(u: Tensor, z: Tensor) -> Tensor:
    """u and z as one message: [B, H, Lh, Dh + 1], contiguous as collectives want it."""
    return torch.cat([u, z.unsqueeze(-1)], -1).contiguous()


def _pool(parts: Tensor) -> State:
    """State.merge of all packed states [N, B, H, Lh, Dh + 1] at once."""
    u, z = parts[..., :-1], parts[..., -1]
    return State((z.softmax(0).unsqueeze(-1) * u).sum(0), z.logsumexp(0))


class _Merge(torch.autograd.Function):
    """`merge`, with its derivative by hand.

    With share = exp(z_r - z), rank r's part of the whole: du_r = share du and
    dz_r = share ((u_r - u) . du + dz), where du and dz are summed over the ranks' copies. The
    difference is taken before it is weighted and summed, as in causal.py, and the summed
    "1" of the forward pass needs no derivative of its own.
    """

    @staticmethod
    def forward(
        ctx: Any, u: Tensor, z: Tensor, group: dist.ProcessGroup | None
    ) -> tuple[Tensor, Tensor]:
        top = z.clone(memory_format=torch.contiguous_format)
        dist.all_reduce(top, dist.ReduceOp.MAX, group=group)
        weight = (z - top).exp()
        total = _pack(weight.unsqueeze(-1) * u, weight)
        dist.all_reduce(total, group=group)
        norm = total[..., -1]
        merged = total[..., :-1] / norm.unsqueeze(-1)
        ctx.group = group
        ctx.save_for_backward(u, merged, weight / norm)
        return merged, top + norm.log()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, du: Tensor, dz: Tensor) -> tuple[Tensor, Tensor, None]:
        u, merged, share = ctx.saved_tensors
        asked = _pack(du, dz)
        dist.all_reduce(asked, group=ctx.group)
        du, dz = asked[..., :-1], asked[..., -1]
        return share.unsqueeze(-1) * du, share * (((u - merged) * du).sum(-1) + dz), None


# torch 2.14 renamed both and warns of the older names, which are all that 2.11 to 2.13 have.
_NEW = hasattr(dist, "all_gather_single")
ALL_GATHER = "all_gather_single" if _NEW else "all_gather_into_tensor"
REDUCE_SCATTER = "reduce_scatter_single" if _NEW else "reduce_scatter_tensor"


class _Gather(torch.autograd.Function):
    """All ranks' tensors [B, ..] as [ranks, B, ..]; backward, the sum of what all ask of one."""

    @staticmethod
    def forward(ctx: Any, own: Tensor, group: dist.ProcessGroup | None) -> Tensor:
        ctx.group = group
        ranks = dist.get_world_size(group)
        every = own.new_empty(ranks * own.shape[0], *own.shape[1:])
        getattr(dist, ALL_GATHER)(every, own, group=group)
        return every.unflatten(0, (ranks, -1))

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, asked: Tensor) -> tuple[Tensor, None]:
        own = torch.empty_like(asked[0])
        every = asked.flatten(0, 1).contiguous()
        getattr(dist, REDUCE_SCATTER)(own, every, group=ctx.group)
        return own, None
