"""TextVQA accuracy: VQA's formula over answers that are always processed, EvalAI's way.

Source: facebookresearch/mmf, mmf/utils/m4c_evaluators.py (Python 3: Unicode digits).
"""

import re
from collections.abc import Sequence
from functools import lru_cache

from vqa.metrics.accepted import check_answers
from vqa.metrics.consensus import consensus
from vqa.metrics.vqa import process_punctuation, process_words

_PERIOD = re.compile(r"\.(?!\d)")


def textvqa_accuracy(prediction: str, answers: Sequence[str]) -> float:
    """The share of other annotators who agree, a third of them at most counting as all.

    Differs from `vqa_accuracy` in what is compared: unanimous answers are processed too. Raises
    ValueError when there are no answers.
    """
    check_answers(answers)
    matches = list(map(processed, answers)).count(processed(prediction))
    return consensus(matches, len(answers))


@lru_cache(maxsize=1 << 17)
def processed(answer: str) -> str:
    """The answer as EvalAI's processor writes it.

    Lower case, commas and question marks deleted and "'s" a word of its own, before VQA's own
    processing.
    """
    text = answer.lower().replace(",", "").replace("?", "").replace("'s", " 's").strip()
    text = text.replace("\n", " ").replace("\t", " ").strip()
    return process_words(process_punctuation(text, _PERIOD))
