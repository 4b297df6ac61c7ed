"""CLEVR: 100,000 rendered images of simple objects, 999,968 questions about them, 28 answers.

Source: https://cs.stanford.edu/people/jcjohns/clevr (CLEVR_v1.0.zip). Layout below `root`, which is
CLEVR_v1.0 or the folder it lies in:

    questions/CLEVR_{train,val,test}_questions.json    {"info": ..., "questions": [...]}
    images/{train,val,test}/CLEVR_{split}_%06d.png

`test` is published without answers and programs. A question's id is its question_index, its type
the last function of its program (count, exist, query_color, ...). Metric: the share of right
answers, overall and by type.
"""

from collections.abc import Sequence
from sys import intern
from typing import Any

from vqa.datasets import DataError, Example
from vqa.datasets._reading import (
    Examples,
    Place,
    Root,
    a_number,
    a_row,
    a_text,
    known_split,
    listed,
    load_object,
)
from vqa.metrics import clevr_report, gqa_accuracy

_PAGE = "https://cs.stanford.edu/people/jcjohns/clevr"
_PARENTS = ("", "CLEVR_v1.0/")


class Dataset(Examples):
    """One split of CLEVR."""

    splits = ("train", "val", "test")

    def __init__(self, root: str | None, split: str, skip_bad: bool = False) -> None:
        known_split("clevr", split, self.splits)
        place = Root(root, "clevr", _PAGE)
        file = place.file(*(f"{up}questions/CLEVR_{split}_questions.json" for up in _PARENTS))
        self._images = place.images(*(f"{up}images/{split}" for up in _PARENTS))
        self._answered = split != "test"
        super().__init__(skip_bad)
        rows = listed(file, load_object(file), "questions")
        self.read(file, enumerate(rows), self._example)

    def score(self, prediction: str, answers: Sequence[str]) -> float:
        """1.0 where the strings are equal, as in the report."""
        return gqa_accuracy(prediction, answers)

    def report(self, examples: Sequence[Example], predictions: Sequence[str]) -> dict[str, Any]:
        """Accuracy overall and by the last function of the program."""
        return clevr_report(examples, predictions)

    def _example(self, place: Place, row: Any) -> Example:
        row = a_row(row, "question_index", "image_filename", "question")
        if self._answered:
            a_row(row, "answer", "program")
        function = _last_function(row["program"]) if row.get("program") else None
        return Example(
            a_number(row, "question_index"),
            self._images.path(a_text(row, "image_filename")),
            a_text(row, "question"),
            (intern(a_text(row, "answer")),) if "answer" in row else (),
            question_type=function,
            meta={"function": function} if function else None,
        )


def _last_function(program: Any) -> str:
    """Of a program, whose steps name it "function" or, in older files, "type"."""
    if not isinstance(program, list) or not program:
        raise DataError(f"program must be a list of functions, not {str(program)[:80]}")
    step = a_row(program[-1])
    name = "type" if "type" in step else "function"
    return intern(a_text(a_row(step, name), name))
