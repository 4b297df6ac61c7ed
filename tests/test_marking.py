"""Answers as marks of tokens: from boxes, from letters, and from both."""

from itertools import combinations

import pytest
import torch
from torch import Tensor

from encoders.runs import AGAIN, HOLDS, ON, UNKNOWN
from encoders.tiling import Grid
from encoders.vision.sheet import ImageTokens, Sheet
from vqa import aligning
from vqa.aligning import align
from vqa.datasets import Example
from vqa.marking import boxed, marks_of

DIM = 4
LETTERS = "abcdefghij.0123456789"
Box = tuple[float, float, float, float]


def ids(text: str) -> Tensor:
    return torch.tensor([LETTERS.index(letter) for letter in text], dtype=torch.long)


def named(text: str, sure: float = 0.95) -> Tensor:
    """Log-probabilities `[N, V]` of letters read as `text`."""
    names = torch.full((len(text), len(LETTERS)), (1 - sure) / (len(LETTERS) - 1))
    names[torch.arange(len(text)), ids(text)] = sure
    return names.log()


def line(text: str) -> ImageTokens:
    """An image of one line of letters, a tenth of its height and a hundredth of its width each."""
    count = len(text)
    places = torch.stack([torch.zeros(count), torch.arange(count)], 1).float()[None]
    mask = torch.ones(1, count, dtype=torch.bool)
    pitch = torch.tensor([[0.1, 0.01]])
    return ImageTokens(torch.zeros(1, count, DIM), mask, [(Grid(1, count),)], places, pitch)


def example(*boxes: Box) -> Example:
    return Example("q", "image", "?", ("a",), evidence=boxes)


def marked(text: str, answer: str, *boxes: Box, read: str | None = None) -> Tensor:
    names = named(read or text)[None]
    return marks_of([example(*boxes)], line(text), torch.tensor([0]), [ids(answer)], names)[0]


def naive_boxed(example: Example, image: ImageTokens, number: int) -> list[bool]:
    high, wide = image.pitch[number].tolist()
    return [
        real
        and any(
            left <= (column + 0.5) * wide < right and top <= (row + 0.5) * high < bottom
            for left, top, right, bottom in example.evidence
        )
        for (row, column), real in zip(
            image.places[number].tolist(), image.mask[number].tolist(), strict=True
        )
    ]


def test_boxed_is_the_loop() -> None:
    torch.manual_seed(0)
    places = torch.randint(0, 20, (3, 60, 2)).float()
    mask = torch.arange(60) < torch.tensor([60, 45, 1])[:, None]
    grids: list[tuple[Grid, ...]] = [(Grid(1, int(count)),) for count in mask.sum(1)]
    pitch = torch.tensor([[0.05, 0.05], [0.03, 0.06], [0.5, 0.5]])
    image = ImageTokens(torch.zeros(3, 60, DIM), mask, grids, places, pitch)
    boxes = [
        example((0.2, 0.1, 0.6, 0.5)),
        example((0.0, 0.0, 0.3, 0.3), (0.5, 0.2, 0.9, 0.4)),
        example(),
        example((0.0, 0.0, 1.0, 1.0)),
    ]
    for each in boxes:
        for number in range(3):
            assert boxed(each, image, number).tolist() == naive_boxed(each, image, number)


def test_a_box_holds_the_patches_under_it() -> None:
    """On a sheet of patches of an image whose last ones are not whole, overview included."""
    sheet = Sheet([torch.zeros(3, 70, 105, dtype=torch.uint8)], 10, 4, overview=True)
    image = sheet.encode(
        lambda tiles: torch.ones(int(tiles.real.sum()), DIM),
        2**20,
        torch.float32,
        torch.device("cpu"),
    )
    grid, small = image.grids[0]
    held = boxed(example((20 / 105, 30 / 70, 50 / 105, 60 / 70)), image, 0)
    whole = held[: grid.size].view(grid)
    assert whole.nonzero().tolist() == [[r, c] for r in (3, 4, 5) for c in (2, 3, 4)]
    assert 0 < int(held[grid.size :].sum()) < small.size


def test_a_box_with_as_many_tokens_as_letters_names_them() -> None:
    """Whatever they are read as now."""
    marks = marked("face03.04", "03.04", (0.04, 0.0, 0.09, 0.1), read="faceabcde")
    assert marks.tolist() == [0] * 4 + [i + 1 + HOLDS for i in ids("03.04").tolist()]


