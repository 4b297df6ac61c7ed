"""Finding tokens and picking them, the loss of it, and evidence as marks of tokens."""

import pytest
import torch
from torch import Tensor

from encoders.finder import UNKNOWN, Finder, finding_loss
from encoders.position import sine
from encoders.tiling import Grid
from encoders.vision.sheet import ImageTokens, Sheet
from vqa.datasets import Example
from vqa.marking import marks_of

DIM = 8
close = torch.testing.assert_close


@pytest.fixture
def finder() -> Finder:
    torch.manual_seed(0)
    return Finder(DIM).double()


def tokens(batch: int, length: int, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(batch, length, DIM, dtype=torch.float64, generator=generator)


def bits(batch: int, length: int, share: float, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.rand(batch, length, generator=generator) < share


def test_a_logit_is_a_tokens_own(finder: Finder) -> None:
    read = tokens(3, 7)
    logits = finder(read)
    assert logits.shape == (3, 7)
    for row in range(3):
        for column in range(7):
            own = (finder.mark.weight[0] * read[row, column]).sum() + finder.mark.bias[0]
            close(logits[row, column], own, rtol=0, atol=1e-12)


def test_chosen_are_the_likely_the_marked_and_never_pads(finder: Finder) -> None:
    logits = tokens(4, 30)[..., 0]
    mask = bits(4, 30, 0.7, seed=1)
    marks = torch.randint(-1, 2, (4, 30), generator=torch.Generator().manual_seed(2))
    assert {UNKNOWN, 0, 1} == set(marks.unique().tolist())
    free, told = finder.chosen(logits, mask), finder.chosen(logits, mask, marks)
    assert free.dtype == told.dtype == torch.bool
    for row in range(4):
        for column in range(30):
            real, likely = bool(mask[row, column]), bool(logits[row, column] > 0)
            mark = int(marks[row, column])
            assert bool(free[row, column]) == (real and likely)
            by_mark = likely if mark == UNKNOWN else mark == 1
            assert bool(told[row, column]) == (real and by_mark)


def test_picked_tokens_keep_their_order(finder: Finder) -> None:
    read, shown = tokens(5, 200), tokens(5, 200, seed=1)
    chosen = bits(5, 200, 0.3)
    chosen[1], chosen[2] = False, True
    picked, mask, which = finder.pick(read, shown, chosen)
    assert picked.shape == (5, 200, DIM) and mask.shape == which.shape == (5, 200)
    for row in range(5):
        expected = [column for column in range(200) if chosen[row, column]]
        assert which[row][mask[row]].tolist() == expected
        assert mask[row].tolist() == [number < len(expected) for number in range(200)]
        for number, column in enumerate(expected):
            told = finder.again(shown[row, column])
            place = sine(torch.tensor(number), DIM).double()
            close(picked[row, number], read[row, column] + told + place, rtol=0, atol=1e-12)


def test_pick_is_as_long_as_the_most_and_never_empty(finder: Finder) -> None:
    read = tokens(2, 9)
    chosen = torch.zeros(2, 9, dtype=torch.bool)
    picked, mask, _ = finder.pick(read, read, chosen)
    assert picked.shape == (2, 1, DIM) and not mask.any()
    chosen[0, [3, 7]] = True
    picked, mask, which = finder.pick(read, read, chosen)
    assert picked.shape == (2, 2, DIM) and mask.tolist() == [[True, True], [False, False]]
    assert which[0].tolist() == [3, 7]


def test_gradients_reach_what_was_picked_alone(finder: Finder) -> None:
    read, shown = tokens(2, 20).requires_grad_(), tokens(2, 20, seed=1).requires_grad_()
    chosen = bits(2, 20, 0.4)
    picked, mask, _ = finder.pick(read, shown, chosen)
    picked[mask].square().sum().backward()
    for leaf in (read, shown):
        assert leaf.grad is not None
        assert torch.equal(leaf.grad.abs().sum(-1) > 0, chosen)


def naive_loss(logits: Tensor, marks: Tensor, mask: Tensor) -> Tensor:
    """The mean over marked tokens, and that over unmarked ones, token by token."""
    held: dict[int, list[Tensor]] = {0: [], 1: []}
    for row in range(len(logits)):
        for column in range(logits.shape[1]):
            mark = int(marks[row, column])
            if mask[row, column] and mark != UNKNOWN:
                likely = torch.sigmoid(logits[row, column])
                held[mark].append(-torch.log(likely if mark else 1 - likely))
    means = [torch.stack(each).mean() for each in held.values() if each]
    return sum(means, torch.zeros((), dtype=logits.dtype))


@pytest.mark.parametrize("kinds", [(-1, 0, 1), (0, 1), (0,), (1,), (-1,)])
def test_the_loss_is_the_loop(kinds: tuple[int, ...]) -> None:
    ours = tokens(3, 40)[..., 0].float().requires_grad_()
    theirs = ours.detach().double().requires_grad_()
    marks = torch.tensor(kinds)[torch.arange(120).view(3, 40) * 7 % 11 % len(kinds)]
    mask = bits(3, 40, 0.8)
    mine, judged = finding_loss(ours, marks, mask), naive_loss(theirs, marks, mask)
    close(mine.double(), judged, rtol=1e-5, atol=1e-6)
    mine.backward()
    if judged.requires_grad:
        judged.backward()
    expected = torch.zeros_like(ours) if theirs.grad is None else theirs.grad.float()
    close(ours.grad, expected, rtol=1e-4, atol=1e-6)
    assert bool(expected.any()) == (kinds != (-1,))


def test_the_loss_is_finite_for_any_logit() -> None:
    logits = torch.tensor([[1000.0, -1000.0]], dtype=torch.bfloat16)
    loss = finding_loss(logits, torch.tensor([[0, 1]]), torch.ones(1, 2, dtype=torch.bool))
    assert loss.dtype == torch.float32 and loss.item() == pytest.approx(2000, rel=0.01)


def boxed(*boxes: tuple[float, float, float, float]) -> Example:
    return Example("q", "image", "?", ("a",), evidence=boxes)


def naive_marks(example: Example, image: ImageTokens, number: int) -> list[int]:
    marks = []
    high, wide = image.pitch[number].tolist()
    for (row, column), real in zip(
        image.places[number].tolist(), image.mask[number].tolist(), strict=True
    ):
        down, across = (row + 0.5) * high, (column + 0.5) * wide
        marks.append(
            int(
                real
                and any(
                    left <= across < right and top <= down < bottom
                    for left, top, right, bottom in example.evidence
                )
            )
        )
    return marks if any(marks) else [UNKNOWN] * len(marks)


def test_marks_are_the_loop() -> None:
    torch.manual_seed(0)
    places = torch.randint(0, 20, (3, 60, 2)).float()
    mask = torch.arange(60) < torch.tensor([60, 45, 1])[:, None]
    grids: list[tuple[Grid, ...]] = [(Grid(1, int(count)),) for count in mask.sum(1)]
    pitch = torch.tensor([[0.05, 0.05], [0.03, 0.06], [0.5, 0.5]])
    image = ImageTokens(torch.zeros(3, 60, DIM), mask, grids, places, pitch)
    examples = [
        boxed((0.2, 0.1, 0.6, 0.5)),
        boxed((0.0, 0.0, 0.3, 0.3), (0.5, 0.2, 0.9, 0.4)),
        boxed(),
        boxed((0.999, 0.999, 1.0, 1.0)),
        boxed((0.0, 0.0, 1.0, 1.0)),
    ]
    index = torch.tensor([1, 0, 1, 0, 2])
    marks = marks_of(examples, image, index)
    assert marks.shape == (5, 60)
    judged = [naive_marks(e, image, i) for e, i in zip(examples, index.tolist(), strict=True)]
    assert marks.tolist() == judged
    assert [set(row) for row in judged] == [{0, 1}, {0, 1}, {UNKNOWN}, {UNKNOWN}, {UNKNOWN}]


def test_a_box_marks_the_patches_under_it() -> None:
    """On a sheet of patches of an image whose last ones are not whole, overview included."""
    sheet = Sheet([torch.zeros(3, 70, 105, dtype=torch.uint8)], 10, 4, overview=True)
    image = sheet.encode(
        lambda tiles: torch.ones(int(tiles.real.sum()), DIM),
        2**20,
        torch.float32,
        torch.device("cpu"),
    )
    grid, small = image.grids[0]
    close(image.pitch, torch.tensor([[10 / 70, 10 / 105]]))
    box = (20 / 105, 30 / 70, 50 / 105, 60 / 70)
    marks = marks_of([boxed(box)], image, torch.tensor([0]))[0]
    whole = marks[: grid.size].view(grid)
    assert whole.nonzero().tolist() == [[r, c] for r in (3, 4, 5) for c in (2, 3, 4)]
    assert 0 < int(marks[grid.size :].sum()) < small.size


def test_rows_are_images_in_any_order_and_number() -> None:
    grids: list[tuple[Grid, ...]] = [(Grid(1, 3),), (Grid(1, 2),), (Grid(1, 1),)]
    mask = torch.arange(3) < torch.tensor([3, 2, 1])[:, None]
    pitch = torch.rand(3, 2)
    image = ImageTokens(tokens(3, 3), mask, grids, torch.rand(3, 3, 2), pitch)
    rows = image.rows([2, 0, 0])
    for row, number in enumerate((2, 0, 0)):
        for mine, theirs in zip(rows, image, strict=True):
            same = mine[row] == theirs[number]
            assert same if isinstance(same, bool) else same.all()
    rows.tokens.zero_(), rows.places.zero_(), rows.mask.zero_()
    assert image.tokens.all() and image.mask.sum() == 6 and image.places.any(), "rows is a copy"
