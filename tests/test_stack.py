"""Stacks of blocks, which read and write with one class, and local mixing on patch grids."""

from collections.abc import Sequence
from typing import Any

import pytest
import torch
from torch import Tensor

from encoders import mixers
from encoders.grid_conv import GridConv
from encoders.stack import Block, Stack
from encoders.tiling import Grid

DIM = 8
IMAGE, WIDE, OVERVIEW = Grid(4, 3), Grid(1, 6), Grid(2, 2)
close = torch.testing.assert_close


@pytest.fixture(params=mixers.available())
def name(request: pytest.FixtureRequest) -> str:
    torch.manual_seed(0)
    return str(request.param)


@pytest.fixture
def conv() -> GridConv:
    torch.manual_seed(0)
    return GridConv(DIM).double()


def make(mixer: str, **words: Any) -> Stack:
    settings = {"depth": 2, "heads": 2, **words}
    return Stack(DIM, mixer=mixer, **settings).double().eval()


def tokens(length: int, batch: int = 2) -> Tensor:
    generator = torch.Generator().manual_seed(length)
    return torch.randn(batch, length, DIM, dtype=torch.float64, generator=generator)


def alike(got: Any, expected: Any) -> None:
    for mine, theirs in zip(got, expected, strict=True):
        for part, other in zip(mine, theirs, strict=True):
            close(part, other, rtol=0, atol=1e-10)


def test_reader_and_writer_are_the_same_parameters(name: str) -> None:
    reader, writer = make(name, depth=1), make(name, depth=1, causal=True)
    writer.load_state_dict(reader.state_dict())
    x = tokens(65)
    close(writer(x)[:, -1], reader(x)[:, -1], rtol=0, atol=1e-10)
    assert not torch.allclose(writer(x)[:, 0], reader(x)[:, 0])


def test_forward_of_a_causal_stack_is_its_scan(name: str) -> None:
    stack = make(name, causal=True)
    mask = torch.ones(2, 10, dtype=torch.bool)
    mask[0, :4] = False
    close(stack(tokens(10), mask), stack.scan(tokens(10), mask)[0], rtol=0, atol=0)


@torch.no_grad()
@pytest.mark.parametrize("length", (1, 65))
def test_step_by_step_is_scan(name: str, length: int) -> None:
    stack, x = make(name, causal=True), tokens(length)
    states = stack.prefix(tokens(7))
    whole, end = stack.scan(x, None, states)
    for index in range(length):
        y, states = stack.step(x[:, index], states)
        close(y, whole[:, index], rtol=0, atol=1e-10)
    alike(states, end)


def test_scan_in_two_parts_is_the_whole(name: str) -> None:
    stack, x = make(name, causal=True), tokens(80)
    whole, end = stack.scan(x)
    first, states = stack.scan(x[:, :33])
    second, after = stack.scan(x[:, 33:], None, states)
    close(torch.cat([first, second], 1), whole, rtol=0, atol=1e-10)
    alike(after, end)


def test_prefix_gives_every_layer_the_memory_itself(name: str) -> None:
    stack, memory = make(name, causal=True), tokens(9)
    layers: list[Any] = list(stack.blocks)
    expected = [block.mixer.prefix(block.norm1(memory)) for block in layers]
    alike(stack.prefix(memory), expected)
    assert len(expected) == 2


def test_prefix_of_one_layer_is_reading_the_memory_first(name: str) -> None:
    stack = make(name, depth=1, causal=True)
    memory, answer = tokens(20), tokens(5)
    joint, end = stack.scan(torch.cat([memory, answer], 1))
    apart, after = stack.scan(answer, None, stack.prefix(memory))
    close(apart, joint[:, 20:], rtol=0, atol=1e-10)
    alike(after, end)


def test_pads_change_nothing(name: str) -> None:
    stack = make(name, grid_conv=True)
    text, grid = tokens(5), IMAGE.size
    alone = stack(torch.cat([tokens(grid), text], 1), None, [(IMAGE,)] * 2)
    gap = torch.full((2, 3, DIM), 9.0, dtype=torch.float64)  # between image and text
    padded = torch.cat([tokens(grid), gap, text], 1)
    mask = torch.ones(2, grid + 8, dtype=torch.bool)
    mask[:, grid : grid + 3] = False
    got = stack(padded, mask, [(IMAGE,)] * 2)[mask].view_as(alone)
    close(got, alone, rtol=0, atol=1e-10)


