"""Several data sets as one to train on, so that learning one does not unlearn another."""

from bisect import bisect_right
from collections.abc import Mapping, Sequence
from itertools import accumulate
from typing import Any

from vqa import datasets
from vqa.datasets import DataError, Example


class Dataset:
    """The questions of all `parts` in training; evaluated on the first alone, by its metric.

    Each part names its `dataset`, that data set's options, maybe a `root` of its own, and maybe
    `each`: how many of its questions an epoch has; the next epoch takes the next ones. Raises
    DataError.
    """

    splits: tuple[str, ...] = ("train", "val", "test")

    def __init__(
        self,
        root: str | None,
        split: str,
        skip_bad: bool = False,
        *,
        parts: Sequence[Mapping[str, Any]] = (),
    ) -> None:
        if not parts:
            raise DataError("mixed has no parts; give dataset_args.parts, a list of data sets")
        self.parts: list[datasets.Dataset] = []
        self.each: list[int] = []
        for part in parts if split == "train" else parts[:1]:
            words = dict(part)
            name, each = words.pop("dataset", None), words.pop("each", None)
            if name is None or name == "mixed":
                raise DataError(f"a part of mixed must name its dataset, not mixed; got {words}")
            place = words.pop("root", root)
            made = datasets.create(name, place, split, skip_bad, **words)
            if each is None or split != "train":
                each = len(made)
            if not 1 <= each <= len(made):
                raise DataError(f"each of {name} must be 1 to {len(made)}, not {each}")
            self.parts.append(made)
            self.each.append(each)
        self.rendered = any(isinstance(part, datasets.Rendered) for part in self.parts)
        self.skipped = [reason for part in self.parts for reason in part.skipped]
        self.ends = list(accumulate(self.each))

    def __len__(self) -> int:
        return self.ends[-1]

    def __getitem__(self, index: int) -> Example:
        part, place = self.within(index)
        return part[place]

    def within(self, index: int) -> tuple[datasets.Dataset, int]:
        """The data set and its index; `index + n * len(self)` is that place in epoch n."""
        if index < 0:
            raise IndexError(f"mixed has no number {index}")
        epoch, place = divmod(index, len(self))
        number = bisect_right(self.ends, place)
        part, each = self.parts[number], self.each[number]
        return part, (place - self.ends[number] + each + epoch * each) % len(part)

    def score(self, prediction: str, answers: tuple[str, ...]) -> float:
        """The first part's metric."""
        return self.parts[0].score(prediction, answers)
