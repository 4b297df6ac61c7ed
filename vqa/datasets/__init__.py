"""Data sets of questions about images: one file each, the name is the file.

A file `name.py` here holds `class Dataset`; `create("name")` imports it. Questions are read at
once, pixels never: an example carries the path of its image.
"""

import dataclasses
import importlib
import pkgutil
from typing import Protocol, cast


class DataError(ValueError):
    """Data that cannot be used, in one sentence: the file, the line or value, and the remedy."""


@dataclasses.dataclass(frozen=True, slots=True)
class Example:
    """One question about one image."""

    question_id: int | str
    """Unique within a split."""
    image: str
    """Absolute path of the image file."""
    question: str
    answers: tuple[str, ...]
    """The accepted answers, at least one."""
    answer_type: str | None = None
    """The group this question is reported under, if the data set has groups."""


class Dataset(Protocol):
    """What every data set file offers; `Dataset(root, split, skip_bad=False)` makes one."""

    splits: tuple[str, ...]
    """The splits this data set has."""
    skipped: list[str]
    """One reason per bad row left out; stays empty unless skip_bad."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int) -> Example: ...

    def score(self, prediction: str, answers: tuple[str, ...]) -> float:
        """The data set's own metric for one prediction, in [0, 1]."""
        ...


def available() -> list[str]:
    """The names `create` knows, sorted: the files of this folder."""
    return sorted(m.name for m in pkgutil.iter_modules(__path__) if not m.name.startswith("_"))


def create(
    name: str, root: str | None = None, split: str = "train", skip_bad: bool = False
) -> Dataset:
    """Open a split of a data set by name. Raises DataError (a ValueError) on any bad input."""
    if name not in available():
        raise DataError(f"no data set is called {name!r}; choose one of {', '.join(available())}")
    module = importlib.import_module(f"{__name__}.{name}")
    return cast(Dataset, module.Dataset(root, split, skip_bad))
