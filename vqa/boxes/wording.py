"""How many there are said to be, and what is claimed of a scene: the parts of statements."""

import random
from dataclasses import dataclass
from typing import NamedTuple

from vqa.boxes.scene import Area

NUMBERS = ("no", "one", "two", "three", "four", "five", "six", "seven", "eight")


@dataclass(frozen=True, slots=True)
class Amount:
    """How many there are said to be: "at least two"."""

    words: str
    least: int
    most: int

    @property
    def plural(self) -> bool:
        """Whether the noun after it is: "two towers", and "no tower"."""
        return self.words.rsplit(" ")[-1] not in ("a", "one", "1", "no")

    def of(self, noun: str) -> str:
        """So many of what `noun` names: "at least two towers"."""
        return f"{self.words} {plural_of(noun) if self.plural else noun}"

    def holds(self, number: int) -> bool:
        """Whether that many there are."""
        return self.least <= number <= self.most


class Claim(NamedTuple):
    """What is said of a scene, whether it is true, and where the things, towers or boxes are whose
    number makes it so; None where it is not a matter of one number."""

    words: str
    holds: bool
    about: tuple[Area, ...] | None = None


def amount_of(rng: random.Random, most: int = 3) -> Amount:
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


def plural_of(noun: str) -> str:
    return f"{noun}es" if noun.endswith("box") else f"{noun}s"


def there_is(found: tuple[Area, ...], amount: Amount, noun: str, rest: str = "") -> Claim:
    """ "there are two towers with ...": as many as were `found`?"""
    words = f"there {'are' if amount.plural else 'is'} {amount.of(noun)} {rest}".strip()
    return Claim(words, amount.holds(len(found)), found)
