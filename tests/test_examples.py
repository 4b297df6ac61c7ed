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


@pytest.mark.parametrize(("name", "question"), QUESTIONS.items())
def test_the_examples_are_of_the_test_split(name: str, question: str) -> None:
    assert question in official(name)


def test_the_bundled_model_answers_the_examples() -> None:
    """Needs the bundled model (vqa/bundled)."""
    assert models.names()[0] == models.DEFAULT
    bundled = Predictor.from_pretrained()
    for name, question in QUESTIONS.items():
        found = bundled.ask(EXAMPLES / name, question)
        assert found.answer == official(name)[question]
        assert found.score > 0.5
