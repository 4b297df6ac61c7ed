"""What every process of test_parallel.py computes; apart from it, for these processes import it."""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NamedTuple

import torch
import torch.distributed as dist
from torch import Tensor, nn

from encoders import latte
from encoders.latte import State, parallel

HEADS, LATENTS, WIDTH, DIM = 2, 4, 6, 12
PARTS = {1: (70,), 2: (65, 130), 4: (1, 65, 128, 6)}
"""Tokens of each rank, by the number of ranks."""

ONE_PROCESS = SimpleNamespace(
    merge=lambda state: state, bidirectional=latte.bidirectional, causal=latte.causal
)
"""What encoders.latte.parallel is where nothing is split."""

Results = dict[str, tuple[Tensor, ...]]


class Case(NamedTuple):
    """One computation; `end` names the ranks whose loss depends on the end state."""

    way: str
    pads: str = "no"
    scale: float = 1
    start: bool = False
    end: str = "all"
    dtype: torch.dtype = torch.float64

    def __str__(self) -> str:
        ends = f"end of {self.end}" if self.end != "all" else ""
        start = "initial state" if self.start else ""
        words = [self.way, f"{self.pads} pads", f"keys x{self.scale}", start, ends, str(self.dtype)]
        return ", ".join(word for word in words if word)


def _cases() -> Iterator[Case]:
    for scale in (1, 300):
        for pads in ("no", "scattered", "first part", "last part", "row"):
            for way in ("bidirectional", "merge", "causal"):
                yield Case(way, pads, scale)
            yield Case("causal", pads, scale, start=True)
        for pads in ("scattered", "row"):
            yield Case("two calls", pads, scale, start=True)
            yield Case("memory", pads, scale)
        for way in ("bidirectional", "causal"):
            yield Case(way, "scattered", scale, dtype=torch.float32)
    for end in ("none", "first", "last"):
        yield Case("causal", start=end == "first", end=end)
        yield Case("merge", end=end)
    for way in ("bidirectional", "causal"):
        yield Case(way, "scattered", dtype=torch.bfloat16)


CASES = list(_cases())


def inputs(case: Case, parts: tuple[int, ...]) -> tuple[dict[str, Tensor], Tensor]:
    """All ranks' q, k, v and mask of two segments [2, B, T, ..], an initial state, cotangents."""
    generator = torch.Generator().manual_seed(0)
    ranks, tokens = len(parts), (2, 2, sum(parts))

    def draw(*shape: int) -> Tensor:
        return torch.randn(shape, dtype=torch.float64, generator=generator)

    mask = torch.ones(tokens, dtype=torch.bool)
    if case.pads == "scattered":
        mask = torch.rand(tokens, generator=generator) < 0.7
    elif case.pads == "first part":
        mask[..., : parts[0]] = False
    elif case.pads == "last part":
        mask[..., -parts[-1] :] = False
    elif case.pads == "row":
        mask[:, 1] = False
    state = (2, HEADS, LATENTS)
    leaves = {
        "q": draw(*tokens, HEADS, LATENTS),
        "k": draw(*tokens, HEADS, LATENTS) * case.scale,
        "v": draw(*tokens, HEADS, WIDTH),
        "u": draw(*state, WIDTH),
        "z": draw(*state) * case.scale,
        "dy": draw(*tokens, HEADS, WIDTH),
        "du": draw(ranks, *state, WIDTH),
        "dz": draw(ranks, *state),
    }
    return {name: tensor.to(case.dtype) for name, tensor in leaves.items()}, mask


def outputs(
    case: Case, operators: Any, leaves: dict[str, Tensor], mask: Tensor
) -> tuple[Tensor, State | None]:
    """y of the segments that the case has [1 or 2, B, T, H, Dh], and the end state."""
    first, second = zip(*(leaves[name] for name in "qkv"), mask, strict=True)
    start = State(leaves["u"], leaves["z"]) if case.start else None
    if case.way == "bidirectional":
        return operators.bidirectional(*first).unsqueeze(0), None
    if case.way in ("merge", "memory"):
        end = operators.merge(State.of(*first[1:]))
        before = end.read(first[0])
    else:
        before, end = operators.causal(*first, start)
    if case.way in ("merge", "causal"):
        return before.unsqueeze(0), end
    after, end = operators.causal(*second, end)
    return torch.stack([before, after]), end


def results(
    case: Case, operators: Any, leaves: dict[str, Tensor], mask: Tensor, asking: list[int]
) -> tuple[Tensor, ...]:
    """y, the end state, and the gradients of q, k, v and of the initial state.

    `asking` are the ranks whose cotangents of the end state count in this process.
    """
    names = ["q", "k", "v", *["u", "z"] * case.start]
    for name in names:
        leaves[name] = leaves[name].detach().clone().requires_grad_()
    y, end = outputs(case, operators, leaves, mask)
    loss = (y * leaves["dy"][: len(y)]).sum()
    if end is not None and asking:
        loss = loss + (end.u * leaves["du"][asking].sum(0)).sum()
        loss = loss + (end.z * leaves["dz"][asking].sum(0)).sum()
    grads = torch.autograd.grad(loss, [leaves[name] for name in names])
    return tuple(tensor.detach() for tensor in (y, *(end or ()), *grads))


def asking(case: Case, ranks: int) -> list[int]:
    """The ranks whose loss depends on the end state."""
    return {"all": [*range(ranks)], "none": [], "first": [0], "last": [ranks - 1]}[case.end]


def cut(tensor: Tensor, parts: tuple[int, ...], rank: int, axis: int) -> Tensor:
    """A rank's part of the tokens."""
    return tensor.split(parts, axis)[rank]


