"""VQA v1: 614,163 questions about 204,721 COCO images, ten answers each.

Source: the VQA project page (visualqa.org), Antol et al. 2015, "VQA: Visual Question Answering";
files as downloaded and unpacked.
Layout below `root`; JSON also in Questions/ and Annotations/, images also in Images/mscoco/:

    {OpenEnded,MultipleChoice}_mscoco_{train2014,val2014,test2015,test-dev2015}_questions.json
    mscoco_{train2014,val2014}_annotations.json
    {train2014,val2014,test2015}/COCO_{train2014,...}_000000000042.jpg

Splits: train, val, test-dev, test, and the official names; the test splits have no answers.
Metric: the official VQA accuracy, of both tasks.
"""

from collections.abc import Sequence
from typing import Any

from vqa.datasets import Example
from vqa.datasets._coco_vqa import CocoExamples, subsets
from vqa.datasets._reading import Root, known_option, known_split
from vqa.metrics import vqa_accuracy, vqa_report

_SPLITS = subsets("train", "val", "test-dev", "test")
_TASKS = {"open_ended": "OpenEnded", "multiple_choice": "MultipleChoice"}


class Dataset(CocoExamples):
    """One split of VQA v1; `task` is open_ended or multiple_choice (with choices).

    Raises DataError.
    """

    splits = tuple(_SPLITS)

    def __init__(
        self, root: str | None, split: str, skip_bad: bool = False, *, task: str = "open_ended"
    ) -> None:
        known_split("vqa_v1", split, _SPLITS)
        official = _TASKS[known_option("vqa_v1", "task", task, _TASKS)]
        super().__init__(
            Root(root, "vqa_v1", "the VQA project page (visualqa.org)"),
            _SPLITS[split],
            skip_bad,
            questions=official + "_mscoco_{subset}_questions.json",
            annotations="mscoco_{subset}_annotations.json",
            choices="multiple_choices" if task == "multiple_choice" else None,
        )

    def score(self, prediction: str, answers: Sequence[str]) -> float:
        """VQA accuracy: each annotator left out in turn, min(1, matches among the others / 3)."""
        return vqa_accuracy(prediction, answers)

    def report(self, examples: Sequence[Example], predictions: Sequence[str]) -> dict[str, Any]:
        """What the official evaluation prints: overall, per question type, per answer type."""
        return vqa_report(examples, predictions)
