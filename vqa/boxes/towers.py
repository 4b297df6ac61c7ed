"""Statements about towers and the blocks in them."""

import random

from vqa.boxes.scene import COLORS, Scene
from vqa.boxes.traits import (
    colors_of,
    end_of,
    height_of,
    linked,
    order_of,
    tower_trait,
)
from vqa.boxes.wording import NUMBERS, Claim, amount_of, there_is


def towers(scene: Scene, rng: random.Random) -> Claim:
    amount, trait = amount_of(rng), tower_trait(rng)
    found = scene.boxes_that(trait.holds)
    return there_is(found, amount, "tower", f"{linked(rng)} {trait.words}")


def block_as(scene: Scene, rng: random.Random) -> Claim:
    amount, color, (end, index) = amount_of(rng), rng.choice(COLORS), end_of(rng)
    words, height = f"as the {end} of a tower", None
    if rng.random() < 0.5:
        height = height_of(rng)
        words += f" with {height.words}"
    ends = [box[index] for box in scene.boxes if height is None or height.holds(box)]
    found = scene.things_that(
        lambda thing: thing.color == color and any(thing is end for end in ends)
    )
    return there_is(found, amount, f"{color} block", words)


def block_on(scene: Scene, rng: random.Random) -> Claim:
    trait = order_of(rng)
    denied = rng.random() < 0.2
    before = rng.choice(("there is", "there is at least one"))
    words = trait.words if before == "there is" else trait.words.removeprefix("a ")
    found = scene.boxes_that(trait.holds)
    if denied:
        return Claim(f"there is no {trait.words.removeprefix('a ')}", not found, found)
    return Claim(f"{before} {words}", bool(found), found)


def plain_tower(scene: Scene, rng: random.Random) -> Claim:
    color = rng.choice(COLORS)
    alone = rng.random() < 0.4
    rest = rng.choice(("with only one block", "with one block")) if alone else ""
    found = scene.boxes_that(lambda box: colors_of(box) == {color} and (len(box) == 1 or not alone))
    return there_is(found, amount_of(rng, 2), f"{color} tower", rest)


def alike(scene: Scene, rng: random.Random) -> Claim:
    name, of = rng.choice(
        (
            ("height", len),
            ("base color", lambda box: box[0].color),
            ("top color", lambda box: box[-1].color),
        )
    )
    values = [of(box) for box in scene.boxes]
    distinct = len(set(values))
    kind = rng.choice(("least", "only", "all", "different"))
    having = rng.choice(("with", "that has", "which has", "of"))
    if kind == "least":
        amount = rng.choice(("at least ", ""))
        return Claim(f"there are {amount}two towers {having} the same {name}", distinct < 3)
    if kind == "only":
        return Claim(f"there are only two towers {having} the same {name}", distinct == 2)
    if kind == "all":
        number = rng.choice(("three", "3"))
        return Claim(f"all {number} towers have the same {name}", distinct == 1)
    return Claim(f"all towers have different {name}", distinct == 3)


def each_tower(scene: Scene, rng: random.Random) -> Claim:
    trait = tower_trait(rng)
    found = scene.boxes_that(trait.holds)
    number = rng.choice(("3", "three"))
    words, least, most = rng.choice(
        (
            (f"all {number} towers have", 3, 3),
            ("each tower has", 3, 3),
            (f"two of the {number} towers has", 2, 2),
            ("one tower has", 1, 3),
            ("none of the towers have", 0, 0),
        )
    )
    return Claim(f"{words} {trait.words}", least <= len(found) <= most, found)


def the_tower(scene: Scene, rng: random.Random) -> Claim:
    number, color, (end, index) = rng.randint(1, 4), rng.choice(COLORS), end_of(rng)
    said = NUMBERS[number] + (" blocks" if number > 1 else " block")
    words = rng.choice(
        (
            f"the tower with {said} has a {color} block at the {end}",
            f"the {end} of the tower with {said} is {color}",
            f"the {end} of the {said} tower is {color}",
        )
    )
    found = scene.boxes_that(lambda box: len(box) == number and box[index].color == color)
    return Claim(words, bool(found), found)


def total(scene: Scene, rng: random.Random) -> Claim:
    """How many blocks of a colour there are."""
    color = rng.choice(COLORS)
    found = scene.things_that(lambda thing: thing.color == color)
    return there_is(found, amount_of(rng, 6), f"{color} block")