def part(case: Case, parts: tuple[int, ...], rank: int) -> tuple[Tensor, ...]:
    """The results of one rank."""
    leaves, mask = inputs(case, parts)
    leaves |= {name: cut(leaves[name], parts, rank, 2) for name in ("q", "k", "v", "dy")}
    own = [rank] if rank in asking(case, len(parts)) else []
    return results(case, parallel, leaves, cut(mask, parts, rank, 2), own)


class Layer(nn.Module):
    """A pre-norm block; only what `operators` do reads other tokens."""

    def __init__(self, causal: bool) -> None:
        super().__init__()
        self.causal = causal
        self.norm = nn.LayerNorm(DIM)
        self.project = nn.Linear(DIM, HEADS * (2 * LATENTS + WIDTH), bias=False)
        self.out = nn.Linear(HEADS * WIDTH, DIM, bias=False)
        self.mlp = nn.Sequential(
            nn.LayerNorm(DIM), nn.Linear(DIM, 24), nn.GELU(), nn.Linear(24, DIM)
        )

    def forward(self, x: Tensor, mask: Tensor, operators: Any) -> Tensor:
        heads = self.project(self.norm(x)).unflatten(-1, (HEADS, -1))
        q, k, v = heads.split([LATENTS, LATENTS, WIDTH], -1)
        if self.causal:
            y, _ = operators.causal(q, k, v, mask)
        else:
            y = operators.bidirectional(q, k, v, mask)
        x = x + self.out(y.flatten(-2))
        mixed: Tensor = x + self.mlp(x)
        return mixed


def stack(causal: bool, parts: tuple[int, ...], rank: int | None = None) -> tuple[Tensor, ...]:
    """Output and gradients (input, then parameters) of two layers, of a rank's part or whole."""
    torch.manual_seed(0)
    layers = nn.ModuleList([Layer(causal), Layer(causal)]).double()
    x, dy = torch.randn(2, 2, sum(parts), DIM, dtype=torch.float64)
    mask = torch.rand(2, sum(parts)) < 0.7
    if rank is not None:
        x, dy, mask = (cut(tensor, parts, rank, 1) for tensor in (x, dy, mask))
    x = x.clone().requires_grad_()
    y = x
    for layer in layers:
        y = layer(y, mask, ONE_PROCESS if rank is None else parallel)
    return y.detach(), *torch.autograd.grad((y * dy).sum(), [x, *layers.parameters()])


@contextmanager
def traffic() -> Iterator[list[Tensor]]:
    """What this process hands to collectives."""
    sent: list[Tensor] = []
    names = ("all_reduce", parallel.ALL_GATHER, parallel.REDUCE_SCATTER)
    plain = {name: getattr(dist, name) for name in names}

    def all_reduce(tensor: Tensor, *args: Any, **words: Any) -> None:
        sent.append(tensor.clone())
        plain["all_reduce"](tensor, *args, **words)

    def all_gather(every: Tensor, own: Tensor, **words: Any) -> None:
        sent.append(own)
        plain[parallel.ALL_GATHER](every, own, **words)

    def reduce_scatter(own: Tensor, every: Tensor, **words: Any) -> None:
        sent.append(every)
        plain[parallel.REDUCE_SCATTER](own, every, **words)

    for name, double in zip(names, (all_reduce, all_gather, reduce_scatter), strict=True):
        setattr(dist, name, double)
    try:
        yield sent
    finally:
        for name, function in plain.items():
            setattr(dist, name, function)


def messages(way: str, tokens: int) -> Tensor:
    """Bytes of each message of a layer with L = 256, 8 heads of 64, float32; there and back."""
    q, k = torch.randn(2, 1, tokens, 8, 32)
    v = torch.randn(1, tokens, 8, 64)
    leaves = [x.requires_grad_() for x in (q, k, v)]
    with traffic() as sent:
        y = getattr(parallel, way)(*leaves)
        (y if way == "bidirectional" else y[0]).sum().backward()
    return torch.tensor([message.nbytes for message in sent])


def pairs(rank: int) -> tuple[Tensor, ...]:
    """Four ranks as two groups, {0, 2} and {1, 3}: the results of a rank within its group."""
    groups: list[Any] = [dist.new_group([0, 2]), dist.new_group([1, 3])]
    own, other = groups[rank % 2], groups[1 - rank % 2]
    leaves, mask = inputs(Case("causal"), PARTS[2])
    q, k, v = (cut(leaves[name][rank % 2], PARTS[2], rank // 2, 1) for name in "qkv")
    try:
        parallel.causal(q, k, v, group=other)
    except ValueError as error:
        assert str(error) == f"rank {rank} is not in the process group"
    else:
        raise AssertionError("a foreign group was taken")
    y, end = parallel.causal(q, k, v, group=own)
    return y, *end, parallel.bidirectional(q, k, v, group=own)


def run(rank: int, ranks: int, folder: Path) -> None:
    """All results of one rank, saved as `folder`/`rank`.pt."""
    warnings.simplefilter("error")
    torch.set_num_threads(1)
    parts = PARTS[ranks]
    dist.init_process_group(
        "gloo",
        init_method=f"file://{folder}/rendezvous",
        rank=rank,
        world_size=ranks,
        timeout=timedelta(seconds=60),  # a rank that waits in vain fails the test
    )
    done: Results = {str(case): part(case, parts, rank) for case in CASES}
    for causal in (False, True):
        done[f"stack, {causal}"] = stack(causal, parts, rank)
    for way in ("bidirectional", "causal"):
        done[f"messages, {way}"] = messages(way, 3 + rank), messages(way, 100)
    if ranks == 4:
        done["pairs"] = pairs(rank)
    torch.save(done, folder / f"{rank}.pt")
    dist.destroy_process_group()
