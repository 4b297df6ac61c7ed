"""Reports of the official tools, by hand and by naive judges."""

import json
import random
from collections.abc import Callable
from typing import Any

import pytest

from vqa import metrics
from vqa.datasets import Example

REPORTS: list[Callable[..., Any]] = [
    getattr(metrics, name) for name in metrics.__all__ if name.endswith("_report")
]


@pytest.mark.parametrize("report", REPORTS)
def test_bad_input_is_one_sentence(report: Callable[..., Any]) -> None:
    example = Example(7, "", "what?", ("cat",))
    with pytest.raises(ValueError, match="2 predictions for 1 questions"):
        report([example], ["cat", "dog"])
    with pytest.raises(ValueError, match="0 predictions for 0 questions"):
        report([], [])
    with pytest.raises(ValueError, match="question 7 has no answers"):
        report([Example(7, "", "what?", ())], ["cat"])


@pytest.mark.parametrize("report", REPORTS)
def test_plain_values_without_groups(report: Callable[..., Any]) -> None:
    """A data set may lack types and meta; three answers make one match of any formula's kinds."""
    examples = [Example(i, "", "what is it?", ("cat",) * 10) for i in range(3)]
    told = report(examples, ["cat", "dog", "dog"])
    assert told["overall"] == 33.33 and told["n"] == 3
    assert told["overall_unrounded"] == pytest.approx(100 / 3)
    json.dumps(told)


def test_chartqa_weighs_its_two_halves_alike() -> None:
    examples = [
        Example(index, "", "how much?", ("100",), "human" if index < 3 else "augmented")
        for index in range(4)
    ]
    told = metrics.chartqa_report(examples, ["104", "5", "6", "95"])
    assert {name: row["score"] for name, row in told["per_answer_type"].items()} == {
        "human": 33.33,
        "augmented": 100.0,
    }
    assert told["overall"] == 66.67 and told["mean_of_questions"] == 50.0
    assert metrics.chartqa_report(examples[:3], ["104", "5", "6"])["overall"] == 33.33


def test_aokvqa_leaves_difficult_questions_out_of_direct_answers_only() -> None:
    ten = ("taxi",) * 3 + ("cab",) * 7
    direct = [Example(i, "", "?", ten, meta={"difficult": i == 0}) for i in range(3)]
    told = metrics.aokvqa_report(direct, ["taxi", "taxi", "bus"])
    assert (told["task"], told["overall"], told["n"], told["left_out"]) == (
        *("direct_answer", 50.0),
        *(2, 1),
    )
    choices = ("taxi", "cab", "bus", "car")
    multiple = [
        Example(i, "", "?", ("taxi",), choices=choices, meta={"difficult": i == 0})
        for i in range(4)
    ]
    told = metrics.aokvqa_report(multiple, ["taxi", "taxi", "taxi", "Taxi"])
    assert (told["task"], told["overall"], told["n"]) == ("multiple_choice", 75.0, 4)
    with pytest.raises(ValueError, match="difficult"):
        metrics.aokvqa_report(direct[:1], ["taxi"])


def test_clevr_by_last_function() -> None:
    kinds = ["count", "count", "exist", "query_color"]
    answers = ["3", "2", "yes", "red"]
    examples = [
        Example(index, "", "?", (answer,), question_type=kind)
        for index, (answer, kind) in enumerate(zip(answers, kinds, strict=True))
    ]
    told = metrics.clevr_report(examples, ["3", "3", "yes", "blue"])
    assert told["overall"] == 50.0
    assert {name: (row["score"], row["n"]) for name, row in told["per_question_type"].items()} == {
        "count": (50.0, 2),
        "exist": (100.0, 1),
        "query_color": (0.0, 1),
    }


# VizWiz


