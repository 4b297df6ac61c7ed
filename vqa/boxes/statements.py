"""Statements that are true or false of a scene, put together from the phrases of NLVR's annotators.

Written after the training and validation sentences of NLVR (v1); a few test sentences had been
glimpsed before, so that scores on its test split are not those of a grammar made wholly without
them. What is ambiguous means what it mostly means there: "one tower" is exactly one, "a tower" at
least one, and a block "over" another stands right on it.
"""

import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

from vqa.boxes.scene import COLORS, SHAPES, Area, Box, Scene, Thing

NUMBERS = ("no", "one", "two", "three", "four", "five", "six", "seven", "eight")

_TRIES = 30


@dataclass(frozen=True, slots=True)
class Amount:
    """How many there are said to be: "at least two"."""

    words: str
    least: int
    most: int

    @property
    def plural(self) -> bool:
        """Whether the noun after it is: "two towers", and "no towers" as well as "no tower"."""
        return self.words.rsplit(" ")[-1] not in ("a", "one", "1", "no")

    def holds(self, number: int) -> bool:
        """Whether that many there are."""
        return self.least <= number <= self.most


class Claim(NamedTuple):
    """What is said of a scene, whether it is true, and where the things, towers or boxes are whose
    number makes it so; None where it is not a matter of one number."""

    words: str
    holds: bool
    about: tuple[Area, ...] | None = None


@dataclass(frozen=True, slots=True)
class Trait:
    """What is said of a tower or a box, after its noun: "with a black block at the top"."""

    words: str
    holds: Callable[[Box], bool]


def state(scene: Scene, rng: random.Random, truth: bool) -> Claim:
    """A statement about `scene`: true or false as `truth` wants it, if one is found."""
    for _ in range(_TRIES):
        claim = rng.choices(*_KINDS[scene.towers])[0](scene, rng)
        if claim.holds == truth:
            break
    return claim._replace(words=_written(claim.words, rng))


def _written(words: str, rng: random.Random) -> str:
    """With or without a capital and a full stop."""
    if rng.random() < 0.6:
        words = words[0].upper() + words[1:]
    return words + "." * (rng.random() < 0.6)


def _amount(rng: random.Random, most: int = 3) -> Amount:
    number = rng.choices(
        range(1, most + 1), [most * 2 if n == 1 else 3 for n in range(1, most + 1)]
    )[0]
    said = rng.choice((NUMBERS[number], str(number)))
    style = rng.choices(
        ("a", "exact", "exactly", "only", "least", "most", "no"), (4, 5, 3, 1, 3, 0.5, 0.7)
    )[0]
    if style == "a" and number == 1:
        return Amount("a", 1, 99)
    if style == "least":
        return Amount(f"{rng.choice(('at least', 'atleast'))} {said}", number, 99)
    if style == "most":
        return Amount(f"at most {said}", 0, number)
    if style == "no":
        return Amount("no", 0, 0)
    before = {"exactly": "exactly ", "only": "only "}.get(style, "")
    return Amount(before + said, number, number)


def _there(amount: Amount, noun: str, rest: str = "") -> str:
    """ "there are two towers with ..." """
    verb, plural = ("are", _plural(noun)) if amount.plural else ("is", noun)
    return f"there {verb} {amount.words} {plural} {rest}".strip()


def _plural(noun: str) -> str:
    return f"{noun}es" if noun.endswith("box") else f"{noun}s"


def _there_is(found: tuple[Area, ...], amount: Amount, noun: str, rest: str = "") -> Claim:
    return Claim(_there(amount, noun, rest), amount.holds(len(found)), found)


# Towers


def _end(rng: random.Random) -> tuple[str, int]:
    """A word for an end of a tower, and the index of the block there."""
    return rng.choice((("top", -1), ("base", 0), ("base", 0), ("top", -1), ("bottom", 0)))


