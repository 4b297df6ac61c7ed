"""Counting questions about a scene, with their answers."""

import random

from vqa.boxes.scene import COLORS, SHAPES, Area, Scene

ASKED = tuple((color, shape) for color in COLORS for shape in (*SHAPES, "object"))


def ask(scene: Scene, rng: random.Random) -> tuple[str, tuple[Area, ...]]:
    """A question about one colour, and one shape or any, and where the things are it counts."""
    color, shape = rng.choice(ASKED)
    found = scene.things_that(
        lambda thing: thing.color == color and shape in (thing.shape, "object")
    )
    return f"How many {color} {shape}s are there in total?", found
