"""Generated pictures of three boxes: answers are right, and what is drawn is what is said."""

import random
import re
from itertools import combinations
from typing import Any

import pytest
import torch
from torch import Tensor

from vqa import datasets
from vqa.boxes import statements
from vqa.boxes.drawing import PAINT
from vqa.boxes.scene import COLORS, GAP, SHAPES, SIDE, Box, Scene, Thing, draw
from vqa.datasets import DataError


def boxes(split: str = "train", **options: Any) -> Any:
    return datasets.create("boxes", split=split, **options)


def tower(*colors: str) -> Box:
    """A tower, from the ground up."""
    return tuple(Thing(color, "square", 20, 40, 80 - 21 * n) for n, color in enumerate(colors))


def test_pictures_show_the_counts() -> None:
    data = boxes(kinds="count", questions=1, count=60)
    for index in range(len(data)):
        example, picture = data.render(index)
        assert picture.shape == (3, 100, 400) and picture.dtype == torch.uint8
        found = re.fullmatch(r"How many (\w+) (\w+)s are there in total\?", example.question)
        assert found
        color, shape = found.groups()
        middles = blobs(picture, color)
        scene = data.scene(index)
        of_color = [thing for thing in scene.things if thing.color == color]
        assert middles == len(of_color)
        assert example.answers == (
            str(sum(shape in (thing.shape, "object") for thing in of_color)),
        )


def blobs(picture: Tensor, color: str) -> int:
    """Pieces of one colour that hang together, told from the pixels alone."""
    paint = torch.tensor(PAINT[color]).view(3, 1, 1)
    left = {(int(y), int(x)) for y, x in (picture == paint).all(0).nonzero()}
    number = 0
    while left:
        number += 1
        queue = [left.pop()]
        while queue:
            y, x = queue.pop()
            near = {(y + 1, x), (y - 1, x), (y, x + 1), (y, x - 1)} & left
            left -= near
            queue += near
    return number


def test_objects_stay_in_their_box_and_apart() -> None:
    rng = random.Random(0)
    scenes = [draw(rng) for _ in range(200)]
    assert {scene.towers for scene in scenes} == {True, False}
    for scene in scenes:
        for box in scene.boxes:
            assert box
            assert all(0 <= t.x <= SIDE - t.size and 0 <= t.y <= SIDE - t.size for t in box)
            assert all(one.apart(other) for one, other in combinations(box, 2))


def test_statements_about_towers_mean_what_they_say() -> None:
    scene = Scene(True, (tower("black", "blue"), tower("yellow"), tower("blue", "blue", "black")))
    told = said(scene, 6_000)
    expected = {
        "there is a tower with a blue block over a black block": "true",
        "there is a tower with a yellow block over a black block": "false",
        "there is one tower with a black block at the top": "true",
        "there is exactly one tower with a blue block at the base": "true",
        "there is no tower with a black block at the base": "false",
        "there are two towers with a blue block at the base": "false",
        "there are three blue blocks": "true",
        "there is a yellow tower with only one block": "true",
        "there is a black block on a blue block": "true",
        "there is a blue block below a black block": "true",
        "all three towers have the same height": "false",
        "all towers have different height": "true",
    }
    known = {words: told[words] for words in expected if words in told}
    assert len(known) > 4
    assert known == {words: expected[words] for words in known}


def test_statements_about_scattered_objects_mean_what_they_say() -> None:
    scene = Scene(
        False,
        (
            (Thing("black", "circle", 10, 90, 40), Thing("blue", "square", 20, 30, 80)),
            (Thing("yellow", "triangle", 30, 70, 70),),
            (Thing("yellow", "circle", 20, 30, 30), Thing("black", "circle", 20, 60, 60)),
        ),
    )
    told = said(scene, 12_000)
    expected = {
        "there is a black circle touching the edge": "true",
        "there is a yellow circle touching the edge": "false",
        "there is a yellow triangle touching a corner": "true",
        "there is a blue square touching the base": "true",
        "there is a black circle touching the base": "false",
        "there are two black circles": "true",
        "there is a circle not touching any edge": "true",
        "all yellow objects are in the same box": "false",
        "there is a box with a black circle and a blue square": "true",
        "one of the grey box has exactly two objects": "true",
        "each box has exactly two items": "false",
    }
    known = {words: told[words] for words in expected if words in told}
    assert len(known) > 3
    assert known == {words: expected[words] for words in known}


