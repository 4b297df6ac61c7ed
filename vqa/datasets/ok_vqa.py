"""OK-VQA: 14,055 questions about COCO images that need outside knowledge.

Source: the OK-VQA project page (okvqa.allenai.org), Marino et al. 2019; version 1.1 has the same
file names. Annotations are in the VQA format: five people's answers, each twice.
Layout below `root`; JSON also in Questions/ and Annotations/, images also in Images/mscoco/:

    OpenEnded_mscoco_{train2014,val2014}_questions.json
    mscoco_{train2014,val2014}_annotations.json
    {train2014,val2014}/COCO_{train2014,val2014}_000000000042.jpg

Splits: train, val (the official test set), and the official names. The answers are the stemmed
`answer`, which the official score compares with, not `raw_answer`; the question type is the
official key of the knowledge category ("one", "two", ..., "other"). Metric: VQA accuracy.
"""

from collections.abc import Sequence
from typing import Any

from vqa.datasets import Example
from vqa.datasets._coco_vqa import CocoExamples, subsets
from vqa.datasets._reading import Root, known_split
from vqa.metrics import vqa_accuracy, vqa_report

_SPLITS = subsets("train", "val")


class Dataset(CocoExamples):
    """One split of OK-VQA, with knowledge categories as question types. Raises DataError."""

    splits = tuple(_SPLITS)

    def __init__(self, root: str | None, split: str, skip_bad: bool = False) -> None:
        known_split("ok_vqa", split, _SPLITS)
        super().__init__(
            Root(root, "ok_vqa", "the OK-VQA project page (okvqa.allenai.org)"),
            _SPLITS[split],
            skip_bad,
            questions="OpenEnded_mscoco_{subset}_questions.json",
            annotations="mscoco_{subset}_annotations.json",
            # VQA v1 has files of the same names: raw_answer tells them apart.
            answer_keys=("raw_answer",),
        )

    def score(self, prediction: str, answers: Sequence[str]) -> float:
        """VQA accuracy: each annotator left out in turn, min(1, matches among the others / 3)."""
        return vqa_accuracy(prediction, answers)

    def report(self, examples: Sequence[Example], predictions: Sequence[str]) -> dict[str, Any]:
        """What the official evaluation prints: overall, per question type, per answer type."""
        return vqa_report(examples, predictions)