def _height(rng: random.Random) -> Trait:
    number = rng.randint(1, 4)
    style = rng.choice(("exactly ", "only ", "", "at least ", "more than "))
    if style == "more than " and number == 4:
        style = "exactly "
    said = rng.choice((NUMBERS[number], NUMBERS[number], str(number)))
    words = f"{style}{said} block{'s' if number > 1 else ''}"
    if style == "at least ":
        return Trait(words, lambda box: len(box) >= number)
    if style == "more than ":
        return Trait(words, lambda box: len(box) > number)
    return Trait(words, lambda box: len(box) == number)


def _color_at(rng: random.Random) -> Trait:
    color, (end, index) = rng.choice(COLORS), _end(rng)
    one = rng.choice(("a", "a", "a", "1", "one"))
    words = rng.choice(
        (f"{one} {color} block at the {end}", f"{one} {color} block at {end}", f"a {color} {end}")
    )
    return Trait(words, lambda box: bool(box) and box[index].color == color)


def _over(rng: random.Random) -> Trait:
    upper, lower = rng.choice(COLORS), rng.choice(COLORS)
    relation = rng.choice(("over", "above", "on", "on top of", "below", "under"))
    words = f"a {upper} block {relation} a {lower} block"
    if relation in ("below", "under"):
        upper, lower = lower, upper
    return Trait(
        words,
        lambda box: any(
            (one.color, next_one.color) == (lower, upper)
            for one, next_one in zip(box, box[1:], strict=False)
        ),
    )


def _stacked(rng: random.Random) -> Trait:
    color, number = rng.choice(COLORS), rng.choice((2, 2, 3))

    def holds(box: Box) -> bool:
        run = longest = 0
        for block in box:
            run = run + 1 if block.color == color else 0
            longest = max(longest, run)
        return longest >= number

    said = rng.choice((NUMBERS[number], str(number)))
    return Trait(f"{said} {color} blocks stacked together", holds)


def _second(rng: random.Random) -> Trait:
    color = rng.choice(COLORS)
    words = rng.choice(
        (
            f"a {color} block as the second block from the base",
            f"the second block from the base in {color}",
        )
    )
    return Trait(words, lambda box: len(box) > 1 and box[1].color == color)


def _contents(rng: random.Random, noun: str) -> Trait:
    """How many objects of a colour or two, and which colours there are."""
    color, other = rng.sample(COLORS, 2)
    kind = rng.choice(("number", "number", "pair", "only", "all", "same", "colours", "several"))
    if kind == "number":
        amount = _amount(rng)
        plural = _plural(noun) if amount.plural else noun
        words = f"{amount.words} {color} {plural}"
        return Trait(words, lambda box: amount.holds(_of(box, color)))
    if kind == "pair":
        words = f"a {color} {noun} and a {other} {noun}"
        return Trait(words, lambda box: _of(box, color) > 0 and _of(box, other) > 0)
    if kind == "several":
        first, second = rng.randint(1, 2), rng.randint(1, 3)
        parts = [
            f"{NUMBERS[n] if n > 1 else 'a'} {name} {noun}{'s' * (n > 1)}"
            for n, name in ((first, color), (second, other))
        ]
        words = " and ".join(parts)
        return Trait(words, lambda box: _of(box, color) >= first and _of(box, other) >= second)
    if kind == "only":
        if rng.random() < 0.5:
            return Trait(f"only {color} {_plural(noun)}", lambda box: _colors(box) == {color})
        words = f"{_plural(noun)} of only {color} and {other} color"
        words = rng.choice((f"only {color} and {other} {_plural(noun)}", words))
        return Trait(words, lambda box: _colors(box) == {color, other})
    if kind == "all":
        words = rng.choice(
            (
                f"{_plural(noun)} of all 3 different colors",
                f"{_plural(noun)} of all 3 colours",
                "all 3 colors",
            )
        )
        return Trait(words, lambda box: len(_colors(box)) == 3)
    if kind == "same":
        words = rng.choice(
            (f"{_plural(noun)} of only one color", f"{_plural(noun)} of the same color")
        )
        return Trait(words, lambda box: len(_colors(box)) == 1)
    return Trait(f"{_plural(noun)} of 2 different colors", lambda box: len(_colors(box)) == 2)


