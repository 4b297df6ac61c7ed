"""The contract of token mixers. A new file in encoders/mixers gets all of these tests."""

from typing import Any

import pytest
import torch
from torch import Tensor

from encoders import mixers, recurrences

LENGTHS = (1, 63, 64, 65, 257)
DIM = 8
close = torch.testing.assert_close


OPTIONS: dict[str, dict[str, Any]] = {
    **{name: {} for name in mixers.available()},
    "latte vapor": {"vapor": True},
    **{f"latte {name}": {"recurrence": name} for name in recurrences.available()},
    "macchiato everything": {"window": 5, "vapor": True, "recurrence": "conv"},
    "macchiato open": {"window": 5, "open_gate": True},
    "macchiato alone": {"window": 1, "rotary": False},
    "attention rotary": {"rotary": True},
}


def create(case: str) -> Any:
    name = case.split()[0]
    latents = {} if name == "attention" else {"latents": 12}
    return mixers.create(name, DIM, heads=2, **latents, **OPTIONS[case])


@pytest.fixture(params=OPTIONS)
def mixer(request: pytest.FixtureRequest) -> Any:
    """Each mixer in turn, in float64: there the laws hold to rounding."""
    torch.manual_seed(0)
    return create(request.param).double()


def tokens(length: int, batch: int = 2) -> Tensor:
    generator = torch.Generator().manual_seed(length)
    return torch.randn(batch, length, DIM, dtype=torch.float64, generator=generator)


