"""GQA: accuracy, consistency, distribution, and with its choices file validity and plausibility.

Source: Hudson and Manning 2019, the eval.py that comes with the questions. What it calls grounding
needs attention maps and is left out.
"""

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from vqa.metrics.accepted import check_answers
from vqa.metrics.summary import group, mean_score, mean_scores, paired

if TYPE_CHECKING:
    from vqa.datasets import Example

Choices = Mapping[str, Mapping[str, Sequence[str]]]
_NO_STEP = ("exist", "query: name", "choose name")
_COMMON = ("color", "material", "shape")


def gqa_accuracy(prediction: str, answers: Sequence[str]) -> float:
    """1.0 if the prediction is an accepted answer, letter by letter, else 0.0."""
    check_answers(answers)
    return float(prediction in answers)


def gqa_report(
    examples: Sequence["Example"], predictions: Sequence[str], choices: Choices | None = None
) -> dict[str, Any]:
    """The numbers of GQA's own evaluation, over the balanced questions, in percent.

    An example's `meta` holds the official fields types, semantic, groups, entailed and isBalanced.
    "consistency" is the accuracy on the questions that follow from the ones answered right; it is
    None unless each of those is among the examples (read all questions, not only the balanced
    ones). "distribution" compares the answers given with the right ones by question group, lower is
    better. `choices` is the official choices file by question id: {"valid": [...], "plausible":
    [...]}; without it validity and plausibility are absent.
    """
    texts = {str(e.question_id): text for e, text in paired(examples, predictions)}
    asked = {str(example.question_id): example for example in examples}
    balanced = [example for example in examples if _meta(example).get("isBalanced", True)]
    if not balanced:
        raise ValueError(
            f"none of the {len(examples)} questions is balanced; GQA scores only those"
        )
    given = [texts[str(example.question_id)] for example in balanced]
    scores = [gqa_accuracy(t, e.answers) for e, t in zip(balanced, given, strict=True)]
    structural = [_meta(e).get("types", {}).get("structural") for e in balanced]
    kinds = [name and ("open" if name == "query" else "binary") for name in structural]
    report = {
        **mean_score(scores),
        **mean_scores(kinds, scores),
        "consistency": _consistency(balanced, scores, asked, texts),
        "distribution": _distribution(balanced, given),
        "per_structural_type": mean_scores(structural, scores),
        "per_semantic_type": mean_scores(
            [_meta(e).get("types", {}).get("semantic") for e in balanced], scores
        ),
        "per_steps": mean_scores([_steps(e) for e in balanced], scores),
        "per_words": mean_scores([len(e.question.split()) for e in balanced], scores),
    }
    if choices is not None:
        for name, key in (("validity", "valid"), ("plausibility", "plausible")):
            report[name] = group(
                [_belongs(e, t, choices, key) for e, t in zip(balanced, given, strict=True)]
            )
    return report


def _meta(example: "Example") -> Mapping[str, Any]:
    return example.meta or {}


def _steps(example: "Example") -> int | None:
    """Reasoning steps; the last one, which only asks, does not count."""
    if "semantic" not in _meta(example):
        return None
    steps = (f"{step['operation']}: {step['argument']}" for step in _meta(example)["semantic"])
    return sum(not any(word in step for word in _NO_STEP) for step in steps)


def _consistency(
    balanced: Sequence["Example"],
    scores: Sequence[float],
    asked: Mapping[str, "Example"],
    texts: Mapping[str, str],
) -> dict[str, Any] | None:
    """Over the questions answered right that entail others: the mean accuracy on those others."""
    means = []
    for example, score in zip(balanced, scores, strict=True):
        own = str(example.question_id)
        others = [str(other) for other in _meta(example).get("entailed", ()) if str(other) != own]
        if score and others:
            if any(other not in asked for other in others):
                return None
            right = [gqa_accuracy(texts[other], asked[other].answers) for other in others]
            means.append(sum(right) / len(right))
    return group(means) if means else None


def _distribution(balanced: Sequence["Example"], given: Sequence[str]) -> float | None:
    """Chi-square of answers given and right answers, weighted by the size of a group, over 100."""
    gold: dict[str, Counter[str]] = defaultdict(Counter)
    predicted: dict[str, Counter[str]] = defaultdict(Counter)
    for example, text in zip(balanced, given, strict=True):
        name = _meta(example).get("groups", {}).get("global")
        if name is not None:
            gold[name][example.answers[0]] += 1
            predicted[name][text] += 1
    if not gold:
        return None
    total = 0.0
    for name, counts in gold.items():
        square = sum((predicted[name][answer] - n) ** 2 / n for answer, n in counts.items())
        total += square * counts.total()
    return total / sum(counts.total() for counts in gold.values()) / 100


def _belongs(example: "Example", text: str, choices: Choices, key: str) -> float:
    own = str(example.question_id)
    if own not in choices or key not in choices[own]:
        raise ValueError(
            f"the choices file has no {key!r} answers for question {own}; use its own file"
        )
    # The official tool's own rule for questions such as "what do both have in common?".
    common = "Common" in (_meta(example).get("types", {}).get("detailed") or "")
    return float(text in (_COMMON if common else choices[own][key]))
