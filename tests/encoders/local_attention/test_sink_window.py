"""sink_window against one softmax over a written-out T x T mask."""

from collections.abc import Callable
from typing import NamedTuple

import pytest
import torch
from torch import Tensor

from encoders.local_attention import sink_window as module
from encoders.local_attention.sink_window import SinkWindowState, sink_window

LENGTHS = (1, 63, 64, 65, 257, 500)
WINDOWS = (1, 7, 64, 100)
SINKS = (0, 1, 4)
HEADS, KV_HEADS, WIDTH = 4, 2, 4
close = torch.testing.assert_close


class Inputs(NamedTuple):
    q: Tensor
    q_sink: Tensor
    k: Tensor
    k_sink: Tensor
    v: Tensor

    def map(self, change: Callable[[Tensor], Tensor]) -> "Inputs":
        return Inputs(*map(change, self))


def draw(length: int, batch: int = 2, kv_heads: int = KV_HEADS, scale: float = 2.0) -> Inputs:
    """Inputs `[B, T, heads, Dh]`; every token has a key as a sink."""
    generator = torch.Generator().manual_seed(length)

    def normal(heads: int) -> Tensor:
        return torch.randn(batch, length, heads, WIDTH, generator=generator)

    q, q_sink = scale * normal(HEADS), scale * normal(HEADS)
    return Inputs(q, q_sink, normal(kv_heads), normal(kv_heads), normal(kv_heads))


