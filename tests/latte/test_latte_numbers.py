"""Dtypes, autocast, extreme logits and bad shapes."""

import pytest
import torch
from torch import Tensor

from encoders.latte import State, bidirectional, causal, naive, step

close = torch.testing.assert_close


def outputs(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    return causal(q, k, v)[0]


def stepped(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """The last token as a step after all the others."""
    return step(q[:, -1], k[:, -1], v[:, -1], State.of(k[:, :-1], v[:, :-1]))[0]


def prefixed(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    return causal(q[:, 50:], k[:, 50:], v[:, 50:], state=State.of(k[:, :50], v[:, :50]))[0]


OPERATORS = (bidirectional, outputs, stepped, prefixed)
operators = pytest.mark.parametrize("operator", OPERATORS)


@operators
@pytest.mark.parametrize("dtype", (torch.bfloat16, torch.float16))
def test_half_precision_is_close_to_single(draw, gradients, operator, dtype: torch.dtype) -> None:
    rounded = [tensor.to(dtype) for tensor in draw(150)]
    expected = gradients(operator, [tensor.float() for tensor in rounded])
    got = gradients(operator, rounded)
    for one, other in zip(got, expected, strict=True):
        assert one.dtype == dtype
        close(one.float(), other, rtol=0.03, atol=0.01)


def test_long_float16_does_not_underflow() -> None:
    # Equal weights 1/T are subnormal in float16.
    flat = torch.zeros(1, 110_000, 1, 2, dtype=torch.float16)
    ones = torch.ones(1, 110_000, 1, 2, dtype=torch.float16)
    for y in (bidirectional(flat, flat, ones), outputs(flat, flat, ones)):
        close(y, ones, rtol=0, atol=1e-3)


@operators
def test_autocast_does_not_touch_float32(draw, gradients, operator) -> None:
    def under_autocast(*inputs: Tensor) -> Tensor:
        with torch.autocast("cpu", torch.bfloat16):
            return operator(*inputs)

    inputs = [tensor.float() for tensor in draw(150)]
    expected = gradients(operator, inputs)
    for one, other in zip(gradients(under_autocast, inputs), expected, strict=True):
        assert one.dtype == torch.float32
        close(one, other, rtol=0, atol=0)


def test_autocast_does_not_touch_the_hand_written_backward(draw, gradients) -> None:
    inputs = [tensor.float() for tensor in draw(150)]
    expected = gradients(outputs, inputs)
    with torch.autocast("cpu", torch.bfloat16):
        got = gradients(outputs, inputs)
    for one, other in zip(got, expected, strict=True):
        close(one, other, rtol=0, atol=0)


def test_a_state_read_under_autocast_is_single(draw) -> None:
    q, k, v = (tensor.float() for tensor in draw(20))
    expected = State.of(k, v).read(q)
    with torch.autocast("cpu", torch.bfloat16):
        close(State.of(k, v).read(q), expected, rtol=0, atol=0)


@pytest.mark.parametrize(
    ("dtype", "wide"),
    (
        (torch.float64, torch.float64),
        (torch.float32, torch.float32),
        (torch.bfloat16, torch.float32),
        (torch.float16, torch.float32),
    ),
)
def test_states_are_single_or_double(draw, dtype: torch.dtype, wide: torch.dtype) -> None:
    q, k, v = (tensor.to(dtype) for tensor in draw(9))
    states = State.of(k, v), causal(q, k, v)[1], step(q[:, 0], k[:, 0], v[:, 0])[1]
    for state in (*states, states[0].merge(states[1])):
        assert state.u.dtype == state.z.dtype == wide
    assert states[0].read(q).dtype == dtype


@operators
@pytest.mark.parametrize("dtype", (torch.float32, torch.bfloat16, torch.float16))
@pytest.mark.parametrize("course", ("rising", "falling", "spikes", "noise"))
def test_logits_of_a_thousand_are_finite(
    draw, gradients, operator, course: str, dtype: torch.dtype
) -> None:
    q, k, v = draw(200)
    ramp = torch.linspace(-1000, 1000, 200, dtype=k.dtype)[:, None, None]
    spikes = torch.where(torch.arange(200) % 67 == 3, 1000.0, -1000.0)[:, None, None]
    k = {"rising": k + ramp, "falling": k - ramp, "spikes": k + spikes, "noise": 400 * k}[course]
    inputs = [tensor.to(dtype) for tensor in (300 * q, k, v)]
    y, *grads = gradients(operator, inputs)
    assert all(tensor.isfinite().all() for tensor in (y, *grads))
    expected = gradients(operator, [tensor.double() for tensor in inputs])[0]
    close(y.double(), expected, rtol=0.01, atol=1e-3 if dtype == torch.float32 else 0.02)


def test_single_precision_keeps_its_digits_over_many_tokens() -> None:
    generator = torch.Generator().manual_seed(0)
    q, k, v = (torch.randn(1, 20_000, 1, 4, generator=generator) for _ in range(3))
    close(outputs(q, k, v), outputs(q.double(), k.double(), v.double()).float(), rtol=0, atol=5e-6)
    ones = torch.ones_like(v)
    close(outputs(q, k, ones), ones, rtol=0, atol=2e-5)


def test_inputs_may_be_strided_views(draw) -> None:
    q, k, v = draw(70)
    views = [x.transpose(1, 2).contiguous().transpose(1, 2) for x in (q, k, v)]
    for operator, judge in ((bidirectional, naive.bidirectional), (outputs, naive.causal)):
        close(operator(*views), judge(q, k, v), rtol=0, atol=1e-12)


@pytest.mark.parametrize(
    ("shapes", "message"),
    (
        (((2, 5, 2, 4), (2, 5, 2, 3), (2, 5, 2, 6)), r"k \[2, 5, 2, 3\]"),
        (((2, 5, 2, 4), (2, 5, 2, 4), (2, 4, 2, 6)), r"v \[2, 4, 2, 6\]"),
        (((5, 2, 4), (5, 2, 4), (5, 2, 6)), r"q \[5, 2, 4\]"),
        (((2, 0, 2, 4), (2, 0, 2, 4), (2, 0, 2, 6)), "at least one token"),
    ),
)
def test_wrong_shapes_are_named(shapes, message: str) -> None:
    q, k, v = (torch.zeros(shape) for shape in shapes)
    for operator in (bidirectional, causal):
        with pytest.raises(ValueError, match=message):
            operator(q, k, v)


@pytest.mark.parametrize(
    ("mask", "message"),
    (
        (torch.ones(2, 5), r"torch.float32 \[2, 5\]"),
        (torch.ones(2, 4, dtype=torch.bool), r"torch.bool \[2, 4\]"),
    ),
)
def test_wrong_masks_are_named(draw, mask: Tensor, message: str) -> None:
    q, k, v = draw(5)
    for call in (
        lambda: bidirectional(q, k, v, mask),
        lambda: causal(q, k, v, mask),
        lambda: State.of(k, v, mask),
        lambda: step(q[:, 0], k[:, 0], v[:, 0], mask=mask),
    ):
        with pytest.raises(ValueError, match=message):
            call()


def test_wrong_states_and_steps_are_named(draw) -> None:
    q, k, v = draw(5)
    other = State.empty(3, 2, 4, 6)
    for call in (
        lambda: causal(q, k, v, state=other),
        lambda: step(q[:, 0], k[:, 0], v[:, 0], other),
        lambda: other.read(q),
        lambda: other.merge(State.of(k, v)),
    ):
        with pytest.raises(ValueError, match=r"u \[3, 2, 4, 6\], z \[3, 2, 4\]"):
            call()
    with pytest.raises(ValueError, match=r"v \[2, 3, 6\]"):
        step(q[:, 0], k[:, 0], v[:, 0].repeat(1, 2, 1)[:, :3])
