"""VQA-RAD: 2,248 questions of clinicians about 315 radiology images.

Source: https://osf.io/89kps (Lau et al., Scientific Data 5:180251, 2018). Layout below `root`:

    VQA_RAD Dataset Public.json     [{qid, image_name, question, answer, answer_type, ...}]
    VQA_RAD Image Folder/{image_name}

By convention `test` is the questions whose phrase_type is test_freeform or test_para (451), and
`trainval` all others (1,797). There is no official validation split: `val` is the questions of
`trainval` about every tenth of its images, by name, and `train` those about the others. Test
questions share images with training questions. Metric: exact match after normalisation, overall
and by answer_type (CLOSED, OPEN).
"""

from collections.abc import Sequence
from sys import intern
from typing import Any

from vqa.datasets import DataError, Example
from vqa.datasets._reading import (
    Examples,
    Place,
    Root,
    a_row,
    a_text,
    an_id,
    known_split,
    load_list,
)
from vqa.metrics import exact_match

_PAGE = "https://osf.io/89kps"
_HOLD_OUT = 10
_META = ("phrase_type", "image_organ")


class Dataset(Examples):
    """One split of VQA-RAD."""

    splits = ("train", "val", "trainval", "test")

    def __init__(self, root: str | None, split: str, skip_bad: bool = False) -> None:
        self._split = known_split("vqa_rad", split, self.splits)
        place = Root(root, "vqa_rad", _PAGE)
        file = place.file("VQA_RAD Dataset Public.json")
        self._images = place.images("VQA_RAD Image Folder")
        super().__init__(skip_bad)
        rows = load_list(file)
        self._held_out = _held_out(rows)
        self.read(file, enumerate(rows), self._example)

    def score(self, prediction: str, answers: Sequence[str]) -> float:
        """Exact match after normalisation."""
        return exact_match(prediction, answers)

    def _example(self, place: Place, row: Any) -> Example | None:
        row = a_row(row, "qid", "image_name", "question", "answer", "answer_type", "phrase_type")
        image = a_text(row, "image_name")
        if not self._belongs(a_text(row, "phrase_type"), image):
            return None
        return Example(
            an_id(row, "qid"),
            self._images.path(image),
            a_text(row, "question").strip(),
            (_answer(row["answer"]),),
            _answer_type(row),
            intern(str(row.get("question_type") or "").strip()) or None,
            meta={key: row[key] for key in _META if key in row},
        )

    def _belongs(self, phrase_type: str, image: str) -> bool:
        if _is_test(phrase_type) or self._split == "test":
            return _is_test(phrase_type) and self._split == "test"
        held_out = image in self._held_out
        return {"train": not held_out, "val": held_out}.get(self._split, True)


def _is_test(phrase_type: Any) -> bool:
    return isinstance(phrase_type, str) and phrase_type.startswith("test")


def _held_out(rows: Sequence[Any]) -> set[str]:
    """Every tenth image, by name, that questions outside test are about."""
    asked = [row for row in rows if isinstance(row, dict) and not _is_test(row.get("phrase_type"))]
    names = {row.get("image_name") for row in asked}
    return set(sorted(name for name in names if isinstance(name, str))[::_HOLD_OUT])


def _answer(value: Any) -> str:
    """Some answers are numbers in the official file, some end in white space."""
    if type(value) in (int, float):
        return str(value)
    if not isinstance(value, str) or not value.strip():
        raise DataError(f"answer must be a non-empty string or a number, not {str(value)[:80]!r}")
    return intern(value.strip())


def _answer_type(row: dict[str, Any]) -> str:
    """One official row has a space after CLOSED."""
    kind = a_text(row, "answer_type").strip().upper()
    if kind not in ("CLOSED", "OPEN"):
        raise DataError(f"answer_type must be CLOSED or OPEN, not {row['answer_type']!r}")
    return kind
