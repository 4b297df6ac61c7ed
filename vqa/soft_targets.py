"""How right each answer of a question is, for training on more than one of them."""

from collections import Counter
from collections.abc import Sequence

from vqa.metrics.vqa import processed


def soft_targets(answers: Sequence[str]) -> dict[str, float]:
    """min(1, 0.3 n) for each distinct answer that n annotators gave, in order of appearance.

    The convention of VQA (Teney et al. 2018), made for ten annotators: one of them alone is 0.3.
    Spellings that the VQA metric takes for one answer ("Two", "2") count as one, under the spelling
    most often given, the first of equals. Blank answers are left out unless there is nothing else.
    Raises ValueError without answers.
    """
    if isinstance(answers, str) or not answers:
        raise ValueError(f"answers must be a non-empty list of strings, not {answers!r}")
    given = [answer.strip() for answer in answers]
    given = [answer for answer in given if answer] or given
    spellings: dict[str, Counter[str]] = {}
    for answer in given:
        spellings.setdefault(processed(answer), Counter())[answer] += 1
    return {
        # most_common keeps the order of appearance among equals.
        spelled.most_common(1)[0][0]: min(1.0, 3 * spelled.total() / 10)
        for spelled in spellings.values()
    }
