"""The networks that find and read lines, part by part against what they are defined as."""

import math
from collections.abc import Iterator
from typing import TypeVar

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import conv2d, conv_transpose2d

from encoders.vision.line_finder import UNIT, LineFinder
from encoders.vision.line_reader import BLANK, HEIGHT, LETTERS, STEP, WIDTH, LineReader
from encoders.vision.repvit import Block, Gate, Stem

close = torch.testing.assert_close
Net = TypeVar("Net", bound=nn.Module)


@pytest.fixture(autouse=True)
def seeded() -> Iterator[None]:
    """Double precision, and weights that are the same in every run."""
    torch.manual_seed(0)
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


def lively(model: Net) -> Net:
    """Weights and biases so large that nothing stays next to nothing."""
    for part in model.modules():
        if isinstance(part, nn.Conv2d | nn.ConvTranspose2d | nn.Linear):
            nn.init.kaiming_normal_(part.weight)
            if part.bias is not None:
                nn.init.normal_(part.bias, std=0.3)
        elif isinstance(part, nn.LayerNorm):
            nn.init.normal_(part.weight, 1.0, 0.3)
            nn.init.normal_(part.bias, std=0.3)
    return model.eval()


def gelu(x: float) -> float:
    return x * 0.5 * (1 + math.erf(x / math.sqrt(2)))


def hard_sigmoid(x: float, slope: float) -> float:
    return min(1.0, max(0.0, slope * x + 0.5))


def linear(layer: nn.Module, x: list[float]) -> list[float]:
    """A layer that sees one place, on the channels of one place."""
    weight, bias = layer.weight, layer.bias
    assert isinstance(weight, Tensor) and isinstance(bias, Tensor)
    rows = weight.flatten(1).tolist()
    return [
        sum(w * v for w, v in zip(row, x, strict=True)) + b
        for row, b in zip(rows, bias.tolist(), strict=True)
    ]


# Their blocks


@torch.no_grad()
@pytest.mark.parametrize("slope", (1 / 6, 0.2))
def test_a_gate_lets_through_of_each_channel_as_its_image_asks(slope: float) -> None:
    gate, x = lively(Gate(8, slope)), 3 * torch.randn(2, 8, 3, 5)
    shares = []
    for image, passed in zip(x, gate(x), strict=True):
        means = [sum(channel.flatten().tolist()) / 15 for channel in image]
        squeezed = [max(0.0, v) for v in linear(gate.squeeze, means)]
        share = [hard_sigmoid(v, slope) for v in linear(gate.excite, squeezed)]
        close(passed, image * torch.tensor(share)[:, None, None])
        shares += share
    assert min(shares) < 0.4 and max(shares) > 0.6