def test_in_a_box_of_a_whole_line_the_answer_is_found_by_its_letters() -> None:
    marks = marked("face03.04abc", "03.04", (0.0, 0.0, 1.0, 0.1))
    assert (marks >= HOLDS).nonzero()[:, 0].tolist() == [4, 5, 6, 7, 8]
    assert (marks[4:9] - 1 - HOLDS).tolist() == ids("03.04").tolist()
    assert not marks[:4].any() and not marks[9:].any()


def test_without_a_box_it_is_found_anywhere() -> None:
    assert (marked("bad03.04face", "face") >= HOLDS).nonzero()[:, 0].tolist() == [8, 9, 10, 11]
    assert (marked("bad03.04face", "777") == UNKNOWN).all()


def test_an_illegible_box_is_marked_whole() -> None:
    marks = marked("face03.04", "03", (0.04, 0.0, 0.09, 0.1), read="faceabcde")
    assert marks.tolist() == [0] * 4 + [HOLDS] * 5


def naive_alignment(names: Tensor, letters: Tensor) -> float:
    """The best weight of all ways to give letters, in order, to tokens, in order, or to none."""
    best = -torch.inf
    count, length = len(names), len(letters)
    for number in range(min(count, length) + 1):
        for tokens in combinations(range(count), number):
            for taken in combinations(range(length), number):
                weight = (length - number) * aligning._MISS
                weight += sum(
                    float(names[n, letters[i]]) for n, i in zip(tokens, taken, strict=True)
                )
                if tokens:
                    weight += (tokens[-1] - tokens[0] + 1 - number) * aligning._SKIP
                best = max(best, weight)
    return best


@pytest.mark.parametrize("seed", range(12))
def test_the_alignment_is_the_best_of_all(seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    names = (
        3 * torch.randn(6, len(LETTERS), generator=generator, dtype=torch.float64)
    ).log_softmax(-1)
    likely = names.argmax(-1)
    keep = torch.randperm(6, generator=generator)[:4].sort().values
    letters = likely[keep]
    letters[seed % 4] = seed % 7
    expected = naive_alignment(names, letters)
    match = names[:, letters].numpy()
    assert aligning._forward(match)[0].max() == pytest.approx(expected)
    found = align(names, letters)
    if found is None:  # not legible enough to be believed
        return
    tokens = (found >= 0).nonzero()[:, 0].tolist()
    taken = found[found >= 0].tolist()
    assert taken == sorted(set(taken))
    weight = (len(letters) - len(taken)) * aligning._MISS
    weight += sum(float(names[n, letters[i]]) for n, i in zip(tokens, taken, strict=True))
    weight += (tokens[-1] - tokens[0] + 1 - len(tokens)) * aligning._SKIP
    assert weight == pytest.approx(expected)


def test_a_lost_letter_and_a_speck_do_not_shift_the_rest() -> None:
    found = align(named("ab3.5d7", 0.99), ids("13.57"))
    assert found is not None and found.tolist() == [-1, -1, 1, 2, 3, -1, 4]


def test_nothing_aligns_with_nothing() -> None:
    assert align(named("abc"), ids("")) is None
    assert align(named("abc")[:0], ids("a")) is None


@pytest.mark.parametrize(
    ("text", "again"),
    (
        ("a 1.5 b1.5", []),  # of one word with the letter before it
        ("a 1.5 b 1.5 c", [8]),
        ("1.5 1.5 1.5", [4, 8]),
        ("1.5 1.55 21.5", []),
        ("1.5 1.4", []),
    ),
)
def test_words_that_show_the_answer_again_are_marked(text: str, again: list[int]) -> None:
    """A blank is a gap, not a token; the box is about the first place."""
    columns = [column for column, letter in enumerate(text) if letter != " "]
    letters = text.replace(" ", "")
    image = line(letters)
    image.places[0, :, 1] = torch.tensor(columns)
    start = text.index("1")
    box = (start * 0.01, 0.0, (start + 3) * 0.01, 0.1)
    names = named(letters)[None]
    marks = marks_of([example(box)], image, torch.tensor([0]), [ids("1.5")], names)[0].tolist()
    by_column = dict(zip(columns, marks, strict=True))
    assert [column for column, mark in by_column.items() if mark == AGAIN] == again
    assert [column for column, mark in by_column.items() if mark == ON] == [
        column + step for column in again for step in (1, 2)
    ]
    assert [column for column, mark in by_column.items() if mark >= HOLDS] == [
        start,
        start + 1,
        start + 2,
    ]
