"""What is in a split of a data set: counts, sizes, lengths, answers, and images that are broken."""

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from vqa.datasets import Dataset, Example, Rendered
from vqa.image_check import Check, check_images

FREQUENT = 20
SHOWN = 5


def survey(dataset: Dataset, processes: int | None = None) -> dict[str, Any]:
    """All of it as plain JSON values; every image file is decoded, by `processes` processes.

    Answers are counted as spelled, those of every annotator. Quantiles are values that occur (the
    nearest rank). "image_sizes" is None for pictures that are drawn, not read from files.
    """
    examples = [dataset[index] for index in range(len(dataset))]
    names = list(dict.fromkeys(example.image for example in examples))
    drawn = isinstance(dataset, Rendered)
    checks = [] if drawn else check_images(names, processes)
    answers = [answer for example in examples for answer in example.answers]
    return {
        "questions": len(examples),
        "images": len(names),
        "drawn": drawn,
        "image_sizes": _sizes(checks),
        "broken_images": [
            {"image": check.path, "reason": check.reason} for check in checks if check.reason
        ],
        "bad_rows": list(dataset.skipped),
        "answers": _distribution(answers),
        "unanswered": sum(not example.answers for example in examples),
        "answer_types": _kinds(example.answer_type for example in examples),
        "question_types": _kinds(example.question_type for example in examples),
        "question_length": lengths([example.question for example in examples]),
        "answer_length": lengths(answers),
        "examples": [_shown(example) for example in _spread(examples)],
    }


def lengths(texts: Sequence[str]) -> dict[str, dict[str, int]] | None:
    """Characters and words (between white space) of the shortest, median, 95 % and longest."""
    if not texts:
        return None
    return {
        "characters": _quantiles([len(text) for text in texts]),
        "words": _quantiles([len(text.split()) for text in texts]),
    }


def _quantiles(values: Sequence[int]) -> dict[str, int]:
    found = np.quantile(values, [0, 0.5, 0.95, 1], method="inverted_cdf")
    return dict(zip(("min", "median", "p95", "max"), map(int, found), strict=True))


def _sizes(checks: Sequence[Check]) -> dict[str, dict[str, Any]] | None:
    """The images with the fewest, the median and the most pixels."""
    sizes = sorted((c.size for c in checks if c.size), key=lambda size: (size[0] * size[1], size))
    if not sizes:
        return None
    places = {"smallest": 0, "median": (len(sizes) - 1) // 2, "largest": -1}
    return {
        name: {
            "width": sizes[place][0],
            "height": sizes[place][1],
            "megapixels": round(sizes[place][0] * sizes[place][1] / 1e6, 6),
        }
        for name, place in places.items()
    }


def _distribution(answers: Sequence[str]) -> dict[str, Any]:
    counts = Counter(answers)
    return {
        "total": len(answers),
        "distinct": len(counts),
        "most_frequent": [
            {"answer": answer, "count": count, "percent": round(100 * count / len(answers), 2)}
            for answer, count in counts.most_common(FREQUENT)
        ],
    }


def _kinds(names: Iterable[str | None]) -> dict[str, int]:
    """Questions of each kind, the most frequent first; nothing where there are no kinds."""
    counts = Counter(names)
    if set(counts) <= {None}:
        return {}
    return {"(none)" if name is None else name: count for name, count in counts.most_common()}


def _spread(examples: Sequence[Example]) -> list[Example]:
    """A few, evenly from the first to the last."""
    shown = min(SHOWN, len(examples))
    last = len(examples) - 1
    return [examples[round(place * last / max(1, shown - 1))] for place in range(shown)]


def _shown(example: Example) -> dict[str, Any]:
    return {
        "question_id": example.question_id,
        "image": example.image,
        "question": example.question,
        "answers": list(dict.fromkeys(example.answers)),
        **({"choices": list(example.choices)} if example.choices else {}),
    }
