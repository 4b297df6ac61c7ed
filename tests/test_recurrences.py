"""The contract of recurrences. A new file in encoders/recurrences gets all of these tests."""

from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from encoders import recurrences

LENGTHS = (1, 2, 63, 64, 65, 257)
DIM = 8
close = torch.testing.assert_close


def naive_conv(conv: Any, x: Tensor, state: Tensor) -> Tensor:
    """y_t = x_t + sum_j w_j x_{t - width + 1 + j}, token by token."""
    read, every = list(state.unbind(1)), []
    for token in x.unbind(1):
        read.append(token)
        latest = read[-conv.weight.shape[1] :]
        taps = zip(conv.weight.unbind(1), latest, strict=True)
        every.append(token + sum(tap * past for tap, past in taps))
    return torch.stack(every, 1)


def naive_rglru(rglru: Any, x: Tensor, h: Tensor) -> Tensor:
    """Equations 1 to 4 of Griffin, section 2.4, token by token."""
    w_a, w_x = (torch.block_diag(*gate) for gate in rglru.gates)
    b_a, b_x = rglru.bias
    every = []
    for token in x.unbind(1):
        r, i = (token @ w_a + b_a).sigmoid(), (token @ w_x + b_x).sigmoid()
        a = (-8 * F.softplus(rglru.rate) * r).exp()
        h = a * h + (1 - a**2).sqrt() * (i * token)
        every.append(h)
    return torch.stack(every, 1)


NAIVE = {"conv": naive_conv, "rglru": naive_rglru}


def make(name: str, **words: Any) -> Any:
    """A recurrence with all parameters far from their start, in float64."""
    torch.manual_seed(0)
    recurrence = recurrences.create(name, DIM, **words).double()
    for parameter in recurrence.parameters():
        torch.nn.init.normal_(parameter)
    return recurrence


@pytest.fixture(params=recurrences.available())
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def recurrence(name: str) -> Any:
    return make(name)


def tokens(length: int, batch: int = 2) -> Tensor:
    generator = torch.Generator().manual_seed(length)
    return torch.randn(batch, length, DIM, dtype=torch.float64, generator=generator)


def state_of(recurrence: Any, batch: int = 2) -> Tensor:
    """A state that has read something."""
    dtype = next(recurrence.parameters()).dtype
    state: Tensor = recurrence(tokens(3, batch).to(dtype))[1]
    assert state.any()
    return state


def gradients(recurrence: Any, output: Tensor, *inputs: Tensor) -> tuple[Tensor, ...]:
    """Of a fixed random combination of `output`: of the inputs, then of the parameters."""
    generator = torch.Generator().manual_seed(1)
    weights = torch.randn(output.shape, dtype=output.dtype, generator=generator)
    leaves = (*inputs, *recurrence.parameters())
    return torch.autograd.grad((output * weights).sum(), leaves)