def naive_average_precision(scores: list[float], positive: list[bool]) -> float:
    """Sum over thresholds of (recall gained) x precision."""
    total, before = 0.0, 0.0
    for threshold in sorted(set(scores), reverse=True):
        taken = [label for score, label in zip(scores, positive, strict=True) if score >= threshold]
        recall = sum(taken) / sum(positive)
        total += (recall - before) * sum(taken) / len(taken)
        before = recall
    return total


def test_answerability_by_definition() -> None:
    chance = random.Random(0)
    for _ in range(200):
        n = chance.randint(1, 30)
        probabilities = [chance.randint(0, 8) / 8 for _ in range(n)]
        answerable = [chance.randint(0, 1) for _ in range(n)]
        told = metrics.answerability(probabilities, answerable)
        positive = [not label for label in answerable]
        guessed = [1 - p > 0.5 for p in probabilities]
        if not any(positive):
            assert told == {"average_precision": 0, "f1": 0}
            continue
        unanswerable = [1 - p for p in probabilities]
        expected = naive_average_precision(unanswerable, positive)
        assert told["average_precision"] == pytest.approx(expected)
        hits = sum(g and p for g, p in zip(guessed, positive, strict=True))
        precision, recall = hits / max(1, sum(guessed)), hits / sum(positive)
        f1 = 2 * precision * recall / (precision + recall) if hits else 0
        assert told["f1"] == pytest.approx(f1)


def test_answerability_by_hand() -> None:
    """Ranked unanswerable first: right, wrong, right -> (1 + 2/3) / 2."""
    told = metrics.answerability([0.1, 0.2, 0.3, 0.9], [0, 1, 0, 1])
    assert told == {
        "average_precision": pytest.approx(5 / 6),
        "f1": pytest.approx(2 * (2 / 3) * 1 / (2 / 3 + 1)),
    }


@pytest.mark.parametrize(
    ("probabilities", "match"),
    [
        ([0.5], "not 1 for 2"),
        ([], "not 0 for 2"),
        ([0.5, 1.5], "1.5"),
        ([0.5, float("nan")], "nan"),
    ],
)
def test_answerability_refuses(probabilities: list[float], match: str) -> None:
    with pytest.raises(ValueError, match=match):
        metrics.answerability(probabilities, [0, 1])


def test_vizwiz_report() -> None:
    examples = [
        Example(i, "", "?", ("cat",) * 10, kind, meta={"answerable": int(kind != "unanswerable")})
        for i, kind in enumerate(["other", "unanswerable"])
    ]
    told = metrics.vizwiz_report(examples, ["cat", "dog"], [0.9, 0.2])
    assert told["overall"] == 50.0 and "answerability" not in metrics.vizwiz_report(
        examples, ["a", "b"]
    )
    assert told["per_answer_type"]["other"]["score"] == 100.0
    assert told["answerability"]["average_precision"] == 100.0
    assert told["answerability"]["f1"] == 100.0


# GQA


def gqa(
    identity: str,
    answer: str,
    structural: str = "query",
    entailed: tuple[str, ...] = (),
    **meta: Any,
) -> Example:
    semantic = [
        {"operation": "select", "argument": "dog", "dependencies": []},
        {"operation": "relate", "argument": "man,holding,s", "dependencies": [0]},
        {"operation": "query", "argument": "name", "dependencies": [1]},
    ]
    known = {
        "types": {"structural": structural, "semantic": "rel", "detailed": "relS"},
        "groups": {"global": "animal", "local": "1"},
        "entailed": list(entailed),
        "semantic": semantic,
        "isBalanced": True,
    }
    return Example(identity, "", "who holds the dog ?", (answer,), meta=known | meta)


