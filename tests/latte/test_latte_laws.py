"""Laws that the Latte operators keep among themselves, at awkward lengths."""

from itertools import permutations

import pytest
import torch
from torch import Tensor

from encoders.latte import State, bidirectional, causal, naive, step

LENGTHS = (1, 63, 64, 65, 257, 500)
close = torch.testing.assert_close


def outputs(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    return causal(q, k, v)[0]


def step_by_step(q: Tensor, k: Tensor, v: Tensor) -> tuple[Tensor, State]:
    ys, state = [], None
    for token in zip(q.unbind(1), k.unbind(1), v.unbind(1), strict=True):
        y, state = step(*token, state)
        ys.append(y)
    assert state is not None
    return torch.stack(ys, 1), state


@pytest.mark.parametrize("scale", (1, 300))
@pytest.mark.parametrize("tokens", LENGTHS)
@pytest.mark.parametrize(
    ("fast", "judge"),
    ((bidirectional, naive.bidirectional), (outputs, naive.causal)),
    ids=("bidirectional", "causal"),
)
def test_fast_is_naive(draw, gradients, fast, judge, tokens: int, scale: float) -> None:
    inputs = draw(tokens, scale, batch=1)
    for got, expected in zip(gradients(fast, inputs), gradients(judge, inputs), strict=True):
        close(got, expected, rtol=0, atol=1e-10)


@pytest.mark.parametrize("tokens", LENGTHS)
def test_chunked_is_step_by_step_and_ends_as_bidirectional(draw, tokens: int) -> None:
    q, k, v = draw(tokens, 30, batch=1)
    chunked, end = causal(q, k, v)
    stepped, state = step_by_step(q, k, v)
    close(chunked, stepped, rtol=0, atol=1e-10)
    close(end, state, rtol=1e-12, atol=1e-10)
    close(end, State.of(k, v), rtol=1e-12, atol=1e-10)
    close(chunked[:, -1], bidirectional(q, k, v)[:, -1], rtol=0, atol=1e-10)


def test_step_has_the_gradients_of_the_whole(draw, gradients) -> None:
    inputs = draw(70)
    whole = gradients(outputs, inputs)
    stepped = gradients(lambda *tokens: step_by_step(*tokens)[0], inputs)
    for got, expected in zip(stepped, whole, strict=True):
        close(got, expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize(("first", "second"), ((1, 1), (64, 64), (63, 2), (100, 157), (5, 300)))
def test_a_split_sequence_is_the_whole(draw, gradients, first: int, second: int) -> None:
    def split(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        start, state = causal(q[:, :first], k[:, :first], v[:, :first])
        rest, end = causal(q[:, first:], k[:, first:], v[:, first:], state=state)
        return torch.cat([start, rest, end.u.mean(2)[:, None]], 1) + end.z.sum()

    def whole(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        end = State.of(k, v)
        return torch.cat([naive.causal(q, k, v), end.u.mean(2)[:, None]], 1) + end.z.sum()

    inputs = draw(first + second)
    for got, expected in zip(gradients(split, inputs), gradients(whole, inputs), strict=True):
        close(got, expected, rtol=1e-12, atol=1e-10)


@pytest.mark.parametrize("tokens", (1, 6, 65))
def test_memory_as_initial_state_is_causal_over_memory_and_answer(
    draw, gradients, tokens: int
) -> None:
    prefix = 90

    def remembered(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        memory = State.of(k[:, :prefix], v[:, :prefix])
        return causal(q[:, prefix:], k[:, prefix:], v[:, prefix:], state=memory)[0]

    def whole(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        return naive.causal(q, k, v)[:, prefix:]

    inputs = draw(prefix + tokens)
    for got, expected in zip(gradients(remembered, inputs), gradients(whole, inputs), strict=True):
        close(got, expected, rtol=0, atol=1e-12)


def test_states_merge_in_any_order_and_grouping(draw) -> None:
    _, k, v = draw(100, 5)
    cuts = ((0, 1), (1, 40), (40, 100))
    parts = [State.of(k[:, start:stop], v[:, start:stop]) for start, stop in cuts]
    whole = State.of(k, v)
    for a, b, c in permutations(parts):
        close(a.merge(b).merge(c), whole, rtol=1e-12, atol=1e-12)
        close(a.merge(b.merge(c)), whole, rtol=1e-12, atol=1e-12)


def test_the_empty_state_changes_nothing(draw) -> None:
    q, k, v = draw(70)
    empty = State.empty(2, 2, 4, 6, dtype=torch.float64)
    some = State.of(k, v)
    for merged in (some.merge(empty), empty.merge(some)):
        close(merged, some, rtol=0, atol=0)
    close(empty.merge(empty), empty, rtol=0, atol=0)
    close(causal(q, k, v, state=empty), causal(q, k, v), rtol=0, atol=0)
    assert not empty.read(q).any()


def test_a_state_read_is_bidirectional(draw) -> None:
    q, k, v = draw(70)
    close(State.of(k, v).read(q), bidirectional(q, k, v), rtol=0, atol=1e-14)


@pytest.mark.parametrize("tokens", (5, 64, 130))
@pytest.mark.parametrize("scale", (1, 10))
def test_key_gradients_sum_to_zero_over_time(draw, gradients, tokens: int, scale: float) -> None:
    # A constant added to all logits of a latent changes nothing.
    for operator in (bidirectional, outputs):
        _, _, key, _ = gradients(operator, draw(tokens, scale))
        assert key.abs().max() > 1e-3
        close(key.sum(1), torch.zeros_like(key[:, 0]), rtol=0, atol=1e-10)


@pytest.mark.parametrize("tokens", (5, 64, 130))
def test_weights_are_a_probability_over_tokens(draw, tokens: int) -> None:
    q, k, _ = draw(tokens, 3)
    one = torch.eye(tokens, dtype=q.dtype)[None, :, None].expand(2, -1, 2, -1)
    both = bidirectional(q, k, one).transpose(1, 2)  # [B, H, T(t), T(s)]
    past = causal(q, k, one)[0].transpose(1, 2)
    close(both, naive.bidirectional_weights(q, k), rtol=0, atol=1e-12)
    close(past, naive.causal_weights(q, k), rtol=0, atol=1e-12)
    for weights in (both, past):
        assert (weights >= 0).all()
        close(weights.sum(-1), torch.ones_like(weights[..., 0]), rtol=0, atol=1e-12)
    assert not past.triu(1).any()


def test_bidirectional_does_not_mind_the_order_of_tokens(draw) -> None:
    q, k, v = draw(50)
    order = torch.randperm(50, generator=torch.Generator().manual_seed(2))
    shuffled = bidirectional(q[:, order], k[:, order], v[:, order])
    close(shuffled, bidirectional(q, k, v)[:, order], rtol=0, atol=1e-13)


def test_causal_ignores_the_future(draw) -> None:
    q, k, v = draw(130)
    y, _ = causal(q, k, v)
    k[:, 70:], v[:, 70:] = k[:, 70:] + 1000, -v[:, 70:]
    close(causal(q, k, v)[0][:, :70], y[:, :70], rtol=0, atol=1e-14)


def test_gradcheck_of_the_hand_written_backward(draw) -> None:
    def small(tokens: int) -> list[Tensor]:  # one head, two latents, two channels
        return [x[:, :, :1, :2].clone().requires_grad_() for x in draw(tokens, batch=1)]

    q, k, v = small(7)
    state = [x.detach().requires_grad_() for x in State.of(*small(3)[1:])]

    def run(*tensors: Tensor) -> tuple[Tensor, ...]:
        y, end = causal(*tensors[:3], state=State(*tensors[3:]))
        return y, end.u, end.z

    assert torch.autograd.gradcheck(run, (q, k, v, *state))
