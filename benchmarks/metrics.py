"""How long does the official VQA v2 report take on a split of its real size?

    python benchmarks/metrics.py

Makes up 214,354 questions with ten answers each, the shares of answer types and of rare answers
about those of VQA v2's validation split, and times `vqa_report` beside a plain implementation of
the same text in the same process; both must agree. Nothing is downloaded.
"""

import random
import re
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from typing import Annotated, Any

import typer
from typer import Option

from vqa.datasets import Example
from vqa.metrics import vqa, vqa_report
from vqa.metrics.contractions import CONTRACTIONS

QUESTIONS = 214_354
TYPES = 65
MARKS = ';/[]"{}()=+\\_-><@`,?!'
NUMBERS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")
Report = Callable[[Sequence[Example], Sequence[str]], dict[str, Any]]


def made_up(count: int, seed: int = 0) -> tuple[list[Example], list[str]]:
    """Questions and predictions: 38 % yes/no, 13 % number, 49 % other with a long tail."""
    chance = random.Random(seed)
    words = [
        "".join(chance.choices("abcdefghijklmnoprstuvwy", k=chance.randint(3, 9)))
        for _ in range(20_000)
    ]
    frequency = [1 / rank for rank in range(1, len(words) + 1)]
    drawn = iter(chance.choices(words, frequency, k=4 * 11 * count))
    examples, predictions = [], []
    for index in range(count):
        kind = chance.choices(("yes/no", "number", "other"), (38, 13, 49))[0]
        first, *others = (_answer(kind, drawn, chance) for _ in range(4))
        agreement = chance.choice((1.0, 0.9, 0.8, 0.6, 0.3))
        answers = tuple(
            first if chance.random() < agreement else chance.choice(others) for _ in range(10)
        )
        name = f"type {chance.randrange(TYPES)}"
        examples.append(Example(index, "", "", answers, kind, name))
        predictions.append(first if chance.random() < 0.6 else others[0])
    return examples, predictions


def _answer(kind: str, drawn: Any, chance: random.Random) -> str:
    if kind == "yes/no":
        return "yes" if chance.random() < 0.53 else "no"
    if kind == "number":
        return chance.choice((str(chance.randint(0, 12)), chance.choice(NUMBERS)))
    text = " ".join(next(drawn) for _ in range(chance.choices((1, 2, 3), (86, 11, 3))[0]))
    if chance.random() < 0.03:
        text = chance.choice(("{}!", "the {}", "{}'s", "t-{}", "on, {}", "dont {}", "{}.")).format(
            text
        )
    return text.title() if chance.random() < 0.02 else text


def plain_process(text: str) -> str:
    """VQA's processing step by step, without a thought for speed."""
    text = out = text.replace("\n", " ").replace("\t", " ").strip()
    for mark in MARKS:
        if mark + " " in text or " " + mark in text or re.search("[0-9],[0-9]", text):
            out = out.replace(mark, "")
        else:
            out = out.replace(mark, " ")
    out = re.sub(r"\.(?![0-9])", "", out, count=32)
    words = []
    for word in out.lower().split():
        word = "0" if word == "none" else word
        word = str(NUMBERS.index(word)) if word in NUMBERS else word
        if word not in ("a", "an", "the"):
            words.append(CONTRACTIONS.get(word, word))
    return " ".join(words)


def plain_accuracy(prediction: str, answers: Sequence[str]) -> float:
    """VQA's accuracy as its formula reads."""
    given = [answer.replace("\n", " ").replace("\t", " ").strip() for answer in answers]
    prediction = prediction.replace("\n", " ").replace("\t", " ").strip()
    if len(set(given)) > 1:
        given, prediction = [plain_process(answer) for answer in given], plain_process(prediction)
    total = 0.0
    for left_out in range(len(given)):
        others = given[:left_out] + given[left_out + 1 :]
        total += min(1.0, sum(answer == prediction for answer in others) / 3)
    return total / len(given)


def plain_report(examples: Sequence[Example], predictions: Sequence[str]) -> dict[str, Any]:
    """Overall, by question type and by answer type."""
    groups: dict[str, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    for example, prediction in zip(examples, predictions, strict=True):
        score = plain_accuracy(prediction, example.answers)
        groups["overall"][""].append(score)
        groups["per_question_type"][str(example.question_type)].append(score)
        groups["per_answer_type"][str(example.answer_type)].append(score)
    means = {
        group: {name: round(100 * sum(some) / len(some), 2) for name, some in sorted(kinds.items())}
        for group, kinds in groups.items()
    }
    return {**means, "overall": means["overall"][""]}


def seconds(report: Report, examples: Sequence[Example], predictions: Sequence[str]) -> float:
    """Of this process's processor, so that other programs do not count; the cache starts empty."""
    vqa.processed.cache_clear()
    started = time.process_time()
    report(examples, predictions)
    return time.process_time() - started


def agree(examples: Sequence[Example], predictions: Sequence[str]) -> bool:
    """Whether both reports hold the same numbers."""
    fast, plain = vqa_report(examples, predictions), plain_report(examples, predictions)
    scores = {
        group: {name: row["score"] for name, row in fast[group].items()}
        for group in ("per_question_type", "per_answer_type")
    }
    return {"overall": fast["overall"], **scores} == plain


def main(
    questions: Annotated[int, Option(min=1, help="How many questions.")] = QUESTIONS,
    runs: Annotated[int, Option(min=1, help="The quickest of so many runs counts.")] = 3,
    seed: Annotated[int, Option(help="Another seed makes up other questions.")] = 0,
) -> None:
    """Time both reports; exit with 1 where they disagree."""
    examples, predictions = made_up(questions, seed)
    distinct = len({answer for example in examples for answer in example.answers})
    print(f"{questions:,} questions, {10 * questions:,} answers, {distinct:,} of them distinct")
    fast = min(seconds(vqa_report, examples, predictions) for _ in range(runs))
    plain = min(seconds(plain_report, examples, predictions) for _ in range(runs))
    same = agree(examples, predictions)
    print(f"vqa_report {fast:.2f} s, plain {plain:.2f} s, ratio {plain / fast:.1f}")
    print("both agree" if same else "THEY DISAGREE")
    raise typer.Exit(0 if same else 1)


if __name__ == "__main__":
    typer.run(main)
