"""VQA v2: 1,105,904 questions about 204,721 COCO images, ten answers each.

Source: the VQA project page (visualqa.org), Goyal et al. 2017, "Making the V in VQA Matter"; files
as downloaded and unpacked.
Layout below `root`; JSON also in Questions/ and Annotations/, images also in Images/mscoco/:

    v2_OpenEnded_mscoco_{train2014,val2014,test2015,test-dev2015}_questions.json
    v2_mscoco_{train2014,val2014}_annotations.json
    {train2014,val2014,test2015}/COCO_{train2014,...}_000000000042.jpg

Splits: train, val, test-dev, test, and the official names; the test splits have no answers.
Metric: the official VQA accuracy.
"""

from collections.abc import Sequence
from typing import Any

from vqa.datasets import Example
from vqa.datasets._coco_vqa import CocoExamples, subsets
from vqa.datasets._reading import Root, known_split
from vqa.metrics import vqa_accuracy, vqa_report

_SPLITS = subsets("train", "val", "test-dev", "test")


class Dataset(CocoExamples):
    """One split of VQA v2, with question types and answer types. Raises DataError."""

    splits = tuple(_SPLITS)

    def __init__(self, root: str | None, split: str, skip_bad: bool = False) -> None:
        known_split("vqa_v2", split, _SPLITS)
        super().__init__(
            Root(root, "vqa_v2", "the VQA project page (visualqa.org)"),
            _SPLITS[split],
            skip_bad,
            questions="v2_OpenEnded_mscoco_{subset}_questions.json",
            annotations="v2_mscoco_{subset}_annotations.json",
        )

    def score(self, prediction: str, answers: Sequence[str]) -> float:
        """VQA accuracy: each annotator left out in turn, min(1, matches among the others / 3)."""
        return vqa_accuracy(prediction, answers)

    def report(self, examples: Sequence[Example], predictions: Sequence[str]) -> dict[str, Any]:
        """What the official evaluation prints: overall, per question type, per answer type."""
        return vqa_report(examples, predictions)