def _of(things: Box, color: str) -> int:
    return sum(thing.color == color for thing in things)


def _colors(things: Box) -> set[str]:
    return {thing.color for thing in things}


def _blocks(rng: random.Random) -> Trait:
    return _contents(rng, "block")


def _tower_trait(rng: random.Random) -> Trait:
    kinds = (_color_at, _over, _height, _blocks, _stacked, _second)
    made = rng.choices(kinds, (5, 4, 3, 4, 1, 0.7))[0](rng)
    if rng.random() < 0.25 and made.words.endswith(("blocks", "block")):
        more = _color_at(rng)
        linked = f"{made.words} {rng.choice(('having', 'with', 'and'))} {more.words}"
        return Trait(linked, lambda box: made.holds(box) and more.holds(box))
    return made


def _with(rng: random.Random) -> str:
    return rng.choice(("with", "with", "having", "which has", "that has", "that contains"))


def _towers(scene: Scene, rng: random.Random) -> Claim:
    amount, trait = _amount(rng), _tower_trait(rng)
    found = scene.boxes_that(trait.holds)
    return _there_is(found, amount, "tower", f"{_with(rng)} {trait.words}")


def _block_as(scene: Scene, rng: random.Random) -> Claim:
    amount, color, (end, index) = _amount(rng), rng.choice(COLORS), _end(rng)
    words, height = f"as the {end} of a tower", None
    if rng.random() < 0.5:
        height = _height(rng)
        words += f" with {height.words}"
    ends = [box[index] for box in scene.boxes if height is None or height.holds(box)]
    found = scene.things_that(
        lambda thing: thing.color == color and any(thing is end for end in ends)
    )
    return _there_is(found, amount, f"{color} block", words)


def _block_on(scene: Scene, rng: random.Random) -> Claim:
    trait = _over(rng)
    denied = rng.random() < 0.2
    before = rng.choice(("there is", "there is at least one"))
    words = trait.words if before == "there is" else trait.words.removeprefix("a ")
    found = scene.boxes_that(trait.holds)
    if denied:
        return Claim(f"there is no {trait.words.removeprefix('a ')}", not found, found)
    return Claim(f"{before} {words}", bool(found), found)


def _plain_tower(scene: Scene, rng: random.Random) -> Claim:
    color = rng.choice(COLORS)
    alone = rng.random() < 0.4
    rest = rng.choice(("with only one block", "with one block")) if alone else ""
    found = scene.boxes_that(lambda box: _colors(box) == {color} and (len(box) == 1 or not alone))
    return _there_is(found, _amount(rng, 2), f"{color} tower", rest)


def _alike(scene: Scene, rng: random.Random) -> Claim:
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
    linked = rng.choice(("with", "that has", "which has", "of"))
    if kind == "least":
        amount = rng.choice(("at least ", ""))
        return Claim(f"there are {amount}two towers {linked} the same {name}", distinct < 3)
    if kind == "only":
        return Claim(f"there are only two towers {linked} the same {name}", distinct == 2)
    if kind == "all":
        number = rng.choice(("three", "3"))
        return Claim(f"all {number} towers have the same {name}", distinct == 1)
    return Claim(f"all towers have different {name}", distinct == 3)


def _each_tower(scene: Scene, rng: random.Random) -> Claim:
    trait = _tower_trait(rng)
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


def _the_tower(scene: Scene, rng: random.Random) -> Claim:
    number, color, (end, index) = rng.randint(1, 4), rng.choice(COLORS), _end(rng)
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


# Scattered objects, and boxes of either kind


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