@torch.no_grad()
@pytest.mark.parametrize("out, stride", ((4, (1, 1)), (6, (1, 1)), (4, (2, 1)), (6, (2, 2))))
@pytest.mark.parametrize("gated", (False, True))
def test_a_block_is_what_it_says(out: int, stride: tuple[int, int], gated: bool) -> None:
    block, x = lively(Block(4, out, stride, gated)), torch.randn(1, 4, 5, 6)
    rows, columns = -(-5 // stride[0]), -(-6 // stride[1])
    near = torch.zeros(1, 4, rows, columns)
    assert block.near.bias is not None
    for channel in range(4):
        for row in range(rows):
            for column in range(columns):
                total = float(block.near.bias[channel])
                for down in range(3):
                    for across in range(3):
                        y, z = row * stride[0] + down - 1, column * stride[1] + across - 1
                        if 0 <= y < 5 and 0 <= z < 6:
                            weight = float(block.near.weight[channel, 0, down, across])
                            total += weight * float(x[0, channel, y, z])
                near[0, channel, row, column] = total
    assert (block.gate is not None) == gated
    if block.gate is not None:
        assert block.gate.slope == 1 / 6
        near = block.gate(near)
    expected = torch.zeros(1, out, rows, columns)
    for row in range(rows):
        for column in range(columns):
            place = near[0, :, row, column].tolist()
            thought = linear(block.back, [gelu(v) for v in linear(block.wide, place)])
            expected[0, :, row, column] = torch.tensor(thought)
    if out == 4:
        expected = expected + near
    close(block(x), expected)


@torch.no_grad()
def test_a_stem_is_what_it_says() -> None:
    stem, pixels = lively(Stem(6, 8)), torch.rand(2, 3, 12, 20) * 255

    def beyond(x: Tensor) -> Tensor:
        """A nought below each column and behind each row."""
        wide = torch.zeros(*x.shape[:2], x.shape[2] + 1, x.shape[3] + 1)
        wide[:, :, :-1, :-1] = x
        return wide

    bgr = torch.stack([pixels[:, 2], pixels[:, 1], pixels[:, 0]], 1) / 127.5 - 1
    x = conv2d(bgr, stem.first.weight, stem.first.bias, 2, 1).clamp(min=0)
    wide = beyond(x)
    y = conv2d(wide, stem.narrow.weight, stem.narrow.bias).clamp(min=0)
    y = conv2d(beyond(y), stem.again.weight, stem.again.bias).clamp(min=0)
    most = torch.stack([wide[:, :, i : i + 6, j : j + 10] for i in (0, 1) for j in (0, 1)]).amax(0)
    x = conv2d(torch.cat([most, y], 1), stem.second.weight, stem.second.bias, 2, 1).clamp(min=0)
    expected = conv2d(x, stem.out.weight, stem.out.bias).clamp(min=0)
    assert expected.shape == (2, 8, 3, 5) and expected.any()
    close(stem(pixels), expected)


# The finder


@torch.no_grad()
@pytest.mark.parametrize("height, width", ((32, 32), (32, 96), (64, 32)))
def test_the_map_is_as_large_as_the_page(height: int, width: int) -> None:
    assert UNIT == 32
    found = lively(LineFinder())(torch.rand(3, height, width) * 255)
    assert found.shape == (height, width) and found.min() >= 0 and found.max() <= 1


@torch.no_grad()
def test_the_finder_is_a_pyramid_over_its_backbone() -> None:
    finder, page = lively(LineFinder()), torch.rand(3, 32, 64) * 255

    def larger(x: Tensor, times: int) -> Tensor:
        return x.repeat_interleave(times, 2).repeat_interleave(times, 3)

    def weighed(part: nn.Module, x: Tensor) -> Tensor:
        mapped = conv2d(x, part.map.weight)  # type: ignore[union-attr, arg-type]
        gate = part.gate
        assert isinstance(gate, Gate) and gate.slope == 0.2
        return mapped + gate(mapped)

    x, maps = finder.stem(page[None]), []
    for stage in finder.stages:
        x = stage(x)
        maps.append(x)
    assert [each.shape[3] for each in maps] == [16, 8, 4, 2], "strides 4, 8, 16, 32"
    above, parts = torch.zeros(1, 96, 0, 0), []
    for number in range(4):  # the coarsest first
        inner = weighed(finder.inward[number], maps[3 - number])
        above = inner + larger(above, 2) if number else inner
        outward = finder.outward[number]
        assert isinstance(outward, nn.Sequential)
        smooth, narrow = outward
        assert isinstance(smooth, nn.Conv2d)
        y = conv2d(above, smooth.weight, smooth.bias, padding=3, groups=96)
        parts.append(larger(weighed(narrow, y), 2 ** (3 - number)))
    x = conv2d(torch.cat(parts, 1), finder.head.weight, finder.head.bias, padding=1).clamp(min=0)
    x = conv_transpose2d(x, finder.twice.weight, finder.twice.bias, 2).clamp(min=0)
    x = conv_transpose2d(x, finder.likely.weight, finder.likely.bias, 2)
    found = finder(page)
    close(found, 1 / (1 + (-x[0, 0]).exp()))
    assert found.std() > 1e-3
    assert not torch.allclose(finder(page.flip(0)), found), "colours count"


# The reader


def test_letters_are_each_told_once_and_the_blank_last() -> None:
    assert len(set(LETTERS)) == len(LETTERS) == BLANK
    assert LETTERS[-1] == LETTERS[BLANK - 1] == " " and LETTERS.count(" ") == 1
    assert set(map(chr, range(33, 127))) < set(LETTERS) and {"€", "£", "é", "ß"} < set(LETTERS)
    assert LineReader().letter.out_features == len(LETTERS) + 1


@torch.no_grad()
@pytest.mark.parametrize("width", (STEP, 5 * STEP, 64))
def test_a_column_of_features_for_every_step(width: int) -> None:
    features, logits = lively(LineReader())(torch.rand(2, 3, HEIGHT, width) * 255)
    assert features.shape == (2, width // STEP, WIDTH)
    assert logits.shape == (2, width // STEP, len(LETTERS) + 1)
    assert features.isfinite().all() and logits.isfinite().all()


def normed(norm: nn.LayerNorm, x: list[float]) -> list[float]:
    mean = sum(x) / len(x)
    spread = math.sqrt(sum((v - mean) ** 2 for v in x) / len(x) + norm.eps)
    pairs = zip(x, norm.weight.tolist(), norm.bias.tolist(), strict=True)
    return [(v - mean) / spread * weight + bias for v, weight, bias in pairs]


def silu(x: float) -> float:
    return x / (1 + math.exp(-x)) if x > -700 else 0.0


def mixed(part: nn.Module, columns: list[list[float]]) -> list[list[float]]:
    """Attention of eight heads over all columns, then an MLP of each."""
    assert part.reads.eps == part.thinks.eps == 1e-5  # type: ignore[union-attr]
    told = [linear(part.all, normed(part.reads, x)) for x in columns]  # type: ignore[arg-type]
    size = WIDTH // 8
    found = []
    for number, x in enumerate(columns):
        read: list[float] = []
        for head in range(8):
            of = slice(head * size, (head + 1) * size)
            query = told[number][:WIDTH][of]
            keys = [each[WIDTH : 2 * WIDTH][of] for each in told]
            values = [each[2 * WIDTH :][of] for each in told]
            alike = [sum(q * k for q, k in zip(query, key, strict=True)) for key in keys]
            weights = [math.exp((each - max(alike)) / math.sqrt(size)) for each in alike]
            total = sum(weights)
            read += [
                sum(w * value[place] for w, value in zip(weights, values, strict=True)) / total
                for place in range(size)
            ]
        x = [a + b for a, b in zip(x, linear(part.out, read), strict=True)]  # type: ignore[arg-type]
        wide = linear(part.wide, normed(part.thinks, x))  # type: ignore[arg-type]
        thought = linear(part.back, [silu(v) for v in wide])  # type: ignore[arg-type]
        found.append([a + b for a, b in zip(x, thought, strict=True)])
    return found


@torch.no_grad()
def test_the_reader_is_two_branches_over_columns() -> None:
    reader, shown = lively(LineReader()), torch.rand(1, 3, HEIGHT, 3 * STEP) * 255
    assert reader.norm.eps == 1e-6
    x = reader.blocks(reader.stem(shown))
    assert x.shape == (1, 384, 3, 6), "rows are thinned twice more, columns are not"
    pooled = [x[0, :, :, 2 * n : 2 * n + 2].mean((1, 2)).tolist() for n in range(3)]
    narrow = [[silu(v) for v in linear(reader.narrow, place)] for place in pooled]
    assert reader.near.bias is not None
    weight, bias = reader.near.weight.tolist(), reader.near.bias.tolist()
    columns = []
    for number in range(3):
        near = [
            sum(weight[c][0][0][n - number + 3] * narrow[n][c] for n in range(3)) + bias[c]
            for c in range(WIDTH)
        ]
        columns.append([a + silu(b) for a, b in zip(narrow[number], near, strict=True)])
    for part in reader.mixing:
        columns = mixed(part, columns)
    expected = [
        [a + silu(b) for a, b in zip(normed(reader.norm, column), linear(reader.short, place),
                                     strict=True)]
        for column, place in zip(columns, pooled, strict=True)
    ]  # fmt: skip
    features, logits = reader(shown)
    close(features[0], torch.tensor(expected))
    close(logits[0], torch.tensor([linear(reader.letter, each) for each in expected]))


@torch.no_grad()
def test_strips_of_a_batch_are_each_alone() -> None:
    reader, shown = lively(LineReader()), torch.rand(3, 3, HEIGHT, 40) * 255
    for row, parts in enumerate(zip(*reader(shown), strict=True)):
        for together, alone in zip(parts, reader(shown[row : row + 1]), strict=True):
            close(together, alone[0], rtol=1e-9, atol=1e-9)  # logits of up to 20,000


def test_a_column_sees_all_of_its_strip_and_of_no_other() -> None:
    reader = lively(LineReader())
    shown = (torch.rand(2, 3, HEIGHT, 6 * STEP) * 255).requires_grad_()
    reader(shown)[0][0, 0].sum().backward()
    assert shown.grad is not None and not shown.grad[1].any()
    assert (shown.grad[0].abs().sum((0, 1)) > 0).all()
