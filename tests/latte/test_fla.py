"""Causal Latte as gated linear attention, with a stand-in for fla's kernels where there is no GPU.

The stand-in sums log gates over chunks and subtracts the sums, as the kernels do.
"""

import inspect
import sys
from importlib import import_module
from importlib.util import find_spec
from types import SimpleNamespace

import pytest
import torch
from scans import agree, flat, judge
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode

from encoders.latte import State, fla, naive
from encoders.latte.state import EMPTY


def stand_in(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    g: Tensor,
    scale: float,
    initial_state: Tensor,
    output_final_state: bool,
) -> tuple[Tensor, Tensor]:
    """fla.ops.gla.chunk_gla in torch, in float32."""
    assert output_final_state and q.shape == k.shape == g.shape and q.dtype == k.dtype == v.dtype
    assert initial_state.dtype == g.dtype == torch.float32
    state, ys = initial_state, []
    for some in zip(*(x.transpose(1, 2).float().split(64, 2) for x in (q, k, v, g)), strict=True):
        reads, keys, values, gates = some
        sums = gates.cumsum(2)
        past = torch.ones(sums.shape[2], sums.shape[2], dtype=torch.bool).tril()[..., None]
        pairs = (sums.unsqueeze(3) - sums.unsqueeze(2)).masked_fill(~past, -torch.inf).exp()
        weights = torch.einsum("bhtl,bhsl,bhtsl->bhts", reads, keys, pairs)
        ys.append(scale * (weights @ values + (reads * sums.exp()) @ state))
        taken = (keys * (sums[:, :, -1:] - sums).exp()).transpose(-1, -2) @ values
        state = sums[:, :, -1].exp().unsqueeze(-1) * state + taken
    return torch.cat(ys, 2).transpose(1, 2).to(v.dtype), state


@pytest.fixture(autouse=True)
def kernels(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "fla.ops.gla", SimpleNamespace(chunk_gla=stand_in))


def scan(q: Tensor, k: Tensor, v: Tensor, u: Tensor, z: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    y, end = fla.scan(q.softmax(-1), k, v, State(u, z))
    return y, end.u, end.z


def tokens(length: int, scale: float = 1.0) -> list[Tensor]:
    """q, k, v and an initial u and z in float32: B 2, H 2, Lh 4, Dh 6."""
    generator = torch.Generator().manual_seed(length)
    shapes = *((2, length, 2, width) for width in (4, 4, 6)), (2, 2, 4, 6), (2, 2, 4)
    drawn = [torch.randn(shape, generator=generator) for shape in shapes]
    drawn[1] *= scale
    drawn[4] *= scale
    return drawn


@pytest.mark.parametrize("scale", (1, 10))
@pytest.mark.parametrize("length", (1, 63, 64, 65, 130))
def test_it_is_the_formulas(length: int, scale: float) -> None:
    inputs = tokens(length, scale)
    expected = flat(judge, [x.double() for x in inputs])
    agree(flat(scan, inputs), expected, 2e-5)


def test_from_an_empty_state_it_is_naive() -> None:
    q, k, v, *_ = tokens(70, 3)
    empty = State.empty(2, 2, 4, 6)
    got = flat(lambda q, k, v: scan(q, k, v, *empty), [q, k, v])
    double = [x.double() for x in (q, k, v)]
    expected = flat(lambda q, k, v: (naive.causal(q, k, v), *State.of(k, v)), double)
    agree(got, expected, 1e-5)


def rising() -> list[Tensor]:
    """Keys that rise by 400 within a chunk, and fall again."""
    q, k, v, u, z = tokens(100)
    return [q, k + 400 * (1 - torch.linspace(-1, 1, 100).abs())[:, None, None], v, u, z]


@pytest.mark.parametrize("inputs", (tokens(100, 1000), rising()), ids=("random", "rising"))
def test_extreme_logits(inputs: list[Tensor]) -> None:
    # Logits of 1000 are only good to 6e-5, and their gradients add some of them up.
    agree(flat(scan, inputs), flat(judge, [x.double() for x in inputs]), 5e-3)


def test_pads() -> None:
    mask = torch.ones(4, 70, dtype=torch.bool)
    mask[0, :30], mask[1, 20:50], mask[2, 40:], mask[3] = False, False, False, False
    q, k, v = (x.repeat(2, 1, 1, 1) for x in tokens(70, 3)[:3])

    def masked(q: Tensor, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        hidden = ~mask[..., None, None]
        logits, values = k.masked_fill(hidden, EMPTY), v.masked_fill(hidden, 0)
        y, u, z = scan(q, logits, values, *State.empty(4, 2, 4, 6))
        assert (z[3] == EMPTY).all()
        return y, u, z[:3]

    def formulas(q: Tensor, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        state = State.of(k, v, mask)
        return naive.causal(q, k, v, mask), state.u, state.z[:3]

    got = flat(masked, [q, k, v])
    double = [x.double() for x in (q, k, v)]
    expected = flat(formulas, double)
    agree(got, expected, 1e-5)


def test_half_precision_is_close_to_single() -> None:
    inputs = tokens(100)
    expected = flat(scan, inputs)
    for dtype in (torch.bfloat16, torch.float16):
        q, k, v, u, z = inputs
        got = flat(scan, [q, k, v.to(dtype), u, z])
        assert [x.dtype for x in got[:3]] == [dtype, torch.float32, torch.float32]
        agree(got, expected, 0.02)


def test_only_half_precision_on_a_gpu_is_available(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fla, "_installed", lambda: True)
    half = torch.zeros(1, dtype=torch.bfloat16)
    with FakeTensorMode(allow_non_fake_inputs=True):
        on_gpu = torch.zeros(1, dtype=torch.bfloat16, device="cuda")
        assert fla.available(on_gpu) and fla.available(on_gpu.half())
        assert not fla.available(on_gpu.float()) and not fla.available(half)
        monkeypatch.setattr(fla, "_installed", lambda: False)
        assert not fla.available(on_gpu)


@pytest.mark.skipif(find_spec("fla") is None, reason="flash-linear-attention is not installed")
@pytest.mark.filterwarnings("ignore")  # it warns where there is no GPU
def test_the_kernels_take_these_arguments(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    kernel = import_module("fla.ops.gla").chunk_gla
    ours, theirs = (inspect.signature(f).parameters for f in (stand_in, kernel))
    assert set(ours) <= set(theirs)


@pytest.mark.skipif(
    not torch.cuda.is_available() or find_spec("fla") is None, reason="no GPU with fla"
)
def test_the_kernels_are_the_stand_in(monkeypatch: pytest.MonkeyPatch) -> None:
    half = [x.cuda().bfloat16() if i == 2 else x.cuda() for i, x in enumerate(tokens(130))]
    expected = flat(scan, [x.cpu() for x in half])
    monkeypatch.undo()
    agree([x.cpu() for x in flat(scan, half)], expected, 0.02)
