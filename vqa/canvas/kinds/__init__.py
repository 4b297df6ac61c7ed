"""Kinds of questions: one file each, the name is the file.

A file `name.py` here holds `pose(rng, words) -> Query`, and `units(questions)` where canvases may
be smaller than UNITS. The answer is drawn first, uniformly from
the answers that its question may have, and only then a scene in which it is true: the question
alone says no more than 1 / len(choices). The text of a question never depends on the canvas.
"""

import dataclasses
import importlib
import random
from collections.abc import Callable, Sequence
from functools import cache
from typing import cast

from vqa.canvas.scene import Box
from vqa.canvas.sheet import Sheet

UNITS = 8
"""The shorter side of a canvas, in object sizes, on which every kind finds room."""

ALL = ("attribute", "text", "count", "position", "larger", "nearest", "same", "path", "sum")


@dataclasses.dataclass(frozen=True, slots=True)
class Query:
    """A question with its answer, before there is anything to look at."""

    question: str
    answer: str
    choices: tuple[str, ...]
    """All answers this question may have, each as likely as the others."""
    place: Callable[[Sheet], tuple[Box, ...]]
    """Fills a sheet with a scene in which the answer is true; returns where it is read from."""


Pose = Callable[[random.Random, Sequence[str]], Query]


@cache
def get(kind: str) -> Pose:
    """The `pose` of a kind of `ALL`."""
    return cast(Pose, importlib.import_module(f"{__name__}.{kind}").pose)


Poses = Callable[[random.Random, Sequence[str], int], list[Query]]


def several(kind: str) -> tuple[Poses, int] | None:
    """The `poses` of a kind and its `MOST`; None if a canvas of that kind has one question."""
    module = importlib.import_module(f"{__name__}.{kind}")
    return (module.poses, module.MOST) if hasattr(module, "poses") else None


def units(kind: str, questions: int = 1) -> int:
    """The shorter side, in object sizes, of the smallest canvas with `questions` of a kind."""
    module = importlib.import_module(f"{__name__}.{kind}")
    return module.units(questions) if hasattr(module, "units") else UNITS
