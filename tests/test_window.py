"""Local attention, on sequences and on grids, against softmax over a written-out T x T matrix."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from encoders import window
from encoders.grid_window import grid_window
from encoders.halo import attend
from encoders.tiling import Grid
from encoders.window import Past

LENGTHS = (1, 63, 64, 65, 257)
WINDOWS = (1, 2, 7, 64, 100)
DTYPES = (torch.float32, torch.bfloat16, torch.float16)
close = torch.testing.assert_close
Operator = Callable[..., Tensor]
Inputs = tuple[Tensor, Tensor, Tensor]


def draw(length: int, batch: int = 2) -> Inputs:
    """q, k, v [B, T, 2, 4] in float64, with logits far from zero."""
    generator = torch.Generator().manual_seed(length)
    shape = (batch, length, 2, 4)
    q, k, v = (torch.randn(shape, dtype=torch.float64, generator=generator) for _ in range(3))
    return 3 * q, k, v


def each(change: Operator, inputs: Inputs) -> Inputs:
    """The same change of q, k and v."""
    q, k, v = inputs
    return change(q), change(k), change(v)


def judge(q: Tensor, k: Tensor, v: Tensor, seen: Tensor) -> Tensor:
    """Softmax attention of t to s where `seen` [B, T(t), T(s)]; zeros where nothing is."""
    logits = torch.einsum("bthd,bshd->bhts", q, k) / v.shape[-1] ** 0.5
    weights = logits.exp() * seen.unsqueeze(1)
    weights = weights / weights.sum(-1, keepdim=True).clamp(min=1e-300)
    return torch.einsum("bhts,bshd->bthd", weights, v)


def near(mask: Tensor, size: int, causal: bool) -> Tensor:
    """Which real tokens stand less than `size` real tokens apart, [B, T(t), T(s)]."""
    rank = mask.cumsum(1)
    apart = rank.unsqueeze(2) - rank.unsqueeze(1)
    close_by = (apart >= 0) & (apart < size) if causal else apart.abs() < size
    return close_by & mask.unsqueeze(1) & mask.unsqueeze(2)


def near_on(grid: Grid, radius: int) -> Tensor:
    """Which patches are at most `radius` rows and columns apart, [1, R * C, R * C]."""
    row, column = torch.arange(grid.size) // grid.columns, torch.arange(grid.size) % grid.columns
    far = torch.maximum((row[:, None] - row).abs(), (column[:, None] - column).abs())
    return (far <= radius).unsqueeze(0)


def results(operator: Operator, inputs: Inputs) -> list[Tensor]:
    """Output and gradients of one fixed combination of it."""
    leaves = [x.detach().clone().requires_grad_() for x in inputs]
    y = operator(*leaves)
    generator = torch.Generator().manual_seed(1)
    cotangent = torch.randn(y.shape, generator=generator, dtype=torch.float64).to(y.dtype)
    return [y.detach(), *torch.autograd.grad(y, leaves, cotangent)]


def agree(operator: Operator, other: Operator, inputs: Inputs) -> None:
    """Outputs and gradients are the same to rounding."""
    for got, expected in zip(results(operator, inputs), results(other, inputs), strict=True):
        close(got, expected, rtol=0, atol=1e-11)


def local(causal: bool, size: int, mask: Tensor | None = None) -> Operator:
    """One of the two operators on sequences, as a function of q, k, v."""
    if causal:
        return lambda q, k, v: window.causal(q, k, v, size, mask)[0]
    return lambda q, k, v: window.bidirectional(q, k, v, size, mask)


def masked(kind: str, length: int) -> Tensor:
    """Two rows of about `length` real tokens, the first with pads of that kind."""
    mask = torch.ones(2, length + 9, dtype=torch.bool)
    start = {"left": 0, "middle": length // 2, "right": length}.get(kind)
    if start is None:
        mask[0, ::3] = False
    else:
        mask[0, start : start + 9] = False
    if kind == "right":
        mask[1, 1:] = False
    return mask


both = pytest.mark.parametrize("causal", (True, False), ids=("causal", "bidirectional"))
sizes = pytest.mark.parametrize("size", WINDOWS)
lengths = pytest.mark.parametrize("length", LENGTHS)


@both
@sizes
@lengths
def test_without_a_mask_it_is_the_judge(causal: bool, size: int, length: int) -> None:
    seen = near(torch.ones(2, length, dtype=torch.bool), size, causal)
    agree(local(causal, size), lambda q, k, v: judge(q, k, v, seen), draw(length))


@both
@sizes
@pytest.mark.parametrize("kind", ("left", "middle", "right", "scattered"))
@pytest.mark.parametrize("length", (1, 200))
def test_with_pads_it_is_the_judge(causal: bool, size: int, kind: str, length: int) -> None:
    mask = masked(kind, length)
    q, k, v = draw(mask.shape[1])
    k[~mask], v[~mask] = 50.0, 1e4
    agree(
        local(causal, size, mask),
        lambda q, k, v: judge(q, k, v, near(mask, size, causal)),
        (q, k, v),
    )


@both
def test_one_row_has_its_real_tokens_only(causal: bool) -> None:
    mask = masked("scattered", 200)
    inputs = draw(209)
    alone = each(lambda x: x[:1][:, mask[0]], inputs)
    y = local(causal, 9, mask)(*inputs)
    close(y[:1][:, mask[0]], local(causal, 9)(*alone), rtol=0, atol=1e-13)
    assert not y[~mask].any()


@both
@pytest.mark.parametrize("dtype", (torch.float64, *DTYPES))
@pytest.mark.parametrize("length", (1, 300))
def test_a_row_of_pads_is_zero(causal: bool, dtype: torch.dtype, length: int) -> None:
    mask = torch.tensor([[True], [False]]).expand(2, length)
    got = results(local(causal, 20, mask), each(lambda x: x.to(dtype) * 10, draw(length)))
    for x in got:
        assert x.isfinite().all() and not x[1].any()
    assert got[0][0].any() and got[3][0].any()


@sizes
@pytest.mark.parametrize("split", (1, 5, 64, 199))
def test_in_two_parts_it_is_the_whole(size: int, split: int) -> None:
    def parts(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        first, past = window.causal(q[:, :split], k[:, :split], v[:, :split], size)
        second, _ = window.causal(q[:, split:], k[:, split:], v[:, split:], size, past=past)
        return torch.cat([first, second], 1)

    agree(parts, local(True, size), draw(200))


@sizes
@pytest.mark.parametrize("kind", ("left", "middle", "right", "scattered"))
@pytest.mark.parametrize("split", (3, 60))
def test_parts_with_pads_are_the_whole(size: int, kind: str, split: int) -> None:
    mask = masked(kind, 100)
    inputs = draw(109)
    whole, end = window.causal(*inputs, size, mask)
    head, tail = each(lambda x: x[:, :split], inputs), each(lambda x: x[:, split:], inputs)
    first, past = window.causal(*head, size, mask[:, :split])
    same_past(past, window.past_of(head[1], head[2], size, mask[:, :split]))
    second, after = window.causal(*tail, size, mask[:, split:], past)
    close(torch.cat([first, second], 1), whole, rtol=0, atol=1e-13)
    same_past(after, end)


def same_past(one: Past, other: Past) -> None:
    """Equal where there are tokens; the rest is never read."""
    assert one.mask.equal(other.mask)
    assert one.keys[one.mask].equal(other.keys[one.mask])
    assert one.values[one.mask].equal(other.values[one.mask])


@sizes
@pytest.mark.parametrize("before", (1, 6, 80))
def test_step_by_step_is_causal(size: int, before: int) -> None:
    inputs = draw(before + 80)
    mask = torch.ones(2, before, dtype=torch.bool)
    mask[0, before // 2 :] = False
    _, k, v = each(lambda x: x[:, :before], inputs)
    past = window.past_of(k, v, size, mask)
    rest = each(lambda x: x[:, before:], inputs)
    whole, end = window.causal(*rest, size, past=past)
    for q, k, v, expected in zip(*(x.unbind(1) for x in (*rest, whole)), strict=True):
        y, past = window.step(q, k, v, past)
        close(y, expected, rtol=0, atol=1e-13)
    same_past(past, end)


def test_gradients_pass_through_step_and_past() -> None:
    def run(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        past = window.past_of(k[:, :9], v[:, :9], 5)
        steps = []
        for index in range(9, 12):
            y, past = window.step(q[:, index], k[:, index], v[:, index], past)
            steps.append(y)
        return torch.stack(steps, 1)

    agree(run, lambda q, k, v: window.causal(q, k, v, 5)[0][:, 9:], draw(12))


def test_the_past_has_one_size_and_its_tokens_on_the_right() -> None:
    q, k, v = draw(300)
    for length in (1, 3, 4, 5, 300):
        past = window.past_of(k[:, :length], v[:, :length], 5)
        assert past.keys.shape == past.values.shape == (2, 4, 2, 4)
        held = min(length, 4)
        assert past.mask.tolist() == [[False] * (4 - held) + [True] * held] * 2
        assert past.keys[:, 4 - held :].equal(k[:, length - held : length])
        assert past.values[:, 4 - held :].equal(v[:, length - held : length])
        assert past.keys.untyped_storage().nbytes() == past.keys.nbytes  # holds no long sequence


def test_rows_of_a_past_can_be_selected() -> None:
    inputs, rows = draw(20, batch=3), torch.tensor([2, 0, 0, 1])
    past = window.causal(*inputs, 6)[1]
    chosen = Past(*(part.index_select(0, rows) for part in past))
    expected = window.causal(*inputs, 6, past=past)[0][rows]
    got = window.causal(*each(lambda x: x[rows], inputs), 6, past=chosen)[0]
    close(got, expected, rtol=0, atol=1e-13)


@pytest.mark.parametrize("radius", (0, 1, 3, 9))
@pytest.mark.parametrize(
    "grid", ((1, 1), (1, 7), (1, 150), (150, 1), (3, 90), (14, 14), (17, 23), (40, 5), (26, 25))
)
def test_a_grid_is_the_judge(grid: tuple[int, int], radius: int) -> None:
    shape = Grid(*grid)
    seen = near_on(shape, radius)
    agree(
        lambda q, k, v: grid_window(q, k, v, shape, radius),
        lambda q, k, v: judge(q, k, v, seen),
        draw(shape.size),
    )


def test_one_row_of_patches_is_a_sequence() -> None:
    inputs = draw(200)
    row = grid_window(*inputs, Grid(1, 200), 8)
    close(row, window.bidirectional(*inputs, 9), rtol=0, atol=1e-13)
    close(row, grid_window(*inputs, Grid(200, 1), 8), rtol=0, atol=1e-13)


def test_a_block_without_real_keys_reads_itself() -> None:
    q, k, v = draw(6)
    same = torch.eye(6, dtype=torch.bool)
    nothing = torch.zeros(2, 6, dtype=torch.bool)
    close(attend(q, k, v, torch.ones_like(same), same, nothing), v, rtol=0, atol=1e-14)


OPERATORS = {
    "causal": local(True, 30),
    "bidirectional": local(False, 30),
    "continued": lambda q, k, v: window.causal(
        q[:, 50:], k[:, 50:], v[:, 50:], 30, past=window.past_of(k[:, :50], v[:, :50], 30)
    )[0],
    "step": lambda q, k, v: window.step(q[:, 90], k[:, 90], v[:, 90], window.past_of(k, v, 30))[0],
    "grid": lambda q, k, v: grid_window(q, k, v, Grid(12, 20), 2),
}


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", OPERATORS)
def test_lower_precision_is_close(name: str, dtype: torch.dtype) -> None:
    inputs = each(lambda x: x / 3, draw(240))
    exact = results(OPERATORS[name], inputs)
    rough = results(OPERATORS[name], each(lambda x: x.to(dtype), inputs))
    for got, expected in zip(rough, exact, strict=True):
        assert got.dtype == dtype
        assert (got.double() - expected).norm() < 10 * torch.finfo(dtype).eps * expected.norm()


@pytest.mark.parametrize("name", OPERATORS)
def test_autocast_is_close_and_keeps_the_dtype(name: str) -> None:
    inputs = each(lambda x: x.float() / 3, draw(240))
    exact = results(OPERATORS[name], inputs)
    with torch.autocast("cpu", torch.bfloat16):
        rough = results(OPERATORS[name], inputs)
    for got, expected in zip(rough, exact, strict=True):
        assert got.dtype == torch.float32
        assert (got - expected).norm() < 0.03 * expected.norm()


def test_a_past_of_another_precision_continues() -> None:
    inputs = each(lambda x: x / 3, draw(70))
    past = window.past_of(inputs[1], inputs[2], 9)
    lower = each(Tensor.bfloat16, inputs)
    expected = window.causal(*inputs, 9, past=past)[0]
    y, after = window.causal(*lower, 9, past=past)
    one, _ = window.step(*each(lambda x: x[:, 0], lower), past)
    assert y.dtype == one.dtype == torch.bfloat16 and after.mask.all()
    close(y.double(), expected, rtol=0.05, atol=0.05)
    close(one.double(), expected[:, 0], rtol=0.05, atol=0.05)


def test_queries_and_keys_may_be_wider_than_values() -> None:
    q, k, v = draw(80)
    for run in (local(True, 9), lambda q, k, v: grid_window(q, k, v, Grid(8, 10), 1)):
        got = run(q, k, v.float())
        assert got.dtype == torch.float32
        close(got.double(), run(q, k, v), rtol=0, atol=1e-5)


def test_the_largest_temporary_grows_with_the_length() -> None:
    """No T x T: twice the tokens, twice the largest tensor that the backward pass keeps."""

    def largest(operator: Operator, length: int) -> int:
        kept: list[int] = []

        def note(x: Tensor) -> Tensor:
            kept.append(x.nbytes)
            return x

        with torch.autograd.graph.saved_tensors_hooks(note, lambda x: x):
            operator(*each(Tensor.requires_grad_, draw(length, 1)))
        return max(kept)

    def grid(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        return grid_window(q, k, v, Grid(32, q.shape[1] // 32), 3)

    for operator in (local(True, 16), local(False, 16), grid):
        assert largest(operator, 4096) == 2 * largest(operator, 2048)


def test_bad_inputs_are_refused() -> None:
    q, k, v = draw(12)
    with pytest.raises(ValueError, match=r"alike.*k \[2, 11, 2, 4\]"):
        window.causal(q, k[:, 1:], v, 3)
    with pytest.raises(ValueError, match=r"alike.*q \[2, 0, 2, 4\]"):
        window.bidirectional(q[:, :0], k[:, :0], v[:, :0], 3)
    with pytest.raises(ValueError, match="window.*got 0"):
        window.past_of(k, v, 0)
    with pytest.raises(ValueError, match=r"torch.bool \[2, 12\].*\[2, 9\]"):
        window.bidirectional(q, k, v, 3, torch.ones(2, 9, dtype=torch.bool))
    with pytest.raises(ValueError, match="window of 4 does not fit a past of 2"):
        window.causal(q, k, v, 4, past=window.past_of(k, v, 3))
    with pytest.raises(ValueError, match=r"past is \[1, 2, 2, 4\].*\[2, 2, 4\]"):
        window.step(q[:, 0], k[:, 0], v[:, 0], window.past_of(k[:1], v[:1], 3))
    with pytest.raises(ValueError, match=r"\[B, H, Dh\].*q \[2, 12, 2, 4\]"):
        window.step(q, k, v, window.past_of(k, v, 3))
    with pytest.raises(ValueError, match=r"alike.*v \[2, 12, 1, 4\]"):
        grid_window(q, k, v[:, :, :1], Grid(3, 4), 1)
    with pytest.raises(ValueError, match=r"3 x 5 patches.*\[2, 12, 2, 4\]"):
        grid_window(q, k, v, Grid(3, 5), 1)
    with pytest.raises(ValueError, match="radius.*got -1"):
        grid_window(q, k, v, Grid(3, 4), -1)
