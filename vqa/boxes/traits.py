"""What statements say of a tower or a box: its height, its colours, what stands on what."""

import random
from collections.abc import Callable
from dataclasses import dataclass

from vqa.boxes.scene import COLORS, Box
from vqa.boxes.wording import NUMBERS, amount_of, plural_of


@dataclass(frozen=True, slots=True)
class Trait:
    """What is said of a tower or a box, after its noun: "with a black block at the top"."""

    words: str
    holds: Callable[[Box], bool]


def end_of(rng: random.Random) -> tuple[str, int]:
    """A word for an end of a tower, and the index of the block there."""
    return rng.choice((("top", -1), ("base", 0), ("base", 0), ("top", -1), ("bottom", 0)))


def height_of(rng: random.Random) -> Trait:
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


def color_at_end(rng: random.Random) -> Trait:
    color, (end, index) = rng.choice(COLORS), end_of(rng)
    one = rng.choice(("a", "a", "a", "1", "one"))
    words = rng.choice(
        (f"{one} {color} block at the {end}", f"{one} {color} block at {end}", f"a {color} {end}")
    )
    return Trait(words, lambda box: bool(box) and box[index].color == color)


def order_of(rng: random.Random) -> Trait:
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


def contents_of(rng: random.Random, noun: str) -> Trait:
    """How many objects of a colour or two, and which colours there are."""
    color, other = rng.sample(COLORS, 2)
    kind = rng.choice(("number", "number", "pair", "only", "all", "same", "colours", "several"))
    if kind == "number":
        amount = amount_of(rng)
        return Trait(amount.of(f"{color} {noun}"), lambda box: amount.holds(_of(box, color)))
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
            return Trait(f"only {color} {plural_of(noun)}", lambda box: colors_of(box) == {color})
        words = f"{plural_of(noun)} of only {color} and {other} color"
        words = rng.choice((f"only {color} and {other} {plural_of(noun)}", words))
        return Trait(words, lambda box: colors_of(box) == {color, other})
    if kind == "all":
        words = rng.choice(
            (
                f"{plural_of(noun)} of all 3 different colors",
                f"{plural_of(noun)} of all 3 colours",
                "all 3 colors",
            )
        )
        return Trait(words, lambda box: len(colors_of(box)) == 3)
    if kind == "same":
        words = rng.choice(
            (f"{plural_of(noun)} of only one color", f"{plural_of(noun)} of the same color")
        )
        return Trait(words, lambda box: len(colors_of(box)) == 1)
    return Trait(f"{plural_of(noun)} of 2 different colors", lambda box: len(colors_of(box)) == 2)


def _of(things: Box, color: str) -> int:
    return sum(thing.color == color for thing in things)


def colors_of(things: Box) -> set[str]:
    return {thing.color for thing in things}


def _blocks(rng: random.Random) -> Trait:
    return contents_of(rng, "block")


def tower_trait(rng: random.Random) -> Trait:
    kinds = (color_at_end, order_of, height_of, _blocks, _stacked, _second)
    made = rng.choices(kinds, (5, 4, 3, 4, 1, 0.7))[0](rng)
    if rng.random() < 0.25 and made.words.endswith(("blocks", "block")):
        more = color_at_end(rng)
        words = f"{made.words} {rng.choice(('having', 'with', 'and'))} {more.words}"
        return Trait(words, lambda box: made.holds(box) and more.holds(box))
    return made


def linked(rng: random.Random) -> str:
    return rng.choice(("with", "with", "having", "which has", "that has", "that contains"))
