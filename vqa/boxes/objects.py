"""Statements about scattered objects, and about boxes of either kind."""

import random
from collections.abc import Callable

from vqa.boxes.scene import COLORS, SHAPES, Box, Scene, Thing
from vqa.boxes.traits import Trait, colors_of, contents_of
from vqa.boxes.wording import NUMBERS, Claim, amount_of, plural_of, there_is


def _noun(rng: random.Random) -> tuple[str, Callable[[Thing], bool]]:
    color = rng.choice((None, *COLORS, *COLORS))
    shape = rng.choice((None, *SHAPES, *SHAPES))
    size = rng.choices((None, "small", "big"), (20, 1, 0.5))[0]
    pixels = {"small": 10, "big": 30}.get(size or "")
    noun = shape or rng.choice(("object", "item"))
    words = " ".join(word for word in (size, color, noun) if word)

    def fits(thing: Thing) -> bool:
        return (
            (color is None or thing.color == color)
            and (shape is None or thing.shape == shape)
            and (pixels is None or thing.size == pixels)
        )

    return words, fits


def _touching(rng: random.Random) -> tuple[str, Callable[[Thing], bool]]:
    closely = rng.choice(("touching", "touching", "closely touching"))
    kind = rng.choices(("any", "bottom", "corner", "side", "not"), (6, 3, 2, 2, 4))[0]
    if kind == "any":
        edge = rng.choice(("the edge", "an edge", "the wall", "the edge", "the side"))
        return f"{closely} {edge}", lambda thing: bool(thing.edges)
    if kind == "not":
        edge = rng.choice(("the edge", "any edge", "any edge", "the wall"))
        return f"not touching {edge}", lambda thing: not thing.edges
    if kind == "bottom":
        edge = rng.choice(("the base", "the bottom of a box", "the bottom", "the base edge"))
        return f"{closely} {edge}", lambda thing: "bottom" in thing.edges
    if kind == "corner":
        edge = rng.choice(("the corner", "a corner", "a corner of a box", "a box corner"))
        return f"{closely} {edge}", lambda thing: len(thing.edges) == 2
    side = rng.choice(("right", "right", "left", "top"))
    edge = f"{side} wall of a box" if side != "top" else "the top of a box"
    return f"{closely} {edge}", lambda thing: side in thing.edges


def objects(scene: Scene, rng: random.Random) -> Claim:
    noun, fits = _noun(rng)
    if rng.random() < 0.25:
        return there_is(scene.things_that(fits), amount_of(rng, 5), noun)
    where, touches = _touching(rng)
    found = scene.things_that(lambda thing: fits(thing) and touches(thing))
    return there_is(found, amount_of(rng), noun, where)


def those(scene: Scene, rng: random.Random) -> Claim:
    noun, fits = _noun(rng)
    where, touches = _touching(rng)
    found = scene.things_that(fits)
    touching = scene.things_that(lambda thing: fits(thing) and touches(thing))
    kind = rng.choice(("bare", "all", "none", "box"))
    if kind in ("bare", "all"):
        before = "all " if kind == "all" else ""
        return Claim(f"{before}{plural_of(noun)} are {where}", 0 < len(found) == len(touching))
    if kind == "none":
        return Claim(f"none of the {plural_of(noun)} are {where}", not touching, touching)
    held = scene.boxes_that(lambda box: any(map(fits, box)))
    return Claim(f"all {plural_of(noun)} are in the same box", len(held) == 1, held)


def _box_trait(scene: Scene, rng: random.Random) -> Trait:
    kind = rng.choice(("colours", "items", "nouns", "on top" if scene.towers else "touching"))
    noun = rng.choice(("item", "item", "object"))
    if kind == "colours":
        return contents_of(rng, noun)
    if kind == "items":
        number = rng.randint(1, 4 if scene.towers else 8)
        said = rng.choice((NUMBERS[number], str(number)))
        style = rng.choice(("", "", "exactly ", "only ", "at least "))
        words = f"{style}{said} {noun}{'s' * (number > 1)}"
        most = 99 if style == "at least " else number
        which = rng.random()
        if which < 0.3:
            color = rng.choice(COLORS)
            end = rng.choice((f"and a {color} {noun} on top", f"and a {color} one on top"))
            return Trait(
                f"{words} {end}",
                lambda box: number <= len(box) <= most and _highest(box).color == color,
            )
        if which < 0.5:
            color, other = rng.sample(COLORS, 2)
            return Trait(
                f"{words} of {color} and {other} color",
                lambda box: number <= len(box) <= most and colors_of(box) == {color, other},
            )
        return Trait(words, lambda box: number <= len(box) <= most)
    if kind == "on top":
        color = rng.choice(COLORS)
        return Trait(f"a {color} {noun} on top", lambda box: _highest(box).color == color)
    first, fits = _noun(rng)
    if kind == "touching":
        where, touches = _touching(rng)
        amount = amount_of(rng, 2)
        return Trait(
            f"{amount.of(first)} {where}",
            lambda box: amount.holds(sum(fits(thing) and touches(thing) for thing in box)),
        )
    second, also = _noun(rng)
    return Trait(
        f"a {first} and a {second}",
        lambda box: any(map(fits, box)) and any(map(also, box)),
    )


def _highest(box: Box) -> Thing:
    return min(box, key=lambda thing: thing.y)


def boxes(scene: Scene, rng: random.Random) -> Claim:
    trait = _box_trait(scene, rng)
    found = scene.boxes_that(trait.holds)
    kind = rng.choices(("there", "one of", "each"), (6, 2, 1.5))[0]
    if kind == "there":
        noun = rng.choice(("box", "box", "grey box"))
        return there_is(found, amount_of(rng), noun, f"with {trait.words}")
    name = rng.choice(("grey box", "grey square", "grey boxes"))
    verb = rng.choice(("has", "contains"))
    if kind == "one of":
        return Claim(f"one of the {name} {verb} {trait.words}", bool(found), found)
    words = f"each {rng.choice(('box', 'grey box'))} {verb} {trait.words}"
    return Claim(words, len(found) == 3, found)