def test_a_block_adds_to_its_input(name: str) -> None:
    block = Block(DIM, mixers.create(name, DIM, 2), grid_conv=True).double()
    for weight in block.parameters():
        torch.nn.init.zeros_(weight)
    x = tokens(IMAGE.size + 2)
    close(block(x, None, [(IMAGE,)] * 2), x, rtol=0, atol=0)


def test_dropout_is_off_when_answering() -> None:
    stack, x = make("latte", dropout=0.5), tokens(4)
    assert torch.equal(stack(x), stack(x))
    stack.train()
    assert not torch.equal(stack(x), stack(x))


def test_words_reach_the_parts() -> None:
    stack = Stack(DIM, depth=3, heads=2, mlp_ratio=1.5, latents=6)
    assert len(stack.blocks) == 3
    shapes = {name: list(weight.shape) for name, weight in stack.named_parameters()}
    assert shapes["blocks.2.mixer.key.weight"] == [6, DIM]
    assert shapes["blocks.0.mlp.0.weight"] == [12, DIM]
    assert not any("local" in name for name in shapes)


def naive_conv(conv: GridConv, x: Tensor, grid: Grid) -> Tensor:
    """x + conv(x) for one grid `[grid.size, D]`, patch by patch, nothing beyond the border."""
    weight, bias = conv.conv.weight[:, 0], conv.conv.bias
    assert bias is not None
    out = x.clone()
    for row in range(grid.rows):
        for column in range(grid.columns):
            here = row * grid.columns + column
            out[here] += bias
            for down in (-1, 0, 1):
                for right in (-1, 0, 1):
                    near, beside = row + down, column + right
                    if 0 <= near < grid.rows and 0 <= beside < grid.columns:
                        there = near * grid.columns + beside
                        out[here] += weight[:, down + 1, right + 1] * x[there]
    return out


def naive_rows(conv: GridConv, x: Tensor, grids: Sequence[tuple[Grid, ...]]) -> Tensor:
    out = x.clone()
    for row, shapes in enumerate(grids):
        start = 0
        for grid in shapes:
            end = start + grid.size
            out[row, start:end] = naive_conv(conv, x[row, start:end], grid)
            start = end
    return out