def said(scene: Scene, number: int) -> dict[str, str]:
    """What is said of `scene` in so many statements, plainly written, and whether it is true."""
    rng = random.Random(0)
    claims = [statements.state(scene, rng, rng.random() < 0.5) for _ in range(number)]
    told = {True: "true", False: "false"}
    return {
        claim.words[0].lower() + claim.words[1:].rstrip("."): told[claim.holds] for claim in claims
    }


def test_a_statement_never_changes_its_truth() -> None:
    rng = random.Random(1)
    for _ in range(6):
        told: dict[str, bool] = {}
        scene = draw(rng)
        for _ in range(400):
            words, truth, _ = statements.state(scene, rng, rng.random() < 0.5)
            assert told.setdefault(words.lower().rstrip("."), truth) == truth


def test_evidence_is_around_what_is_counted() -> None:
    """Of counts each thing, of statements things or whole boxes; as many as `count` says."""
    data = boxes(count=400)
    whole = 0
    for index in range(len(data)):
        example, scene = data[index], data.scene(index)
        if example.meta is None:
            assert example.answer_type == "statement" and not example.evidence
            continue
        assert len(set(example.evidence)) == len(example.evidence) == example.meta["count"]
        if example.answer_type == "count":
            assert example.answers == (str(example.meta["count"]),)
        areas = {
            tuple(round(x * side) for x, side in zip(region, (400, 100) * 2, strict=True))
            for region in example.evidence
        }
        things, all_boxes = scene.things_that(lambda _: True), scene.boxes_that(lambda _: True)
        assert areas <= set(things) or areas <= set(all_boxes)
        whole += bool(areas) and areas <= set(all_boxes)
        if example.answer_type == "count":
            picture = data.render(index)[1]
            for left, top, right, bottom in areas:
                middle = picture[:, (top + bottom) // 2, (left + right) // 2].tolist()
                assert tuple(middle) == PAINT[example.question.split()[2]]
    assert whole > 40


def test_things_stand_for_letters_at_their_middle() -> None:
    data = boxes(questions=1, count=30)
    for index in range(len(data)):
        example, picture = data.render(index)
        things = data.scene(index).things
        assert example.letters is not None and len(example.letters) == len(things)
        for thing, (code, row, column) in zip(things, example.letters.tolist(), strict=True):
            color, shape = divmod(code - ord("A"), 3)
            assert (COLORS[color], SHAPES[shape]) == (thing.color, thing.shape)
            assert tuple(picture[:, row, column].tolist()) == PAINT[thing.color]


def test_half_of_the_statements_are_true() -> None:
    data = boxes(kinds="statement", questions=8, count=800)
    answers = [data[index].answers[0] for index in range(len(data))]
    assert set(answers) == {"true", "false"}
    assert 0.4 < answers.count("true") / len(answers) < 0.6


def test_questions_about_a_picture_follow_each_other() -> None:
    data = boxes(questions=4, count=12)
    assert len({data[index].image for index in range(12)}) == 3
    assert [data[index].answer_type for index in range(4)] == ["count", "statement"] * 2
    assert torch.equal(data.render(0)[1], data.render(3)[1])
    assert not torch.equal(data.render(0)[1], data.render(4)[1])


def test_splits_and_seeds_differ_and_nothing_else() -> None:
    def asked(split: str, seed: int = 0) -> list[tuple[str, str]]:
        data = boxes(split, seed=seed, count=40)
        return [(data[i].question, data[i].answers[0]) for i in reversed(range(40))]

    assert asked("train") == asked("train")
    assert len({tuple(asked("train")), tuple(asked("val")), tuple(asked("train", 1))}) == 3


def test_between_the_boxes_nothing_is_drawn() -> None:
    for index in range(10):
        picture = boxes(count=80).render(index * 8)[1]
        assert len(picture[:, :, SIDE : SIDE + GAP].unique()) == 1


@pytest.mark.parametrize(
    ("options", "hint"),
    [
        ({"kinds": "counts"}, "count, statement"),
        ({"questions": 0}, "at least 1"),
        ({"count": 0}, "at least 1"),
    ],
)
def test_bad_options_are_refused(options: dict[str, Any], hint: str) -> None:
    with pytest.raises(DataError, match=hint):
        boxes(**options)


def test_another_size_is_refused() -> None:
    with pytest.raises(DataError, match="400 px"):
        boxes(count=8).render(0, 512)
