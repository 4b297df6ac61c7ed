"""What is masked contributes nothing, wherever it stands and whatever it holds."""

import pytest
import torch
from torch import Tensor

from encoders.latte import State, bidirectional, causal, naive, step

close = torch.testing.assert_close
REAL, PADS = 70, 30
PLACES = {
    "left": [False] * PADS + [True] * REAL,
    "right": [True] * REAL + [False] * PADS,
    "middle": [True] * 33 + [False] * PADS + [True] * (REAL - 33),
    "scattered": [place % 10 not in (0, 4, 5) for place in range(REAL + PADS)],
}
places = pytest.mark.parametrize("place", PLACES)
pad_logit = pytest.mark.parametrize("logit", (0.0, 1000.0, -1000.0))


def padded(tensor: Tensor, real: Tensor, fill: float) -> Tensor:
    """The tokens of `tensor` at the real places, `fill` elsewhere."""
    wide = tensor.new_full((tensor.shape[0], len(real), *tensor.shape[2:]), fill)
    wide[:, real] = tensor
    return wide


def masked(operator, place: str, logit: float):
    """The operator over the padded sequence, its results at the real places."""
    real = torch.tensor(PLACES[place])

    def run(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        mask = real.expand(q.shape[0], -1)
        inputs = padded(q, real, 7.0), padded(k, real, logit), padded(v, real, 1e4)
        y = operator(*inputs, mask)
        return y[:, real]

    return run


def outputs(q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None = None) -> Tensor:
    return causal(q, k, v, mask)[0]


@places
@pad_logit
@pytest.mark.parametrize("operator", (bidirectional, outputs, naive.bidirectional, naive.causal))
def test_padded_is_unpadded(draw, gradients, operator, place: str, logit: float) -> None:
    inputs = draw(REAL, 3)
    got = gradients(masked(operator, place, logit), inputs)
    for one, other in zip(got, gradients(operator, inputs), strict=True):
        close(one, other, rtol=0, atol=1e-11)


@places
@pad_logit
def test_states_skip_pads(draw, place: str, logit: float) -> None:
    q, k, v = draw(REAL, 3)
    real = torch.tensor(PLACES[place])
    mask = real.expand(2, -1)
    wide = padded(k, real, logit), padded(v, real, 1e4)
    expected = State.of(k, v)
    close(State.of(*wide, mask), expected, rtol=1e-12, atol=1e-12)
    close(causal(padded(q, real, 0.0), *wide, mask)[1], expected, rtol=1e-12, atol=1e-12)


def test_a_mixed_batch_is_its_rows(draw) -> None:
    q, k, v = draw(66, batch=4)
    mask = torch.arange(66) < torch.tensor([66, 1, 0, 30])[:, None]
    for operator in (bidirectional, outputs):
        together = operator(q, k, v, mask)
        for row, length in ((0, 66), (1, 1), (3, 30)):
            alone = operator(*(x[row : row + 1, :length] for x in (q, k, v)))
            close(together[row : row + 1, :length], alone, rtol=0, atol=1e-13)


def test_pads_of_bidirectional_still_read(draw) -> None:
    q, k, v = draw(20)
    mask = (torch.arange(20) < 12).expand(2, -1)
    expected = bidirectional(q[:, -1:].expand(-1, 12, -1, -1), k[:, :12], v[:, :12])[:, :1]
    close(bidirectional(q, k, v, mask)[:, -1:], expected, rtol=0, atol=1e-14)
    close(bidirectional(q, k, v, mask), naive.bidirectional(q, k, v, mask), rtol=0, atol=1e-13)


@pytest.mark.parametrize("dtype", (torch.float64, torch.float32, torch.bfloat16, torch.float16))
@pytest.mark.parametrize("operator", (bidirectional, outputs))
@pytest.mark.parametrize("tokens", (1, 70))
def test_a_row_of_pads_is_zero(draw, gradients, operator, tokens: int, dtype: torch.dtype) -> None:
    mask = torch.tensor([True, False])[:, None].expand(2, tokens)
    inputs = [tensor.to(dtype) for tensor in draw(tokens, 100)]
    got = gradients(lambda q, k, v: operator(q, k, v, mask), inputs)
    for tensor in got:
        assert tensor.isfinite().all()
        assert not tensor[1].any()
    assert got[0][0].any()
    assert got[3][0].any()


def test_a_row_of_pads_leaves_a_state_empty_and_a_prefix_alone(draw) -> None:
    q, k, v = draw(70)
    mask = torch.zeros(2, 70, dtype=torch.bool)
    empty = State.empty(2, 2, 4, 6, dtype=torch.float64)
    close(State.of(k, v, mask), empty, rtol=0, atol=0)
    close(causal(q, k, v, mask)[1], empty, rtol=0, atol=0)
    prefix = State.of(*draw(9)[1:])
    y, end = causal(q, k, v, mask, prefix)
    close(end, prefix, rtol=0, atol=1e-14)
    close(y, prefix.read(q), rtol=0, atol=1e-13)


def test_gradients_pass_through_an_empty_memory(draw) -> None:
    # One row of the batch has no image at all: its answer is plain causal attention.
    q, k, v = (tensor.requires_grad_() for tensor in draw(10))
    mask = torch.tensor([True, False])[:, None].expand(2, 10)
    y, end = causal(q, k, v, state=State.of(k, v, mask))
    close(y[1:], outputs(q[1:], k[1:], v[1:]), rtol=0, atol=1e-14)
    grads = torch.autograd.grad(y.square().sum() + end.u.sum() + end.z.sum(), (q, k, v))
    assert all(grad.isfinite().all() and grad[1].any() for grad in grads)


def test_a_masked_step_keeps_the_state(draw) -> None:
    q, k, v = (tensor[:, 0] for tensor in draw(1))
    before = State.of(*draw(9)[1:])
    mask = torch.tensor([True, False])
    y, after = step(q, k + 1000, v, before, mask)
    close(State(*(x[1] for x in after)), State(*(x[1] for x in before)), rtol=0, atol=0)
    close(y[1], before.read(q[:, None])[1, 0], rtol=0, atol=1e-14)
    close(y[0], v[0], rtol=0, atol=1e-12)
    first, start = step(q, k, v, mask=torch.tensor([False, False]))
    assert not first.any()
    close(start, State.empty(2, 2, 4, 6, dtype=torch.float64), rtol=0, atol=0)