LAYOUTS: dict[str, list[tuple[Grid, ...]]] = {
    "one": [(IMAGE,), (IMAGE,)],
    "single-patch": [(Grid(1, 1),), (Grid(1, 1),)],
    "mixed": [(IMAGE,), (WIDE,), (IMAGE,)],
    "overview": [(IMAGE, OVERVIEW), (IMAGE, OVERVIEW)],
    "mixed-overviews": [(IMAGE, OVERVIEW), (WIDE,), (), (WIDE, Grid(1, 4))],
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_grid_conv_is_the_naive_loop(conv: GridConv, layout: str) -> None:
    """On each grid alone: nothing leaks between grids, nor from or to the text after them."""
    grids = LAYOUTS[layout]
    x = tokens(20, batch=len(grids))
    with torch.no_grad():
        close(conv(x, grids), naive_rows(conv, x, grids), rtol=0, atol=1e-12)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_grid_conv_of_a_batch_is_that_of_each_alone(conv: GridConv, layout: str) -> None:
    grids = LAYOUTS[layout]
    together = tokens(20, batch=len(grids)).requires_grad_()
    apart = together.detach().clone().requires_grad_()
    batch = conv(together, grids)
    rows = [conv(apart[index, None], [shapes]) for index, shapes in enumerate(grids)]
    close(batch, torch.cat(rows), rtol=0, atol=1e-12)
    batch.square().sum().backward()
    torch.cat(rows).square().sum().backward()
    close(together.grad, apart.grad, rtol=0, atol=1e-10)


STRIPS = (1, 7, 12, 3, 0)


@pytest.mark.parametrize("kernel", (1, 3, 7))
def test_strips_of_a_batch_are_each_alone_on_the_general_path(kernel: int) -> None:
    """A strip, then text: in a batch of strips, and beside grids that are none."""
    torch.manual_seed(0)
    conv = GridConv(DIM, kernel).double()
    grids: list[tuple[Grid, ...]] = [(Grid(1, length),) for length in STRIPS]
    together = tokens(14, batch=len(STRIPS)).requires_grad_()
    apart = together.detach().clone().requires_grad_()
    batch = conv(together, grids)
    weights = [*conv.parameters()]
    steep = torch.linspace(-1, 1, batch.numel(), dtype=torch.float64).view_as(batch)
    mine = torch.autograd.grad((batch * steep).sum(), [together, *weights])
    rows = []
    for index, shapes in enumerate(grids):
        two = torch.stack([apart[index], apart[index].detach()])
        # The second row has two grids, so none of the two is a batch of strips.
        rows.append(conv(two, [shapes if shapes[0].size else (), (WIDE, OVERVIEW)])[0])
    alone = torch.stack(rows)
    close(batch, alone, rtol=0, atol=1e-12)
    theirs = torch.autograd.grad((alone * steep).sum(), [apart, *weights])
    for one, other in zip(mine, theirs, strict=True):
        close(one, other, rtol=0, atol=1e-10)
    streamed = together.detach().clone()
    with torch.no_grad():
        conv.stream_(streamed[:-1], grids[:-1])
    close(streamed, batch.detach(), rtol=0, atol=1e-12)


def test_strips_are_the_naive_loop(conv: GridConv) -> None:
    grids: list[tuple[Grid, ...]] = [(Grid(1, length),) for length in STRIPS[:-1]]
    x = tokens(14, batch=len(grids))
    with torch.no_grad():
        close(conv(x, grids), naive_rows(conv, x, grids), rtol=0, atol=1e-12)


def test_what_follows_a_strip_does_not_reach_it(conv: GridConv) -> None:
    """Not even where it is no number."""
    grids: list[tuple[Grid, ...]] = [(Grid(1, 4),), (Grid(1, 9),)]
    x = tokens(12)
    clean = conv(x, grids)
    x[0, 4:], x[1, 9:] = torch.nan, torch.inf
    found = conv(x, grids)
    assert torch.equal(found[0, :4], clean[0, :4]) and torch.equal(found[1, :9], clean[1, :9])
    assert found[0, 4:].isnan().all() and found[1, 9:].isinf().all()


def test_strips_of_no_length_change_nothing(conv: GridConv) -> None:
    assert torch.equal(conv(tokens(3), [(Grid(1, 0),)] * 2), tokens(3))


def test_strips_under_autocast(conv: GridConv) -> None:
    conv.float()
    x, grids = tokens(20).float(), [(Grid(1, 5),), (WIDE,)]
    with torch.autocast("cpu", torch.bfloat16):
        rough = conv(x, grids)
    assert rough.dtype == torch.float32
    close(rough, conv(x, grids), rtol=0, atol=0.05)


def test_grid_conv_does_not_touch_text(conv: GridConv) -> None:
    x = tokens(20)
    assert torch.equal(conv(x, [(IMAGE,)] * 2)[:, IMAGE.size :], x[:, IMAGE.size :])
    assert torch.equal(conv(x, [(), ()]), x)


def test_mixed_grids_under_autocast(conv: GridConv) -> None:
    conv.float()
    x, grids = tokens(20).float(), [(IMAGE,), (WIDE,)]
    with torch.autocast("cpu", torch.bfloat16):
        rough = conv(x, grids)
    assert rough.dtype == torch.float32
    close(rough, conv(x, grids), rtol=0, atol=0.05)


def test_wrong_number_of_grids_is_refused(conv: GridConv) -> None:
    with pytest.raises(ValueError, match="2 sequences but patch grids for 1"):
        conv(tokens(20), [(IMAGE,)])
    with pytest.raises(ValueError, match="2 sequences but patch grids for 1"):
        conv(tokens(20), [(WIDE,)])