def pads(kind: str, length: int) -> Tensor:
    """A mask of `length` real tokens and 5 pads before, after or amid them."""
    start = {"left": 0, "middle": length // 2, "right": length}[kind]
    mask = torch.ones(length + 5, dtype=torch.bool)
    mask[start : start + 5] = False
    return mask


def scatter(x: Tensor, mask: Tensor) -> Tensor:
    """Tokens `[T, D]` where `mask` is True, noise elsewhere."""
    out = torch.full((len(mask), DIM), 7.0, dtype=x.dtype)
    out[mask] = x
    return out


@torch.no_grad()
@pytest.mark.parametrize("length", LENGTHS)
def test_step_by_step_is_causal(mixer: Any, length: int) -> None:
    x = tokens(length)
    state = mixer.prefix(tokens(3))
    whole, end = mixer.causal(x, None, state)
    for index in range(length):
        y, state = mixer.step(x[:, index], state)
        close(y, whole[:, index], rtol=0, atol=1e-10)
    for got, expected in zip(state, end, strict=True):
        close(got, expected, rtol=0, atol=1e-10)


@pytest.mark.parametrize("split", (1, 32, 64, 256))
def test_causal_in_two_parts_is_the_whole(mixer: Any, split: int) -> None:
    x = tokens(257)
    whole, end = mixer.causal(x)
    first, state = mixer.causal(x[:, :split])
    second, after = mixer.causal(x[:, split:], None, state)
    close(torch.cat([first, second], 1), whole, rtol=0, atol=1e-10)
    for got, expected in zip(after, end, strict=True):
        close(got, expected, rtol=0, atol=1e-10)


@pytest.mark.parametrize("length", LENGTHS)
def test_last_row_of_causal_is_bidirectional(mixer: Any, length: int) -> None:
    x = tokens(length)
    close(mixer.causal(x)[0][:, -1], mixer(x)[:, -1], rtol=0, atol=1e-10)


@pytest.mark.parametrize("length", LENGTHS)
def test_prefix_is_the_memory_of_causal(mixer: Any, length: int) -> None:
    memory, answer = tokens(length), tokens(5)
    joint, end = mixer.causal(torch.cat([memory, answer], 1))
    apart, after = mixer.causal(answer, None, mixer.prefix(memory))
    close(apart, joint[:, length:], rtol=0, atol=1e-10)
    for got, expected in zip(after, end, strict=True):
        close(got, expected, rtol=0, atol=1e-10)


def test_causal_does_not_see_the_future(mixer: Any) -> None:
    x = tokens(70)
    changed = x.clone()
    changed[:, 40:] += 1
    before, after = mixer.causal(x)[0], mixer.causal(changed)[0]
    close(before[:, :40], after[:, :40], rtol=0, atol=1e-12)
    assert not torch.allclose(before[:, 40:], after[:, 40:])


def test_bidirectional_sees_both_ways(mixer: Any) -> None:
    x = tokens(9).requires_grad_()
    for read in (0, 4, 8):
        (gradient,) = torch.autograd.grad(mixer(x)[:, read].square().sum(), x)
        assert (gradient.abs().amax(-1) > 0).all()


@pytest.mark.parametrize("kind", ("left", "right", "middle"))
def test_pads_change_nothing(mixer: Any, kind: str) -> None:
    x, mask = tokens(66, batch=1)[0], pads(kind, 66)
    other = tokens(71, batch=1)[0]  # a full row in the same batch
    batch = torch.stack([scatter(x, mask), other])
    masks = torch.stack([mask, torch.ones_like(mask)])
    close(mixer(batch, masks)[0][mask], mixer(x[None])[0], rtol=0, atol=1e-10)
    close(mixer(batch, masks)[1], mixer(other[None])[0], rtol=0, atol=1e-10)
    y, state = mixer.causal(batch, masks)
    alone, end = mixer.causal(x[None])
    close(y[0][mask], alone[0], rtol=0, atol=1e-10)
    following, prefix = tokens(1)[:, 0], mixer.prefix(batch, masks)
    expected = mixer.step(following[:1], end)[0]
    close(mixer.step(following, state)[0][:1], expected, rtol=0, atol=1e-10)
    close(mixer.step(following, prefix)[0][:1], expected, rtol=0, atol=1e-10)


@pytest.mark.parametrize("way", ("bidirectional", "causal", "prefix"))
def test_a_row_without_real_tokens_is_blank_and_finite(mixer: Any, way: str) -> None:
    mask = torch.tensor([[False] * 6, [True] * 6])

    def run(x: Tensor) -> Tensor:
        if way == "prefix":  # what follows nothing is as if it came first
            y, _ = mixer.causal(tokens(2), None, mixer.prefix(x, mask))
            close(y[:1], mixer.causal(tokens(2)[:1])[0], rtol=0, atol=1e-10)
            return y
        y = mixer(x, mask) if way == "bidirectional" else mixer.causal(x, mask)[0]
        assert not y[0].any()
        return y

    x = (tokens(6) * 100).requires_grad_()
    y = run(x)
    assert y.isfinite().all() and y[1].any()
    y.square().sum().backward()
    assert x.grad is not None and x.grad.isfinite().all() and not x.grad[0].any()
    for name, weight in mixer.named_parameters():
        assert weight.grad is not None and weight.grad.isfinite().all(), name


def test_rows_of_a_state_can_be_selected(mixer: Any) -> None:
    memory, x = tokens(10, batch=3), tokens(2, batch=3)
    state = mixer.prefix(memory)
    assert isinstance(state, tuple) and hasattr(state, "_fields")
    assert all(part.shape[0] == 3 for part in state)
    rows = torch.tensor([2, 0, 0, 1])
    chosen = type(state)(*(part.index_select(0, rows) for part in state))
    expected = mixer.causal(x, None, state)[0][rows]
    close(mixer.causal(x[rows], None, chosen)[0], expected, rtol=0, atol=1e-12)


def test_gradients_reach_every_parameter(mixer: Any) -> None:
    x = tokens(9)
    for way in (mixer, lambda x: mixer.causal(x)[0]):
        mixer.zero_grad()
        way(x).square().sum().backward()
        for name, weight in mixer.named_parameters():
            assert weight.grad is not None and weight.grad.any(), name


def test_gradients_reach_the_memory_through_its_state(mixer: Any) -> None:
    memory = tokens(9).requires_grad_()
    mixer.causal(tokens(3), None, mixer.prefix(memory))[0].square().sum().backward()
    assert memory.grad is not None and (memory.grad.abs().amax(-1) > 0).all()


@pytest.mark.parametrize("length", (1, 65))
def test_bfloat16_autocast_is_close_to_float32(mixer: Any, length: int) -> None:
    mixer.float()
    x, mask = tokens(length).float(), torch.ones(2, length, dtype=torch.bool)

    def run() -> tuple[Tensor, ...]:
        state = mixer.prefix(x)
        return mixer(x, mask), mixer.causal(x, mask)[0], mixer.step(x[:, 0], state)[0]

    exact = run()
    with torch.autocast("cpu", torch.bfloat16):
        rough = run()
    for got, expected in zip(rough, exact, strict=True):
        assert got.isfinite().all()
        error = (got.float() - expected).norm() / expected.norm()
        assert error < 0.03  # bfloat16 has 8 bits: a few units of 2^-8


@pytest.mark.parametrize("case", OPTIONS)
def test_only_the_state_of_attention_grows(case: str) -> None:
    def size(length: int) -> int:
        state = create(case).prefix(tokens(length).float())
        assert isinstance(state, tuple)
        return sum(part.nbytes for part in state)

    growth = size(1000) - size(100)
    assert growth > 900 * DIM * 4 if case.startswith("attention") else growth == 0


def test_unknown_mixer_is_named_with_the_list() -> None:
    with pytest.raises(ValueError, match="'nope'.*attention, latte, macchiato"):
        mixers.create("nope", DIM, 2)


def test_package_files_are_no_mixers() -> None:
    assert {"attention", "latte", "macchiato"} <= set(mixers.available())
    assert "__init__" not in mixers.available()


@pytest.mark.parametrize("name", mixers.available())
def test_heads_that_do_not_divide_the_width_are_refused(name: str) -> None:
    with pytest.raises(ValueError, match="dim 8.*heads 3"):
        mixers.create(name, DIM, 3)


def test_latents_that_heads_do_not_divide_are_refused() -> None:
    with pytest.raises(ValueError, match="latents 5.*heads 2"):
        mixers.create("latte", DIM, 2, latents=5)
