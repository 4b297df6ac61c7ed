"""Data sets of questions about images: one file each, the name is the file.

A file `name.py` here holds `class Dataset`; `create("name")` imports it. Questions are read at
once, pixels never: an example carries the path of its image.
"""

import dataclasses
import importlib
import inspect
import pkgutil
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol, cast, runtime_checkable

if TYPE_CHECKING:  # two seconds, which --help need not wait for
    from torch import Tensor


class DataError(ValueError):
    """Data that cannot be used, in one sentence: the file, the line or value, and the remedy."""


Region = tuple[float, float, float, float]
"""left, top, right and bottom of a box as shares of the image's width and height."""


@dataclasses.dataclass(frozen=True, slots=True)
class Example:
    """One question about one image."""

    question_id: int | str
    """Unique within a split."""
    image: str
    """Absolute path of the image file; of a `Rendered` data set the name of the picture."""
    question: str
    answers: tuple[str, ...]
    """The accepted answers, of every annotator in order; none in a test split without answers."""
    answer_type: str | None = None
    """The group this question is reported under, if the data set has groups."""
    question_type: str | None = None
    """A second group, where the data set has two."""
    choices: tuple[str, ...] = ()
    """What a multiple-choice question offers."""
    meta: Mapping[str, Any] | None = None
    """What the data set's own report needs besides."""
    evidence: tuple[Region, ...] = dataclasses.field(default=(), compare=False)
    """Boxes around what the answer is read from, where that is known; of a `Rendered` data set once
    it has drawn the image."""
    letters: "Tensor | None" = dataclasses.field(default=None, compare=False, repr=False)
    """What the image shows in print, where a `Rendered` data set knows: code point, row and column
    in pixels of each letter's middle, int32 `[n, 3]`."""
    transcript: str | None = dataclasses.field(default=None, compare=False, repr=False)
    """The text of the image, for a network that reads it: once read by the OCR (vqa/data/
    transcripts.py)."""


class Dataset(Protocol):
    """What every data set file offers; `Dataset(root, split, skip_bad=False)` makes one.

    Further arguments are options of the data set, with defaults.
    """

    splits: tuple[str, ...]
    """The splits this data set has."""
    skipped: list[str]
    """One reason per bad row left out; stays empty unless skip_bad."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int) -> Example: ...

    def score(self, prediction: str, answers: tuple[str, ...]) -> float:
        """The data set's own metric for one prediction, in [0, 1]."""
        ...


@runtime_checkable
class Reported(Protocol):
    """A data set whose official evaluation gives more than the mean of `score`."""

    def report(self, examples: Sequence[Example], predictions: Sequence[str]) -> dict[str, Any]:
        """The official numbers, as plain JSON values, in percent."""
        ...


@runtime_checkable
class Weighted(Protocol):
    """A data set of several annotators, not all of whom must be right."""

    def targets(self, answers: Sequence[str]) -> dict[str, float]:
        """How much each distinct answer of a question counts in training."""
        ...


@runtime_checkable
class Rendered(Protocol):
    """A data set that draws its images instead of reading files.

    Questions whose `Example.image` is the same are about the same picture.
    """

    def render(self, index: int, size: int | None = None) -> "tuple[Example, Tensor]":
        """Example `index` on a canvas of `size` pixels a side (default: the data set's own).

        The image is uint8 `[3, H, W]`; the same `index` and `size` give the same one.
        """
        ...


@runtime_checkable
class Mixed(Protocol):
    """A data set of several others."""

    def within(self, index: int) -> tuple[Dataset, int]:
        """The data set that question `index` is of, and its index there."""
        ...


def available() -> list[str]:
    """The names `create` knows, sorted: the files of this folder."""
    return sorted(m.name for m in pkgutil.iter_modules(__path__) if not m.name.startswith("_"))


def create(
    name: str,
    root: str | None = None,
    split: str = "train",
    skip_bad: bool = False,
    **options: Any,
) -> Dataset:
    """Open a split of a data set by name; `options` are the data set's own.

    Raises DataError (a ValueError) on any bad input.
    """
    if name not in available():
        raise DataError(f"no data set is called {name!r}; choose one of {', '.join(available())}")
    module = importlib.import_module(f"{__name__}.{name}")
    known = list(inspect.signature(module.Dataset).parameters)[3:]
    for option in options:
        if option not in known:
            told = f"its options are {', '.join(known)}" if known else "it has no options"
            raise DataError(f"the data set {name} has no option {option!r}; {told}")
    return cast(Dataset, module.Dataset(root, split, skip_bad, **options))