def pads(kind: str, length: int) -> Tensor:
    """A mask of `length` real tokens and 5 pads before, after or amid them, or one after each."""
    if kind == "every second":
        return torch.tensor([True, False]).repeat(length)
    start = {"left": 0, "middle": length // 2, "right": length}[kind]
    mask = torch.ones(length + 5, dtype=torch.bool)
    mask[start : start + 5] = False
    return mask


def scatter(x: Tensor, mask: Tensor) -> Tensor:
    """Tokens `[T, D]` where `mask` is True, noise elsewhere."""
    noise = torch.full((len(mask), DIM), 7.0, dtype=x.dtype)
    return noise.index_put((mask.nonzero()[:, 0],), x)


@pytest.mark.parametrize("length", LENGTHS)
def test_fast_is_naive(name: str, recurrence: Any, length: int) -> None:
    x, state = tokens(length).requires_grad_(), state_of(recurrence).detach().requires_grad_()
    fast, slow = recurrence(x, None, state)[0], NAIVE[name](recurrence, x, state)
    close(fast, slow, rtol=0, atol=1e-12)
    got, expected = (gradients(recurrence, h, x, state) for h in (fast, slow))
    for one, other in zip(got, expected, strict=True):
        close(one, other, rtol=1e-12, atol=1e-11)


def test_no_state_is_an_empty_one(recurrence: Any) -> None:
    x = tokens(9)
    empty = recurrence.empty(2, torch.float64, x.device)
    for got, expected in zip(recurrence(x), recurrence(x, None, empty), strict=True):
        close(got, expected, rtol=0, atol=0)


@torch.no_grad()
@pytest.mark.parametrize("length", LENGTHS)
def test_step_by_step_is_the_whole(recurrence: Any, length: int) -> None:
    x, state = tokens(length), state_of(recurrence)
    whole, end = recurrence(x, None, state)
    for index in range(length):
        h, state = recurrence.step(x[:, index], state)
        close(h, whole[:, index], rtol=0, atol=1e-12)
    close(state, end, rtol=0, atol=1e-12)


@pytest.mark.parametrize("split", (1, 2, 64, 256))
def test_two_parts_are_the_whole(recurrence: Any, split: int) -> None:
    x = tokens(257).requires_grad_()
    whole, end = recurrence(x)
    first, state = recurrence(x[:, :split])
    second, after = recurrence(x[:, split:], None, state)
    parts = torch.cat([first, second], 1)
    close(parts, whole, rtol=0, atol=1e-12)
    close(after, end, rtol=0, atol=1e-12)
    got, expected = (gradients(recurrence, h, x) for h in (parts, whole))
    for one, other in zip(got, expected, strict=True):
        close(one, other, rtol=1e-12, atol=1e-11)


@pytest.mark.parametrize("length", (1, 2, 66))
@pytest.mark.parametrize("kind", ("left", "right", "middle", "every second"))
def test_pads_change_nothing(recurrence: Any, kind: str, length: int) -> None:
    x, mask = tokens(length, batch=1)[0].requires_grad_(), pads(kind, length)
    other = tokens(len(mask), batch=1)[0]  # a full row in the same batch
    state = state_of(recurrence).detach()
    batch = torch.stack([scatter(x, mask), other])
    masks = torch.stack([mask, torch.ones_like(mask)])
    h, end = recurrence(batch, masks, state)
    alone, last = recurrence(x[None], None, state[:1])
    beside, final = recurrence(other[None], None, state[1:])
    close(h[0][mask], alone[0], rtol=0, atol=1e-12)
    close(h[1], beside[0], rtol=0, atol=1e-12)
    close(end, torch.cat([last, final]), rtol=0, atol=1e-12)
    # Of the first row only, and of its end state.
    got = gradients(recurrence, torch.cat([h[0][mask].flatten(), end[0].flatten()]), x)
    expected = gradients(recurrence, torch.cat([alone[0].flatten(), last[0].flatten()]), x)
    for one, another in zip(got, expected, strict=True):
        close(one, another, rtol=1e-12, atol=1e-11)


@pytest.mark.parametrize("noise", (torch.inf, torch.nan))
def test_what_stands_at_a_pad_does_not_matter(recurrence: Any, noise: float) -> None:
    x, mask = tokens(9), torch.ones(2, 9, dtype=torch.bool)
    mask[0, 3:5] = False
    clean, end = recurrence(x, mask)
    x[0, 3:5] = noise
    h, after = recurrence(x.requires_grad_(), mask)
    assert h.isfinite().all()
    close(h[mask], clean[mask], rtol=0, atol=0)
    close(after, end, rtol=0, atol=0)
    of_x, *of_parameters = gradients(recurrence, h[mask], x)
    assert not of_x[~mask].any()
    assert all(grad.isfinite().all() for grad in (of_x, *of_parameters))


def test_a_row_without_real_tokens_keeps_its_state(recurrence: Any) -> None:
    mask = torch.tensor([[False] * 6, [True] * 6])
    state = state_of(recurrence)
    h, end = recurrence(tokens(6), mask, state)
    assert h.isfinite().all()
    close(end[0], state[0], rtol=0, atol=0)


def test_it_does_not_see_the_future(recurrence: Any) -> None:
    x = tokens(70).requires_grad_()
    h = recurrence(x)[0]
    for read in (0, 1, 40, 69):
        (gradient,) = torch.autograd.grad(h[:, read].square().sum(), x, retain_graph=True)
        seen = gradient.abs().amax(-1) > 0
        assert not seen[:, read + 1 :].any()
        assert seen[:, max(read - 1, 0) : read + 1].all()  # itself and the token before


@pytest.mark.parametrize("masked", (False, True))
def test_gradients_reach_every_parameter_and_the_state(recurrence: Any, masked: bool) -> None:
    state = state_of(recurrence).detach().requires_grad_()
    mask = torch.tensor([[True, False, True], [True, True, True]]) if masked else None
    h, _ = recurrence(tokens(3), mask, state)
    for gradient in gradients(recurrence, h, state):
        assert gradient.isfinite().all() and gradient.abs().amin() > 0


def test_rows_of_a_state_can_be_selected(recurrence: Any) -> None:
    state, x = state_of(recurrence, batch=3), tokens(2, batch=3)
    rows = torch.tensor([2, 0, 0, 1])
    expected = recurrence(x, None, state)[0][rows]
    close(recurrence(x[rows], None, state[rows])[0], expected, rtol=0, atol=1e-12)


def test_a_state_has_constant_size(recurrence: Any) -> None:
    empty = recurrence.empty(2, torch.float64, torch.device("cpu"))
    for length in (1, 2, 100):
        end = recurrence(tokens(length))[1]
        assert (end.shape, end.dtype) == (empty.shape, empty.dtype)
        assert end.untyped_storage().nbytes() == end.nbytes  # no view of the whole sequence


@pytest.mark.parametrize("length", (1, 65))
def test_bfloat16_autocast_is_close_to_float32(recurrence: Any, length: int) -> None:
    recurrence.float()
    x, mask = tokens(length).float(), torch.ones(2, length, dtype=torch.bool)

    def run() -> tuple[Tensor, ...]:
        h, state = recurrence(x, mask)
        return h, state, recurrence(x)[0], recurrence.step(x[:, 0], state)[0]

    exact = run()
    with torch.autocast("cpu", torch.bfloat16):
        rough = run()
    for got, expected in zip(rough, exact, strict=True):
        assert got.dtype == expected.dtype
        error = (got - expected).norm() / expected.norm()
        assert error < 0.03  # bfloat16 has 8 bits: a few units of 2^-8


def test_bad_masks_and_states_are_refused(recurrence: Any) -> None:
    x = tokens(4)
    for mask in (torch.ones(2, 4), torch.ones(2, 5, dtype=torch.bool)):
        with pytest.raises(ValueError, match=r"mask must be torch.bool \[2, 4\]"):
            recurrence(x, mask)
    with pytest.raises(ValueError, match=r"\[3, "):
        recurrence(x, None, state_of(recurrence, batch=3))


def test_unknown_recurrence_is_named_with_the_list() -> None:
    with pytest.raises(ValueError, match="'nope'.*conv, rglru"):
        recurrences.create("nope", DIM)


def test_every_recurrence_has_a_judge() -> None:
    assert set(recurrences.available()) == set(NAIVE)


@pytest.mark.parametrize("width", (1, 2, 4))
def test_conv_sees_as_many_tokens_as_it_is_wide(width: int) -> None:
    conv, x = make("conv", width=width), tokens(9).requires_grad_()
    assert conv.empty(2, torch.float32, x.device).shape == (2, width - 1, DIM)
    (gradient,) = torch.autograd.grad(conv(x)[0][:, -1].sum(), x)
    seen = gradient.abs().amax(-1) > 0
    assert seen[:, 9 - width :].all() and not seen[:, : 9 - width].any()


def test_conv_starts_near_identity() -> None:
    x = tokens(257)
    h = recurrences.create("conv", DIM).double()(x)[0]
    assert 0 < (h - x).norm() < 0.2 * x.norm()


def test_conv_without_width_is_refused() -> None:
    with pytest.raises(ValueError, match="width .* 0"):
        recurrences.create("conv", DIM, width=0)


@pytest.mark.parametrize("heads", (1, 2, 8))
def test_rglru_is_naive_with_any_heads(heads: int) -> None:
    rglru, x = make("rglru", heads=heads), tokens(9)
    slow = naive_rglru(rglru, x, rglru.empty(2, torch.float64))
    close(rglru(x)[0], slow, rtol=0, atol=1e-12)


def test_rglru_starts_with_slow_decays() -> None:
    torch.manual_seed(0)
    rate = recurrences.create("rglru", 4096).rate
    decays = (-8 * F.softplus(rate)).exp()  # type: ignore[arg-type]
    counts = decays.histc(3, 0.9, 0.999)
    assert decays.min() > 0.8999 and decays.max() < 0.9991
    assert (counts / 4096 - 1 / 3).abs().max() < 0.03  # uniform


@pytest.mark.parametrize("closed", ("gate", "rate"))
@pytest.mark.parametrize("shift", (-20.0, -80.0, -1000.0))
def test_rglru_that_forgets_nothing_has_finite_gradients(closed: str, shift: float) -> None:
    rglru, x = make("rglru").float(), tokens(65).float().requires_grad_()
    with torch.no_grad():
        (rglru.bias[0] if closed == "gate" else rglru.rate).add_(shift)
    state = state_of(rglru).detach()
    h, end = rglru(x, None, state)
    assert all(gradient.isfinite().all() for gradient in gradients(rglru, h, x))
    assert (end - state).abs().max() < 65 * 2 * 8 * 10 * torch.tensor(shift / 2).exp() + 1e-15


def test_rglru_near_one_is_exact_in_float32() -> None:
    """1 - a^2 without cancellation: here it is about 1e-8, less than float32 resolves near 1."""
    rglru, x = make("rglru"), tokens(9)
    with torch.no_grad():
        rglru.rate.sub_(18)
    exact = rglru(x)[0]
    rough = rglru.float()(x.float())[0]
    close(rough.double(), exact, rtol=0, atol=1e-5 * exact.abs().max().item())


def test_rglru_keeps_its_state_in_float32() -> None:
    rglru = make("rglru").bfloat16()
    h, state = rglru(tokens(65).bfloat16())
    assert (h.dtype, state.dtype) == (torch.bfloat16, torch.float32)
    assert rglru.empty(2, torch.bfloat16).dtype == torch.float32


def test_rglru_heads_that_do_not_divide_the_width_are_refused() -> None:
    with pytest.raises(ValueError, match="dim 8.*heads 3"):
        recurrences.create("rglru", DIM, heads=3)
