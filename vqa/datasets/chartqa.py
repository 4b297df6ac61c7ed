"""ChartQA: 32,719 questions about charts, by people (human) or generated (augmented).

Source: the ChartQA project page (github.com/vis-nlp/ChartQA), Masry et al. 2022; GPL-3.0, and the
charts belong to those who made them. Layout below `root`, or below "ChartQA Dataset" in it, as the
archive names its folder; the files of a split may also lie in `root` itself:

    {train,val,test}/{train,val,test}_{human,augmented}.json     [{imgname, query, label}]
    {train,val,test}/png/multi_col_100.png

Splits: train, val, test. The files have no ids: "human-0" is the first question of the human file.
The answer type is human or augmented.
Metric: relaxed accuracy (5 % for numbers); the official number is the mean over both subsets.
"""

from collections.abc import Callable, Sequence
from typing import Any

from vqa.datasets import Example
from vqa.datasets._reading import (
    Examples,
    Images,
    Place,
    Root,
    a_row,
    a_text,
    known_option,
    known_split,
    load_list,
)
from vqa.metrics import chartqa_report, relaxed_accuracy

_SUBSETS = {"both": ("human", "augmented"), "human": ("human",), "augmented": ("augmented",)}


class Dataset(Examples):
    """One split of ChartQA; `subset` is both, human or augmented. Raises DataError."""

    splits = ("train", "val", "test")

    def __init__(
        self, root: str | None, split: str, skip_bad: bool = False, *, subset: str = "both"
    ) -> None:
        super().__init__(skip_bad)
        known_split("chartqa", split, self.splits)
        known_option("chartqa", "subset", subset, _SUBSETS)
        place = Root(root, "chartqa", "the ChartQA project page (github.com/vis-nlp/ChartQA)")
        folders = (f"{split}/", "", f"ChartQA Dataset/{split}/")
        images = place.images(*(f"{folder}png" for folder in folders))
        for name in _SUBSETS[subset]:
            file = place.file(*(f"{folder}{split}_{name}.json" for folder in folders))
            self.read(file, enumerate(load_list(file)), _maker(name, images))

    def score(self, prediction: str, answers: Sequence[str]) -> float:
        """Relaxed accuracy: a number within 5 %, otherwise the same text."""
        return relaxed_accuracy(prediction, answers)

    def report(self, examples: Sequence[Example], predictions: Sequence[str]) -> dict[str, Any]:
        """Human, augmented, and the mean of the two."""
        return chartqa_report(examples, predictions)


def _maker(subset: str, images: Images) -> Callable[[Place, Any], Example]:
    def example(place: Place, row: Any) -> Example:
        a_row(row, "imgname", "query", "label")
        question, image = a_text(row, "query"), images.path(a_text(row, "imgname"))
        return Example(f"{subset}-{place}", image, question, (a_text(row, "label"),), subset)

    return example
