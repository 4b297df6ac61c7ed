"""What a canvas shows: values only, from which drawing makes pixels and tests make answers."""

import dataclasses

Box = tuple[int, int, int, int]
"""left, top, right, bottom in pixels; right and bottom are the first pixels outside."""

Segment = tuple[float, float, float, float]
"""x and y of one end, x and y of the other, in pixels."""


@dataclasses.dataclass(frozen=True, slots=True)
class Mark:
    """Something that can be drawn, wherever it will stand."""

    form: str
    """A name of `forms`, or text, pattern, frame."""
    color: str
    size: int
    """Pixels a side; of a text, pixels an em."""
    text: str = ""
    """The letters of a text; the nine cells of a pattern as 0 and 1, row by row."""
    font: str = ""
    """The file of a text's font; empty for Pillow's own."""

    @property
    def name(self) -> str:
        """How a question calls it."""
        return f"{self.color} {self.form}"


@dataclasses.dataclass(frozen=True, slots=True)
class Placed:
    """A mark and the box of its ink."""

    mark: Mark
    box: Box

    @property
    def center(self) -> tuple[float, float]:
        """x and y in pixels."""
        left, top, right, bottom = self.box
        return (left + right) / 2, (top + bottom) / 2


@dataclasses.dataclass(frozen=True, slots=True)
class Scene:
    """One canvas with its question."""

    width: int
    height: int
    kind: str
    question: str
    answer: str
    choices: tuple[str, ...]
    """The answers this question may have, each as likely as the others."""
    evidence: tuple[Box, ...]
    """Where the answer is read from."""
    objects: tuple[Placed, ...]
    dashes: tuple[Segment, ...]
    dash_color: str
    dash_width: int
    texture: str
    texture_seed: int
