"""The command line as a person meets it: answers, and one sentence for each mistake."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from vqa.__main__ import main


def run(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    """Exit code, standard output and standard error of one command."""
    code = main(list(arguments))
    told = capsys.readouterr()
    return code, told.out, told.err


@pytest.fixture
def photo(tmp_path: Path) -> str:
    path = tmp_path / "photo.png"
    Image.new("RGB", (100, 70), (200, 30, 30)).save(path)
    return str(path)


def test_installed_command(tiny: Path, photo: str) -> None:
    """The console script and `python -m vqa`, as processes of their own."""
    script = Path(sys.executable).with_name("vqa")
    question = [photo, "what color is it?", "--model", str(tiny), "--json"]
    told = [
        json.loads(subprocess.run(command + question, capture_output=True, check=True).stdout)
        for command in ([str(script), "ask"], [sys.executable, "-m", "vqa", "ask"])
    ]
    for answer in told:
        del answer["seconds"]
    assert told[0] == told[1]


def test_ask_json(tiny: Path, photo: str, capsys: pytest.CaptureFixture[str]) -> None:
    options = ["--model", str(tiny), "--top-k", "3", "--json"]
    code, out, _ = run(capsys, "ask", photo, "what color is it?", *options)
    told = json.loads(out)
    assert code == 0
    assert set(told) == {
        *(
            "answer",
            "score",
            "top_k",
            "width",
            "height",
            "scale",
            "tokens",
            "seconds",
            "model",
            "patch_scale",
            "rotation",
            "abstains",
        )
    }
    assert (told["width"], told["height"], told["model"]) == (100, 70, str(tiny))
    scores = [candidate["score"] for candidate in told["top_k"]]
    assert scores == sorted(scores, reverse=True) and 1 <= len(scores) <= 3
    assert told["top_k"][0] == {"answer": told["answer"], "score": told["score"]}
    assert told["tokens"] > 5 * 7 + 2 * 4  # patches of 16 px, the overview, the question


def test_ask_text(tiny: Path, photo: str, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = run(capsys, "ask", photo, "what color is it?", "--model", str(tiny))
    assert code == 0
    assert "read 100 x 70 pixels at full size as" in out


MISTAKES = {
    "missing image": (["ask", "nowhere.png", "what?"], "nowhere.png"),
    "no image": (["ask", "EMPTY", "what?"], "empty.png"),
    "text file": (["ask", "TEXT", "what?"], "text.png"),
    "folder": (["ask", "FOLDER", "what?"], "folder"),
    "empty question": (["ask", "PHOTO", "  "], "the question is empty"),
    "endless question": (["ask", "PHOTO", "why " * 1250], "the question has 4,999 characters"),
    "too large": (["ask", "PHOTO", "what?", "--max-pixels", "6999"], "7,000"),
    "top-k": (["ask", "PHOTO", "what?", "--top-k", "0"], "top_k must be between 1 and 50, not 0"),
    "model": (["ask", "PHOTO", "what?", "--model", "./nowhere"], "no model folder ./nowhere"),
    "not a model": (["ask", "PHOTO", "what?", "--model", "FOLDER"], "has no config.json"),
    "data set": (
        ["evaluate", "--dataset", "nope", "--out", "OUT"],
        "choose one of aokvqa, boxes, canvas",
    ),
    "no root": (["evaluate", "--dataset", "jsonl", "--out", "OUT"], "root"),
    "wrong root": (
        ["evaluate", "--dataset", "jsonl", "--root", "FOLDER", "--out", "OUT"],
        "no test.jsonl",
    ),
    "split": (["evaluate", "--dataset", "easy_vqa", "--split", "x", "--out", "OUT"], "split 'x'"),
}


@pytest.mark.parametrize(("arguments", "sentence"), MISTAKES.values(), ids=list(MISTAKES))
def test_mistakes(
    arguments: list[str],
    sentence: str,
    tiny: Path,
    photo: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Exit code 2 and exactly one line that names what is wrong."""
    (tmp_path / "empty.png").touch()
    (tmp_path / "text.png").write_text("hello")
    (tmp_path / "folder").mkdir()
    places = {
        "PHOTO": photo,
        "EMPTY": str(tmp_path / "empty.png"),
        "TEXT": str(tmp_path / "text.png"),
        "FOLDER": str(tmp_path / "folder"),
        "OUT": str(tmp_path / "out"),
    }
    arguments = [places.get(word, word) for word in arguments]
    if arguments[0] == "ask" and "--model" not in arguments:
        arguments += ["--model", str(tiny)]
    code, out, error = run(capsys, *arguments)
    assert code == 2
    assert out == ""
    assert error.startswith("vqa: ") and error.count("\n") == 1
    assert sentence in error


@pytest.mark.parametrize(
    "arguments",
    [["ask", "x.png"], ["nope"], ["ask", "a", "b", "--nope"], ["evaluate", "--out", "x"]],
    ids=["no question", "no such command", "no such option", "no data set"],
)
def test_usage(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    code, _, error = run(capsys, *arguments)
    assert code == 2
    assert "Usage" in error and "Traceback" not in error


@pytest.mark.parametrize("command", ["ask", "evaluate", "export"])
def test_help(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = run(capsys, command, "--help")
    assert code == 0
    assert "--help" in out


def test_fit_help_explains_every_argument(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "argv", ["vqa"])
    code, out, _ = run(capsys, "fit", "--help")
    assert code == 0
    for words in (
        "--model.network.latents",
        "Latents of a Latte mixer",
        "--data.questions_per_image",
        "megabytes of decoded images",
        "highest learning rate",
    ):
        assert words in out


def test_print_config(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["vqa"])
    config = str(Path(__file__).parents[1] / "configs" / "easy_vqa.yaml")
    code, out, _ = run(capsys, "fit", "-c", config, "--model.network.dim", "64", "--print_config")
    assert code == 0
    assert "dim: 64" in out and "dataset: easy_vqa" in out
