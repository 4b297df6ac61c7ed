"""Finding tokens and picking them, the loss of it, and evidence as marks of tokens."""

import pytest
import torch
from torch import Tensor

from encoders.finder import Finder, finding_loss, naming_loss
from encoders.position import sine
from encoders.runs import AGAIN, HOLDS, ON, UNKNOWN, likeliest_run
from encoders.tiling import Grid
from encoders.vision.sheet import ImageTokens

DIM, HEADS, VOCABULARY = 8, 2, 12
close = torch.testing.assert_close


@pytest.fixture
def finder() -> Finder:
    torch.manual_seed(0)
    return Finder(DIM, HEADS, VOCABULARY).double()


def tokens(batch: int, length: int, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(batch, length, DIM, dtype=torch.float64, generator=generator)


def bits(batch: int, length: int, share: float, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.rand(batch, length, generator=generator) < share


def test_asking_is_attention_over_the_words_or_none(finder: Finder) -> None:
    torch.nn.init.normal_(finder.none)
    shown, letters = tokens(3, 6), tokens(3, 6, seed=1)
    words, spelt, mask = tokens(3, 4, seed=2), tokens(3, 4, seed=3), bits(3, 4, 0.6, seed=4)
    mask[2] = False
    asked = finder.ask(shown, letters, words, spelt, mask)
    for row in range(3):
        real = [t for t in range(4) if mask[row, t]]
        keys = [finder.none[0, 0, 0], *(finder.alike(finder.spelt(spelt[row, t])) for t in real)]
        values = [finder.none[1, 0, 0], *(finder.value(finder.words(words[row, t])) for t in real)]
        for place in range(6):
            query = finder.alike(finder.spelt(letters[row, place]))
            read = []
            for head in range(HEADS):
                part = slice(head * DIM // HEADS, (head + 1) * DIM // HEADS)
                products = torch.stack([key[part] @ query[part] for key in keys])
                weight = (products / (DIM // HEADS) ** 0.5).softmax(0)
                read.append(weight @ torch.stack(values)[:, part])
            expected = shown[row, place] + finder.told(torch.cat(read))
            close(asked[row, place], expected, rtol=0, atol=1e-12)


def test_a_token_is_handed_with_its_neighbours_and_pads_are_nothing(finder: Finder) -> None:
    picked = tokens(2, 7)
    mask = torch.arange(7) < torch.tensor([7, 4])[:, None]
    handed = finder.handed(picked, mask)
    assert handed.shape == (2, 8, DIM)
    for row in range(2):
        for place in range(8):
            expected = torch.zeros(DIM, dtype=torch.float64)
            if place < int(mask[row].sum()):
                expected = finder.hand.bias.clone()
                for side in range(-2, 3):
                    if 0 <= place + side < int(mask[row].sum()):
                        expected += finder.hand.weight[:, :, side + 2] @ picked[row, place + side]
            close(handed[row, place], expected, rtol=0, atol=1e-12)


def test_a_logit_is_a_tokens_own(finder: Finder) -> None:
    read = tokens(3, 7)
    logits, edges = finder(read)
    assert logits.shape == (3, 7) and edges.shape == (3, 7, 2)
    for row in range(3):
        for column in range(7):
            own = (finder.mark.weight[0] * read[row, column]).sum() + finder.mark.bias[0]
            close(logits[row, column], own, rtol=0, atol=1e-12)
            ends = finder.edge.weight @ read[row, column] + finder.edge.bias
            close(edges[row, column], ends, rtol=0, atol=1e-12)


def test_chosen_are_the_marked_or_the_likeliest_run(finder: Finder) -> None:
    logits, edges = tokens(4, 30)[..., 0], tokens(4, 30, seed=1)[..., :2]
    mask = torch.arange(30) < torch.tensor([30, 25, 30, 12])[:, None]
    marks = torch.randint(-3, 5, (4, 30), generator=torch.Generator().manual_seed(2))
    assert {ON, AGAIN, UNKNOWN, 0, HOLDS} < set(marks.unique().tolist())
    free = finder.chosen(logits, edges, mask)
    told = finder.chosen(logits, edges, mask, marks)
    assert free.dtype == told.dtype == torch.bool
    assert torch.equal(free, likeliest_run(logits, edges, mask))
    for row in range(4):
        for column in range(30):
            mark = int(marks[row, column])
            by_mark = bool(free[row, column]) if mark == UNKNOWN else mark >= HOLDS
            assert bool(told[row, column]) == (bool(mask[row, column]) and by_mark)


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
    """For each row the sum over its tokens over the number that hold something; their mean."""
    rows = []
    for row in range(len(logits)):
        each, held = [], 0
        for column in range(logits.shape[1]):
            mark = int(marks[row, column])
            if mask[row, column] and mark != UNKNOWN:
                likely = torch.sigmoid(logits[row, column])
                each.append(-torch.log(likely if mark else 1 - likely))
                held += mark > 0
        if each:
            rows.append(torch.stack(each).sum() / max(1, held))
    if not rows:
        return torch.zeros((), dtype=logits.dtype)
    return torch.stack(rows).mean()


@pytest.mark.parametrize("kinds", [(-1, 0, 7), (0, 1), (0,), (1,), (-1,)])
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


def test_names_are_learned_where_they_are_told() -> None:
    names = torch.randn(2, 3, VOCABULARY, dtype=torch.float64, requires_grad=True)
    marks = torch.tensor([[UNKNOWN, HOLDS, 5 + 1 + HOLDS], [0, 1 + HOLDS, 0]])
    chance = names.softmax(-1)
    expected = -(chance[0, 2, 5].log() + chance[1, 1, 0].log()) / 2
    close(naming_loss(names, marks).double(), expected, rtol=1e-6, atol=0)
    none = naming_loss(names, marks.clamp(max=HOLDS))
    none.backward()
    assert none == 0 and names.grad is not None and not names.grad.any()


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
