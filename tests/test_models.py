"""The models in the package: their names, cards and what the demo makes of them."""

import json
from dataclasses import replace
from pathlib import Path

import gradio as gr
import pytest

from app import choice
from app.choice import Choice, note
from vqa import checkpoint, models
from vqa.__main__ import main
from vqa.data.derived import NOT_THERE
from vqa.predictor import Answer, Predictor

ANSWER = Answer("9.00", 0.4, (), 10, 10, 1.0, 5, 0.1, models.DEFAULT)


def test_every_bundled_model_has_a_card_and_is_small() -> None:
    found = models.names()
    assert found[0] == models.DEFAULT and len(found) == len(set(found))
    for name in found:
        card, folder = models.card(name), models.folder(name)
        assert card is not None and folder is not None
        assert card.trained_for and card.cannot and card.score
        assert card.size == (folder / "model.safetensors").stat().st_size <= 25e6
        assert checkpoint.find(name) == folder


def test_a_folder_of_that_name_comes_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / models.DEFAULT).mkdir()
    assert checkpoint.find(models.DEFAULT) == Path(models.DEFAULT)


def test_names_of_nothing_are_told_with_those_there_are() -> None:
    assert models.folder("none-such") is None and models.card("none-such") is None
    with pytest.raises(
        ValueError, match=f"no model folder none-such; bundled models: .*{models.DEFAULT}"
    ):
        checkpoint.find("none-such")


def test_the_command_lists_them(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["models"]) == 0
    told = capsys.readouterr().out
    assert f"{models.DEFAULT} (the default)" in told and "cannot:" in told
    assert main(["models", "--json"]) == 0
    assert [row["name"] for row in json.loads(capsys.readouterr().out)] == models.names()


def test_visitors_choose_by_name_and_models_load_once(
    predictor: Predictor, monkeypatch: pytest.MonkeyPatch
) -> None:
    loaded: list[str] = []

    def load(name: str) -> Predictor:
        loaded.append(name)
        return predictor

    monkeypatch.setattr(choice.Predictor, "from_pretrained", load)
    chosen = Choice(predictor, models.names())
    assert chosen.names == [predictor.name, *models.names()]
    assert chosen.get() is predictor and chosen.get(predictor.name) is predictor and not loaded
    for _ in range(2):
        assert chosen.get(models.DEFAULT) is predictor
    assert loaded == [models.DEFAULT]
    with pytest.raises(gr.Error, match="there is no model 'other'; choose one of"):
        chosen.get("other")


def test_an_answer_no_better_than_a_guess_says_so() -> None:
    assert ANSWER.verdict == "9.00"
    unsure = replace(ANSWER, abstains=True)
    assert unsure.verdict == "I cannot tell (a guess: 9.00)"
    assert replace(unsure, answer="").verdict == "I cannot tell (a guess: no words)"
    assert replace(unsure, answer=NOT_THERE).verdict == "I cannot tell: not on the image"
    assert note("anything") == ""


def test_the_note_says_what_it_cannot() -> None:
    card = models.card(models.DEFAULT)
    assert card is not None
    assert card.trained_for in note(card.name) and f"It cannot {card.cannot}" in note(card.name)
