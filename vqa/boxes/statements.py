"""Statements that are true or false of a scene, put together from the phrases of NLVR's annotators.

Written after the training and validation sentences of NLVR (v1); a few test sentences had been
glimpsed before, so that scores on its test split are not those of a grammar made wholly without
them. What is ambiguous means what it mostly means there: "one tower" is exactly one, "a tower" at
least one, and a block "over" another stands right on it.
"""

import random
from collections.abc import Callable

from vqa.boxes.objects import boxes, objects, those
from vqa.boxes.scene import Scene
from vqa.boxes.towers import (
    alike,
    block_as,
    block_on,
    each_tower,
    plain_tower,
    the_tower,
    total,
    towers,
)
from vqa.boxes.wording import Claim

_TRIES = 30


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


Kind = Callable[[Scene, random.Random], Claim]
_KINDS: dict[bool, tuple[tuple[Kind, ...], tuple[float, ...]]] = {
    True: (
        (towers, block_as, block_on, plain_tower, alike, each_tower, the_tower, total,
         boxes),
        (6, 3, 1.5, 1, 1, 1.5, 1, 1, 4),
    ),
    False: ((objects, those, boxes), (5, 1, 4)),
}  # fmt: skip
"""The kinds of statements about towers, and about scattered objects, and how frequent each is."""
