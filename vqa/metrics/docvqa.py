"""ANLS, average normalised Levenshtein similarity: DocVQA, InfographicVQA and ST-VQA.

Source: Biten et al. 2019, arXiv 1907.00490, equation 1, and the script of the Robust Reading
Competition, whose scores the leaderboards show.
"""

from collections.abc import Sequence

from vqa.metrics.accepted import check_answers

_THRESHOLD = 0.5


def anls(prediction: str, answers: Sequence[str], strict: bool = False) -> float:
    """1 - edit distance / length of the most similar answer; 0 where that is below one half.

    Case and white space are ignored. The competition's script divides by the length before white
    space is collapsed and keeps a similarity of exactly one half; `strict` does as the paper
    writes, with the collapsed length and 0 at one half. Raises ValueError without answers.
    """
    check_answers(answers)
    best = max(_similarity(prediction, answer, strict) for answer in answers)
    return best if best > _THRESHOLD or (best == _THRESHOLD and not strict) else 0.0


def _similarity(prediction: str, answer: str, strict: bool) -> float:
    from rapidfuzz.distance import Levenshtein  # only these data sets need it

    one, other = (" ".join(text.lower().split()) for text in (prediction, answer))
    if strict:
        length = max(len(one), len(other))
    else:
        length = max(len(prediction.upper()), len(answer.upper()))  # "ß" counts as two, as there
    return 1 - Levenshtein.distance(one, other) / length if length else 1.0