def test_gqa_by_hand() -> None:
    examples = [
        gqa("1", "man", entailed=("1", "2", "3")),
        gqa("2", "yes", "verify", groups={"global": None, "local": "2"}),
        gqa("3", "yes", "verify", groups={"global": None, "local": "2"}, isBalanced=False),
        gqa("4", "boy", entailed=("2",)),
        gqa("5", "man", semantic=[{"operation": "verify", "argument": "exist"}]),
    ]
    predictions = ["man", "yes", "no", "man", "girl"]
    told = metrics.gqa_report(examples, predictions)
    assert told["overall"] == 50.0 and told["n"] == 4  # question 3 is not balanced
    assert told["binary"]["score"] == 100.0 and told["open"]["score"] == 33.33
    assert told["consistency"]["score"] == 50.0  # 1 is right: of 2 and 3 one is; 4 is wrong
    # animal: right man 2, boy 1; answered man 2, girl 1 -> (0 + 1) * 3 / 3 / 100
    assert told["distribution"] == pytest.approx(0.01)
    assert told["per_structural_type"]["verify"]["n"] == 1
    assert {name: row["n"] for name, row in told["per_steps"].items()} == {"0": 1, "2": 3}
    assert {name: row["n"] for name, row in told["per_words"].items()} == {"5": 4}
    assert "validity" not in told
    json.dumps(told)


@pytest.mark.parametrize("argument", ["exist", "query: name", "choose name"])
def test_gqa_steps_leave_out_the_last(argument: str) -> None:
    operation, _, rest = argument.partition(" ")
    asked = {"operation": operation.removesuffix(":"), "argument": rest}
    if argument == "choose name":  # the official test is of "operation: argument"
        asked = {"operation": "do", "argument": argument}
    steps = [{"operation": "select", "argument": "dog"}, asked]
    told = metrics.gqa_report([gqa("1", "man", semantic=steps)], ["man"])
    assert set(told["per_steps"]) == {"1"}


def test_gqa_consistency_needs_the_entailed_questions() -> None:
    examples = [gqa("1", "man", entailed=("9",)), gqa("2", "yes")]
    assert metrics.gqa_report(examples, ["man", "yes"])["consistency"] is None
    assert metrics.gqa_report(examples, ["boy", "yes"])["consistency"] is None  # nothing entailed


def test_gqa_choices() -> None:
    common = {"structural": "query", "semantic": "attr", "detailed": "sameCommon Common"}
    examples = [gqa("1", "man"), gqa("2", "boy"), gqa("3", "color", types=common)]
    choices = {
        "1": {"valid": ["man", "boy"], "plausible": ["man"]},
        "2": {"valid": ["man", "boy"], "plausible": ["man"]},
        "3": {"valid": [], "plausible": []},
    }
    told = metrics.gqa_report(examples, ["boy", "cat", "material"], choices)
    assert told["validity"]["score"] == 66.67 and told["plausibility"]["score"] == 33.33
    with pytest.raises(ValueError, match="no 'valid' answers for question 3"):
        metrics.gqa_report(examples, ["a", "b", "c"], {k: choices[k] for k in "12"})


def test_gqa_refuses_a_split_without_balanced_questions() -> None:
    with pytest.raises(ValueError, match="balanced"):
        metrics.gqa_report([gqa("1", "man", isBalanced=False)], ["man"])


def naive_distribution(examples: list[Example], predictions: list[str]) -> float:
    total, weight = 0.0, 0
    names = {(e.meta or {})["groups"]["global"] for e in examples} - {None}
    for name in names:
        places = [i for i, e in enumerate(examples) if (e.meta or {})["groups"]["global"] == name]
        right, given = [examples[i].answers[0] for i in places], [predictions[i] for i in places]
        square = sum((given.count(a) - right.count(a)) ** 2 / right.count(a) for a in set(right))
        total, weight = total + square * len(places), weight + len(places)
    return total / weight / 100


def test_gqa_distribution_by_definition() -> None:
    chance = random.Random(4)
    for _ in range(50):
        examples = [
            gqa(str(i), chance.choice("abc"), groups={"global": chance.choice(["x", "y", None])})
            for i in range(12)
        ] + [gqa("last", "a", groups={"global": "x"})]
        predictions = [chance.choice("abcd") for _ in examples]
        told = metrics.gqa_report(examples, predictions)["distribution"]
        assert told == pytest.approx(naive_distribution(examples, predictions))