def _objects(scene: Scene, rng: random.Random) -> Claim:
    noun, fits = _noun(rng)
    if rng.random() < 0.25:
        return _there_is(scene.things_that(fits), _amount(rng, 5), noun)
    where, touches = _touching(rng)
    found = scene.things_that(lambda thing: fits(thing) and touches(thing))
    return _there_is(found, _amount(rng), noun, where)


def _those(scene: Scene, rng: random.Random) -> Claim:
    noun, fits = _noun(rng)
    where, touches = _touching(rng)
    found = scene.things_that(fits)
    touching = scene.things_that(lambda thing: fits(thing) and touches(thing))
    kind = rng.choice(("bare", "all", "none", "box"))
    if kind in ("bare", "all"):
        before = "all " if kind == "all" else ""
        return Claim(f"{before}{_plural(noun)} are {where}", 0 < len(found) == len(touching))
    if kind == "none":
        return Claim(f"none of the {_plural(noun)} are {where}", not touching, touching)
    held = scene.boxes_that(lambda box: any(map(fits, box)))
    return Claim(f"all {_plural(noun)} are in the same box", len(held) == 1, held)


def _total(scene: Scene, rng: random.Random) -> Claim:
    """How many blocks of a colour there are."""
    color = rng.choice(COLORS)
    found = scene.things_that(lambda thing: thing.color == color)
    return _there_is(found, _amount(rng, 6), f"{color} block")


def _box_trait(scene: Scene, rng: random.Random) -> Trait:
    kind = rng.choice(("colours", "items", "nouns", "on top" if scene.towers else "touching"))
    noun = rng.choice(("item", "item", "object"))
    if kind == "colours":
        return _contents(rng, noun)
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
                lambda box: number <= len(box) <= most and _colors(box) == {color, other},
            )
        return Trait(words, lambda box: number <= len(box) <= most)
    if kind == "on top":
        color = rng.choice(COLORS)
        return Trait(f"a {color} {noun} on top", lambda box: _highest(box).color == color)
    first, fits = _noun(rng)
    if kind == "touching":
        where, touches = _touching(rng)
        amount = _amount(rng, 2)
        words = f"{amount.words} {_plural(first) if amount.plural else first} {where}"
        return Trait(
            words, lambda box: amount.holds(sum(fits(thing) and touches(thing) for thing in box))
        )
    second, also = _noun(rng)
    return Trait(
        f"a {first} and a {second}",
        lambda box: any(map(fits, box)) and any(map(also, box)),
    )


def _highest(box: Box) -> Thing:
    return min(box, key=lambda thing: thing.y)


def _boxes(scene: Scene, rng: random.Random) -> Claim:
    trait = _box_trait(scene, rng)
    found = scene.boxes_that(trait.holds)
    kind = rng.choices(("there", "one of", "each"), (6, 2, 1.5))[0]
    if kind == "there":
        noun = rng.choice(("box", "box", "grey box"))
        return _there_is(found, _amount(rng), noun, f"with {trait.words}")
    name = rng.choice(("grey box", "grey square", "grey boxes"))
    verb = rng.choice(("has", "contains"))
    if kind == "one of":
        return Claim(f"one of the {name} {verb} {trait.words}", bool(found), found)
    words = f"each {rng.choice(('box', 'grey box'))} {verb} {trait.words}"
    return Claim(words, len(found) == 3, found)


Kind = Callable[[Scene, random.Random], Claim]
_KINDS: dict[bool, tuple[tuple[Kind, ...], tuple[float, ...]]] = {
    True: (
        (_towers, _block_as, _block_on, _plain_tower, _alike, _each_tower, _the_tower, _total,
         _boxes),
        (6, 3, 1.5, 1, 1, 1.5, 1, 1, 4),
    ),
    False: ((_objects, _those, _boxes), (5, 1, 4)),
}  # fmt: skip
"""The kinds of statements about towers, and about scattered objects, and how frequent each is."""
