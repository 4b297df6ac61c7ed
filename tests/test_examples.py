"""The examples of the demo: from the test split, and answered right by the bundled model."""

from pathlib import Path

import pytest

from app.demo import EXAMPLES, QUESTIONS
from vqa import datasets, models
from vqa.predictor import Predictor


def official(name: str) -> dict[str, str]:
    """Question and answer of the test split's image `name`, as the data set tells them."""
    split = datasets.create("easy_vqa", None, "test")
    rows = [e for e in (split[i] for i in range(len(split))) if Path(str(e.image)).name == name]
    assert Path(str(rows[0].image)).read_bytes() == (EXAMPLES / name).read_bytes()
    return {row.question: row.answers[0] for row in rows}


def written() -> dict[str, tuple[str, ...]]:
    """Questions and answers of receipt.png, a generated page: number 1 of the test split."""
    words = {"layouts": "receipt", "kinds": "total,date,time,row,company,address"}
    split = datasets.create(
        "pages", None, "test", size=900, questions=6, count=600, seed=3, **words
    )
    rows = [split[number] for number in range(6, 12)]
    return {row.question: row.answers for row in rows}


@pytest.mark.parametrize(("name", "question", "model"), QUESTIONS)
def test_the_examples_are_of_the_test_split(name: str, question: str, model: str) -> None:
    assert question in (written() if name == "receipt.png" else official(name))


@pytest.mark.parametrize(("name", "question", "model"), QUESTIONS)
def test_the_bundled_models_answer_the_examples(name: str, question: str, model: str) -> None:
    """Needs the bundled models (vqa/bundled)."""
    expected = written()[question] if name == "receipt.png" else (official(name)[question],)
    found = Predictor.from_pretrained(model).ask(EXAMPLES / name, question)
    assert found.answer in expected
    assert found.score > 0.5
    assert found.tokens < 2000, "those that there are, not as many as there may be"


def test_the_default_model_comes_first() -> None:
    assert models.names()[0] == models.DEFAULT