def judge(inputs: Inputs, window: int, sinks: int, scale: float | None = None) -> Tensor:
    """Softmax over the scores of window and sinks, in float64."""
    q, q_sink, k, k_sink, v = inputs.map(Tensor.double)
    k, k_sink, v = (t.repeat_interleave(q.shape[2] // t.shape[2], 2) for t in (k, k_sink, v))
    place = torch.arange(q.shape[1])
    distance, is_sink = place[:, None] - place, place < sinks
    scores = torch.where(
        is_sink,
        torch.einsum("bthd,bshd->bhts", q_sink, k_sink),
        torch.einsum("bthd,bshd->bhts", q, k),
    )
    scores = scores * (WIDTH**-0.5 if scale is None else scale)
    allowed = (distance >= 0) & (is_sink | (distance < window))
    weights = scores.masked_fill(~allowed, -torch.inf).softmax(-1)
    return torch.einsum("bhts,bshd->bthd", weights, v)


def run(
    inputs: Inputs,
    window: int,
    sinks: int,
    state: SinkWindowState | None = None,
    real: Tensor | None = None,
    scale: float | None = None,
) -> tuple[Tensor, SinkWindowState]:
    state = SinkWindowState.empty(inputs.k, sinks) if state is None else state
    q, q_sink, k, k_sink, v = inputs
    return sink_window(q, q_sink, k, k_sink[:, :sinks], v, state, window, real, scale)


def results(operator: Callable[[Inputs], Tensor], inputs: Inputs) -> list[Tensor]:
    """Outputs and gradients of one fixed combination of them; zeros for unused inputs."""
    leaves = inputs.map(lambda x: x.detach().clone().requires_grad_())
    y = operator(leaves)
    cotangent = torch.randn(y.shape, generator=torch.Generator().manual_seed(1)).to(y.dtype)
    grads = torch.autograd.grad(y, list(leaves), cotangent, allow_unused=True)
    pairs = zip(leaves, grads, strict=True)
    return [y, *(torch.zeros_like(x) if grad is None else grad for x, grad in pairs)]


def agree(
    operator: Callable[[Inputs], Tensor], other: Callable[[Inputs], Tensor], inputs: Inputs
) -> None:
    for got, expected in zip(results(operator, inputs), results(other, inputs), strict=True):
        close(got, expected.to(got.dtype), rtol=1e-4, atol=2e-5)


@pytest.mark.parametrize("sinks", SINKS)
@pytest.mark.parametrize("window", WINDOWS)
@pytest.mark.parametrize("length", LENGTHS)
def test_sink_window_equals_dense_softmax(length: int, window: int, sinks: int) -> None:
    agree(
        lambda inputs: run(inputs, window, sinks)[0],
        lambda inputs: judge(inputs, window, sinks),
        draw(length, batch=2 if length < 100 else 1),
    )


@pytest.mark.parametrize("kv_heads", (1, 4))
def test_sink_window_groups_heads(kv_heads: int) -> None:
    agree(
        lambda inputs: run(inputs, 7, 3, scale=0.9)[0],
        lambda inputs: judge(inputs, 7, 3, scale=0.9),
        draw(70, kv_heads=kv_heads),
    )


def in_chunks(inputs: Inputs, cuts: list[int], window: int, sinks: int) -> Tensor:
    state, outputs = None, []
    for start, end in zip([0, *cuts], [*cuts, inputs.q.shape[1]], strict=True):
        y, state = run(inputs.map(lambda x, a=start, b=end: x[:, a:b]), window, sinks, state)
        outputs.append(y)
    return torch.cat(outputs, 1)


@pytest.mark.parametrize("sinks", SINKS)
@pytest.mark.parametrize("window", WINDOWS)
@pytest.mark.parametrize(
    "cuts", ([1], [3], [64], [130], [199], [1, 2, 3, 70, 71, 198]), ids=lambda cuts: str(cuts)
)
def test_sink_window_in_chunks_equals_whole(cuts: list[int], window: int, sinks: int) -> None:
    agree(
        lambda inputs: in_chunks(inputs, cuts, window, sinks),
        lambda inputs: run(inputs, window, sinks)[0],
        draw(200),
    )


@pytest.mark.parametrize(("window", "sinks"), ((1, 0), (1, 4), (7, 1), (64, 4)))
def test_sink_window_step_by_step_equals_whole(window: int, sinks: int) -> None:
    inputs = draw(90)
    expected, end = run(inputs, window, sinks)
    close(in_chunks(inputs, list(range(1, 90)), window, sinks), expected, rtol=1e-4, atol=1e-5)
    assert end.length.tolist() == [90, 90]
    assert end.keys.shape[1] == min(window - 1, 90) and end.sink_keys.shape[1] == sinks


@pytest.mark.parametrize(("window", "sinks"), ((1, 2), (7, 0), (7, 4), (100, 4)))
@pytest.mark.parametrize("split", (2, 5, 64, 110))
def test_sink_window_right_padding_equals_single_rows(window: int, sinks: int, split: int) -> None:
    """Rows of 120, 65, 3 and 0 tokens, in two chunks that are padded each."""
    inputs, lengths = draw(120, batch=4), torch.tensor([120, 65, 3, 0])
    outputs, state = [], None
    for start, end in ((0, split), (split, 120)):
        real = torch.arange(start, end) < lengths[:, None]
        chunk = inputs.map(lambda x, a=start, b=end: x[:, a:b])
        y, state = run(chunk, window, sinks, state, real)
        outputs.append(y)
    y = torch.cat(outputs, 1)
    assert state is not None and state.length.tolist() == lengths.tolist()
    assert y.isfinite().all()
    for row, length in enumerate(lengths.tolist()[:3]):
        alone = inputs.map(lambda x, r=row, n=length: x[r : r + 1, :n])
        close(y[row : row + 1, :length], judge(alone, window, sinks).float(), rtol=1e-4, atol=1e-5)


def test_sink_window_ignores_the_content_of_padding() -> None:
    inputs, real = draw(70), torch.arange(70) < torch.tensor([[70], [9]])
    other = inputs.map(lambda x: torch.where(real[:, :, None, None], x, 1e4))
    first, second = (run(each, 7, 2, real=real) for each in (inputs, other))
    assert first[0][real].equal(second[0][real])
    follow = draw(5)
    assert run(follow, 7, 2, first[1])[0].equal(run(follow, 7, 2, second[1])[0])


@pytest.mark.parametrize("sinks", (0, 4))
@pytest.mark.parametrize("length", (1, 70))
def test_sink_window_row_of_padding_is_finite(length: int, sinks: int) -> None:
    real = torch.tensor([[True], [False]]).expand(2, length)
    for tensor in results(lambda inputs: run(inputs, 7, sinks, real=real)[0], draw(length)):
        assert tensor.isfinite().all()


@pytest.mark.parametrize("dtype", (torch.float32, torch.bfloat16))
@pytest.mark.parametrize("sign", (1, -1))
def test_sink_window_large_logits_are_finite(sign: int, dtype: torch.dtype) -> None:
    """Logits from -1000 to 1000: a softmax that is all but one-hot."""
    inputs = draw(130).map(torch.ones_like)
    size = torch.linspace(-1000, 1000, 130)[:, None, None]
    inputs = inputs._replace(
        k=sign * inputs.k * size, k_sink=sign * inputs.k_sink * size, v=draw(130).v
    ).map(lambda x: x.to(dtype))
    got = results(lambda inputs: run(inputs, 30, 4, scale=0.25)[0], inputs)
    assert all(tensor.isfinite().all() for tensor in got)
    tolerance = 1e-4 if dtype == torch.float32 else 2e-2
    close(got[0].double(), judge(inputs, 30, 4, 0.25), rtol=0, atol=tolerance)


def test_sink_window_without_gradients_splits_and_agrees(monkeypatch: pytest.MonkeyPatch) -> None:
    inputs = draw(500)
    expected = run(inputs, 30, 4)[0]
    monkeypatch.setattr(module, "SCORES", 1)
    with torch.no_grad():
        close(run(inputs, 30, 4)[0], expected, rtol=0, atol=1e-5)


def test_sink_window_state_holds_no_long_sequence() -> None:
    _, state = run(draw(300), 7, 2)
    sizes = {name: tuple(part.shape) for name, part in state._asdict().items()}
    assert sizes["keys"] == sizes["values"] == (2, 6, KV_HEADS, WIDTH)
    assert sizes["sink_keys"] == sizes["sink_values"] == (2, 2, KV_HEADS, WIDTH)
    assert state.filled.all()


@pytest.mark.parametrize(
    ("name", "shape"),
    (
        ("q", (2, 9, 4)),
        ("q_sink", (2, 9, 2, 4)),
        ("v", (2, 9, 1, 4)),
        ("q", (2, 8, 4, 4)),
        ("q", (2, 9, 3, 4)),
        ("q", (2, 9, 4, 8)),
    ),
)
def test_sink_window_refuses_shapes_that_disagree(name: str, shape: tuple[int, ...]) -> None:
    inputs = draw(9)._replace(**{name: torch.zeros(shape)})
    if name == "q" and len(shape) == 4:
        inputs = inputs._replace(q_sink=inputs.q)
    with pytest.raises(ValueError, match="k, v alike"):
        run(inputs, 5, 2)


@pytest.mark.parametrize("kind", ("left", "middle"))
def test_sink_window_refuses_padding_before_real_tokens(kind: str) -> None:
    real = torch.ones(2, 9, dtype=torch.bool)
    real[0, 0 if kind == "left" else 4] = False
    with pytest.raises(ValueError, match="padding must stand on the right"):
        run(draw(9), 5, 2, real=real)
