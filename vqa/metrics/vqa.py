"""VQA accuracy as the official evaluation of VQA v1 and v2 computes it; OK-VQA uses it too.

Source: GT-Vision-Lab/VQA, PythonEvaluationTools/vqaEvaluation/vqaEval.py, whose behaviour under
Python 2.7 (ASCII digits) is kept, quirks included.
"""

import re
from collections.abc import Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from vqa.metrics.accepted import check_answers
from vqa.metrics.consensus import consensus
from vqa.metrics.contractions import CONTRACTIONS
from vqa.metrics.summary import mean_score, mean_scores, paired

if TYPE_CHECKING:
    from vqa.datasets import Example

_MARK = re.compile(r"""[;/\[\]"{}()=+\\_\-><@`,?!]""")
_THOUSANDS = re.compile(r"[0-9],[0-9]")
_PERIOD = re.compile(r"\.(?![0-9])")
_MOST_PERIODS = 32  # the official call passes re.UNICODE, which is 32, where the count stands
_NUMBERS = {
    "none": "0",
    **{"zero": "0", "one": "1", "two": "2", "three": "3", "four": "4", "five": "5"},
    **{"six": "6", "seven": "7", "eight": "8", "nine": "9", "ten": "10"},
}
_ARTICLES = {"a", "an", "the"}


def vqa_accuracy(prediction: str, answers: Sequence[str]) -> float:
    """The share of other annotators who agree, a third of them at most counting as all.

    Where all answers are the same they are compared as they are, so that "Yes" is not "yes";
    otherwise the prediction and the answers are processed. Raises ValueError without answers.
    """
    check_answers(answers)
    distinct = set(answers)
    if len({_clean(answer) for answer in distinct} if len(distinct) > 1 else distinct) == 1:
        matches = len(answers) if _clean(prediction) == _clean(answers[0]) else 0
    else:
        matches = list(map(processed, answers)).count(processed(prediction))
    return consensus(matches, len(answers))


@lru_cache(maxsize=1 << 17)  # a split's answers repeat; about 30 MB when full
def processed(answer: str) -> str:
    """The answer as the official evaluation compares it where annotators differ.

    White space at the ends, punctuation, capitals and articles go, number words become digits,
    apostrophes come back.
    """
    text = _clean(answer)
    return process_words(process_punctuation(text, _PERIOD, bool(_THOUSANDS.search(text))))


def process_punctuation(text: str, period: re.Pattern[str], delete: bool = False) -> str:
    """Marks of punctuation become spaces, or vanish; so do the first 32 matches of `period`.

    A mark vanishes everywhere if it stands beside a space anywhere; with `delete` every mark does.
    """
    if marks := set(_MARK.findall(text)):
        gone = {mark for mark in marks if delete or f"{mark} " in text or f" {mark}" in text}
        text = text.translate({ord(mark): "" if mark in gone else " " for mark in marks})
    return period.sub("", text, count=_MOST_PERIODS) if "." in text else text


def process_words(text: str) -> str:
    """Lower case, digits for number words, no articles, apostrophes in contractions."""
    words = (_NUMBERS.get(word, word) for word in text.lower().split())
    return " ".join(CONTRACTIONS.get(word, word) for word in words if word not in _ARTICLES)


def vqa_report(examples: Sequence["Example"], predictions: Sequence[str]) -> dict[str, Any]:
    """Overall accuracy, and by question type and answer type, as the official tool reports them.

    Raises ValueError when the lengths differ or an example has no answers.
    """
    scores = [
        vqa_accuracy(text, example.answers) for example, text in paired(examples, predictions)
    ]
    return {
        **mean_score(scores),
        "per_question_type": mean_scores([e.question_type for e in examples], scores),
        "per_answer_type": mean_scores([e.answer_type for e in examples], scores),
    }


def _clean(answer: str) -> str:
    return answer.replace("\n", " ").replace("\t", " ").strip()
