"""`vqa evaluate --features`: the same answers, images read once, and never stale ones."""

import json
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from networks import TINY
from PIL import Image, ImageDraw
from predictions import chances_of, rows_of, same_answers
from test_features_cli import FREEZE, options

from vqa import datasets, images
from vqa import tokenizer as tokenizers
from vqa.__main__ import main
from vqa.budget import Budget
from vqa.config import Network, Vision
from vqa.evaluation.run import evaluate
from vqa.evaluation.settings import Settings
from vqa.model import build
from vqa.predictor import Predictor

GLYPHS = replace(TINY, vision=Vision(encoder="glyphs"), answer_tokens=4)


def asking(network: Network, seed: int = 0) -> Predictor:
    torch.manual_seed(seed)
    tokenizer = tokenizers.train(iter([]), tokenizers.BYTES)
    return Predictor(build(network, tokenizer), tokenizer)


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Five pages with print and one without, two questions each."""
    root, rows = tmp_path_factory.mktemp("pages"), []
    for number in range(6):
        image = Image.new("RGB", (200 + 20 * number, 90), "white")
        if number:
            ImageDraw.Draw(image).text((10, 20), f"No. {number}\nTotal 1{number}.50", "black")
        image.save(root / f"{number}.png")
        for kind in ("which?", "what is the total?"):
            row = {"question_id": f"{number}{kind}", "image": f"{number}.png", "question": kind}
            rows.append({**row, "answers": [str(number)]})
    text = "".join(json.dumps(row) + "\n" for row in rows)
    (root / "test.jsonl").write_text(text, encoding="utf-8")
    return root


@pytest.fixture
def blind(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """From its call on whoever decodes an image fails."""
    return lambda: monkeypatch.setattr(images, "open", None)


def answers(
    predictor: Predictor, root: Path, out: Path, features: Path | None = None, **words: Any
) -> Path:
    """The folder of all that is written of the answers."""
    data = datasets.create("jsonl", str(root), "test")
    evaluate(predictor, data, out, Settings(features=features, **words))
    return out


def written(out: Path) -> bytes:
    return (out / "predictions.jsonl").read_bytes()


@pytest.mark.parametrize("find", (True, False), ids=("finds", "reads"))
def test_features_give_the_same_answers_and_no_image_is_read_again(
    find: bool, pages: Path, tmp_path: Path, blind: Callable[[], None]
) -> None:
    """To the bit where the same shapes are summed: by new features and by kept ones, and without
    any by a network that finds. Of another, images without them have room for words beside."""
    predictor = asking(replace(GLYPHS, find=find))
    kept = tmp_path / "features"
    without = answers(predictor, pages, tmp_path / "without", batch_size=7)
    first = answers(predictor, pages, tmp_path / "first", kept, batch_size=7)
    same_answers(first, without)
    if find:
        assert written(first) == written(without)
    assert len(list(kept.rglob("*.safetensors"))) == 6
    blind()
    second = answers(predictor, pages, tmp_path / "second", kept, batch_size=7)
    assert written(second) == written(first)


def test_a_twin_finds_them_and_another_encoder_does_not(
    pages: Path, tmp_path: Path, blind: Callable[[], None]
) -> None:
    kept = tmp_path / "features"
    ours, other = asking(GLYPHS), asking(GLYPHS, seed=1)
    twin = asking(replace(GLYPHS, mixer="attention"), seed=2)
    twin.model.vision.trunk.load_state_dict(ours.model.vision.trunk.state_dict())
    expected = [answers(one, pages, tmp_path / f"{id(one)}") for one in (other, twin)]
    answers(ours, pages, tmp_path / "ours", kept)
    same_answers(answers(other, pages, tmp_path / "other", kept), expected[0])
    assert len(list(kept.rglob("*.safetensors"))) == 12
    blind()
    same_answers(answers(twin, pages, tmp_path / "twin", kept), expected[1])


@pytest.mark.parametrize(
    "words", ({"budget": Budget(max_tokens=25)}, {"longest_side": 40}), ids=("budget", "side")
)
def test_a_smaller_reading_has_features_of_its_own(
    words: dict[str, Any], squares: Path, predictor: Predictor, tmp_path: Path
) -> None:
    """Of a ViT, alone in its batch."""
    kept, words = tmp_path / "features", words | {"batch_size": 1}
    full = answers(predictor, squares, tmp_path / "full", kept, batch_size=1)
    same_answers(answers(predictor, squares, tmp_path / "alone", batch_size=1), full)
    count = len(list(kept.rglob("*.safetensors")))
    without = answers(predictor, squares, tmp_path / "without", **words)
    small, large = (chances_of(rows_of(out)) for out in (without, full))
    assert small != pytest.approx(large, rel=1e-2, abs=0)
    first = answers(predictor, squares, tmp_path / "first", kept, **words)
    same_answers(first, without)
    assert len(list(kept.rglob("*.safetensors"))) > count
    second = answers(predictor, squares, tmp_path / "second", kept, **words)
    assert written(second) == written(first)


def test_a_longest_side_is_that_of_the_picture(
    squares: Path, tiny: Path, predictor: Predictor, tmp_path: Path
) -> None:
    """Images are 32 x 32, 48 x 32 and 100 x 70 px; only the last is larger than 50."""
    given = ["--root", str(squares), "--model", str(tiny), "--dataset", "jsonl"]
    given += ["--out", str(tmp_path / "out"), "--longest-side", "50"]
    assert main(["evaluate", *given]) == 0
    rows = rows_of(tmp_path / "out")
    for row in rows:
        with images.open(str(squares / "images" / row["image"])) as picture:
            shown = picture.within(50)[:, :, :].permute(1, 2, 0).numpy()
            expected = predictor.ask(shown, row["question"], top_k=1)
        assert row["answer"] == expected.answer and row["tokens"] == expected.tokens
        assert row["probability"] == pytest.approx(expected.score, rel=1e-3, abs=0)
        assert row["scale"] == (0.5 if row["width"] == 100 else 1.0)
    fewer = Budget(max_tokens=min(row["tokens"] for row in rows if row["width"] == 100) - 1)
    answers(predictor, squares, tmp_path / "both", longest_side=50, budget=fewer)
    scales = [row["scale"] for row in rows_of(tmp_path / "both") if row["width"] == 100]
    assert scales and max(scales) < 0.5, "the budget shrinks further"


def test_a_folder_goes_on_with_the_same_settings_only(
    pages: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    predictor = asking(GLYPHS)
    answers(predictor, pages, tmp_path / "out", tmp_path / "one")
    answers(predictor, pages, tmp_path / "out", tmp_path / "two")  # wherever they are
    with pytest.raises(ValueError, match="features was True, is False"):
        answers(predictor, pages, tmp_path / "out")
    with pytest.raises(ValueError, match="longest_side was None, is 40"):
        answers(predictor, pages, tmp_path / "out", tmp_path / "one", longest_side=40)


def test_drawn_pictures_have_no_longest_side(predictor: Predictor, tmp_path: Path) -> None:
    data = datasets.create("canvas", split="val", fonts="builtin", kinds="count", count=2, size=512)
    with pytest.raises(ValueError, match="longest side is for image files"):
        evaluate(predictor, data, tmp_path / "a", Settings(longest_side=40))


def test_training_and_evaluation_share_a_folder(
    squares: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, blind: Callable[[], None]
) -> None:
    """At the size that training reads for validation, too."""
    monkeypatch.setattr(sys, "argv", ["vqa"])
    kept, model = ["--data.features", str(tmp_path / "features")], str(tmp_path / "model")
    words = [*options(tmp_path / "run", squares), *FREEZE, *kept]
    words += ["--trainer.max_epochs", "1", "--data.eval_size", "40"]
    assert main(["fit", *words]) == 0
    assert main(["export", str(tmp_path / "run" / "last.ckpt"), model]) == 0
    given = ["--root", str(squares), "--dataset", "jsonl", "--split", "val", "--model", model]
    given += ["--longest-side", "40"]
    assert main(["evaluate", *given, "--out", str(tmp_path / "a"), "--batch-size", "1"]) == 0
    blind()
    given += ["--features", str(tmp_path / "features"), "--batch-size", "1"]
    assert main(["evaluate", *given, "--out", str(tmp_path / "b")]) == 0
    same_answers(tmp_path / "a", tmp_path / "b")
