"""GQA: 22 million questions made from scene graphs of 113,018 photographs.

Source: https://cs.stanford.edu/people/dorarad/gqa (questions1.2.zip, images.zip). Layout below
`root`, where the questions may also lie beside `questions/`, not in it:

    questions/{split}_{balanced,all}_questions.json     {question id: {question, answer, ...}}
    questions/train_all_questions/*.json                the same, in parts
    images/{imageId}.jpg

Splits: train, val, testdev, test, challenge and submission (test with challenge); the last three
are published without answers, submission as "all" only. The official scores are of the balanced
questions, which `questions="balanced"` reads. Metric: equal strings; the report adds binary and
open, types, steps, words and consistency, which asks for the entailed questions ("all").
"""

import os
from collections.abc import Mapping, Sequence
from sys import intern
from typing import Any

from vqa.datasets import DataError, Example
from vqa.datasets._reading import (
    Examples,
    Place,
    Root,
    a_row,
    a_text,
    known_option,
    known_split,
    load_object,
)
from vqa.metrics import gqa_accuracy, gqa_report

_PAGE = "https://cs.stanford.edu/people/dorarad/gqa/download.html"
_ANSWERED = ("train", "val", "testdev")
_META = {"types": dict, "groups": dict, "entailed": list, "semantic": list, "isBalanced": bool}


class Dataset(Examples):
    """One split of GQA; `questions` is balanced or all."""

    splits = ("train", "val", "testdev", "test", "challenge", "submission")

    def __init__(
        self,
        root: str | None,
        split: str,
        skip_bad: bool = False,
        *,
        questions: str = "balanced",
    ) -> None:
        known_split("gqa", split, self.splits)
        known_option("gqa", "questions", questions, ("balanced", "all"))
        place = Root(root, "gqa", _PAGE)
        self._images = place.images("images", "allImages/images")
        self._needed = ("answer", "types") if split in _ANSWERED else ()
        self._steps: dict[tuple[Any, Any], dict[str, Any]] = {}
        super().__init__(skip_bad)
        for file in _files(place, f"{split}_{questions}_questions"):
            self.read(file, load_object(file).items(), self._example, "question")

    def score(self, prediction: str, answers: Sequence[str]) -> float:
        """1.0 where the strings are equal."""
        return gqa_accuracy(prediction, answers)

    def report(self, examples: Sequence[Example], predictions: Sequence[str]) -> dict[str, Any]:
        """Accuracy overall and by group, and consistency; validity needs files not read here."""
        return gqa_report(examples, predictions)

    def _example(self, identity: Place, row: Any) -> Example:
        row = a_row(row, "question", "imageId", *self._needed)
        answers = (intern(a_text(row, "answer")),) if "answer" in row else ()
        meta = _meta(row)
        structural = meta.get("types", {}).get("structural")
        if "semantic" in meta:
            meta["semantic"] = self._shared(meta["semantic"])
        return Example(
            identity,
            self._images.path(f"{a_text(row, 'imageId')}.jpg"),
            a_text(row, "question"),
            answers,
            None if structural is None else "open" if structural == "query" else "binary",
            structural,
            meta=meta or None,
        )

    def _shared(self, steps: list[Any]) -> list[dict[str, Any]]:
        """Operation and argument of each step; equal ones are one object, for they are millions."""
        shared = []
        for step in steps:
            step = a_row(step, "operation", "argument")
            key = (a_text(step, "operation"), str(step["argument"]))
            words = {"operation": key[0], "argument": key[1]}
            shared.append(self._steps.setdefault(key, words))
        return shared


def _files(root: Root, name: str) -> list[str]:
    """The file of that name, or the parts in the folder of that name."""
    for parent in ("questions", ""):
        folder = os.path.join(root.folder, parent, name)
        if os.path.isdir(folder):
            parts = sorted(part for part in os.listdir(folder) if part.endswith(".json"))
            if parts:
                return [os.path.join(folder, part) for part in parts]
    return [root.file(f"questions/{name}.json", f"{name}.json")]


def _meta(row: Mapping[str, Any]) -> dict[str, Any]:
    """What the report needs, of the kind it has officially."""
    meta = {key: row[key] for key in _META if key in row}
    for key, value in meta.items():
        if not isinstance(value, _META[key]):
            kind = {dict: "an object", list: "a list", bool: "true or false"}[_META[key]]
            raise DataError(f"{key} must be {kind}, not {str(value)[:80]}")
    if "types" in meta:
        a_text(a_row(meta["types"], "structural"), "structural")
    return meta
