"""Counting questions about a scene, with their answers."""

import random

from vqa.boxes.scene import COLORS, SHAPES, Scene

ASKED = tuple((color, shape) for color in COLORS for shape in (*SHAPES, "object"))


def ask(scene: Scene, rng: random.Random) -> tuple[str, str]:
    """A question about one colour, and one shape or any, and the number that answers it."""
    color, shape = rng.choice(ASKED)
    found = sum(thing.color == color and shape in (thing.shape, "object") for thing in scene.things)
    return f"How many {color} {shape}s are there in total?", str(found)
