"""`vqa data`: numbers against naive ones, and every broken image found, whatever breaks it."""

import json
import math
import os
import random
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import typer
from image_files import encode, noise, png
from PIL import Image
from typer.testing import CliRunner, Result

from vqa import datasets
from vqa.data_command import data
from vqa.image_check import Check, check_image, check_images
from vqa.survey import lengths, survey

app = typer.Typer()
app.command()(data)


def run(*arguments: object) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def jsonl(root: Path, *rows: dict[str, Any]) -> Path:
    lines = [json.dumps({"question_id": n, **row}) for n, row in enumerate(rows)]
    (root / "train.jsonl").write_text("\n".join(lines))
    return root


def question(image: str, answers: list[str] | None = None, **more: Any) -> dict[str, Any]:
    return {"image": image, "question": "what is it?", "answers": answers or ["x"], **more}


@pytest.fixture
def broken(tmp_path: Path) -> Path:
    """Four good images and four broken ones, two of them with a good header."""
    pixels = noise(40, 30)
    whole = encode(Image.fromarray(pixels), "PNG")
    files = {
        "good.png": whole,
        "wide.jpg": encode(Image.fromarray(noise(8, 60)), "JPEG"),
        "small.png": encode(Image.fromarray(noise(2, 3)), "PNG"),
        "high.bmp": encode(Image.fromarray(noise(90, 5)), "BMP"),
        "cut.png": whole[:-1000],
        "cut.jpg": encode(Image.fromarray(pixels), "JPEG")[:-200],
        "text.png": b"this is no image",
        "empty.png": b"",
    }
    for name, content in files.items():
        (tmp_path / name).write_bytes(content)
    return jsonl(tmp_path, *(question(name) for name in files), question("good.png"))


# --- numbers


def naive(values: list[int]) -> dict[str, int]:
    """The nearest rank: the smallest value that at least so many percent do not exceed."""
    ordered = sorted(values)
    ranks = {"min": 1, "median": math.ceil(len(values) / 2), "max": len(values)}
    ranks["p95"] = -(-95 * len(values) // 100)
    return {name: ordered[rank - 1] for name, rank in ranks.items()}


@pytest.mark.parametrize("count", [1, 2, 3, 19, 20, 21, 40, 100, 257])
def test_lengths_are_the_naive_ones(count: int) -> None:
    rng = random.Random(count)
    texts = [
        " ".join("ä" * rng.randint(1, 9) for _ in range(rng.randint(1, 30))) for _ in range(count)
    ]
    found = lengths(texts)
    assert found is not None
    assert found["characters"] == naive([len(text) for text in texts])
    assert found["words"] == naive([text.count(" ") + 1 for text in texts])


def test_lengths_of_nothing() -> None:
    assert lengths([]) is None


def test_survey_counts(tmp_path: Path) -> None:
    rng = random.Random(0)
    sizes = [(7, 5), (1, 1), (30, 2), (9, 9)]
    for index, size in enumerate(sizes):
        Image.new("RGB", size).save(tmp_path / f"{index}.png")
    answers = [[rng.choice("abcdefghijklmnopqrstuvwxyz") for _ in range(3)] for _ in range(60)]
    kinds = ["count" if n % 3 else "colour" for n in range(60)]
    rows = [
        question(f"{n % 4}.png", a, meta={"kind": kind})
        for n, (a, kind) in enumerate(zip(answers, kinds, strict=True))
    ]
    found = survey(datasets.create("jsonl", str(jsonl(tmp_path, *rows))), 1)
    assert (found["questions"], found["images"], found["broken_images"]) == (60, 4, [])
    assert {name: (s["width"], s["height"]) for name, s in found["image_sizes"].items()} == {
        "smallest": (1, 1),
        "median": (7, 5),
        "largest": (9, 9),
    }
    assert found["image_sizes"]["largest"]["megapixels"] == 81e-6
    counts = Counter(answer for of_one in answers for answer in of_one)
    frequent = found["answers"]["most_frequent"]
    assert found["answers"]["distinct"] == len(counts) > len(frequent) == 20
    assert {row["answer"]: row["count"] for row in frequent}.items() <= counts.items()
    assert min(row["count"] for row in frequent) >= sorted(counts.values())[-20]
    assert frequent[0]["percent"] == round(100 * max(counts.values()) / 180, 2)
    assert found["answer_types"] == {"count": 40, "colour": 20}
    assert list(found["answer_types"]) == ["count", "colour"] and found["question_types"] == {}
    shown = [example["question_id"] for example in found["examples"]]
    assert len(shown) == 5 and shown[0] == 0 and shown[-1] == 59 and shown == sorted(set(shown))
    json.dumps(found)


def test_fewer_questions_than_examples(tmp_path: Path) -> None:
    Image.new("RGB", (4, 4)).save(tmp_path / "0.png")
    found = survey(datasets.create("jsonl", str(jsonl(tmp_path, question("0.png")))), 1)
    assert [example["question_id"] for example in found["examples"]] == [0]


# --- broken images


@pytest.mark.parametrize("processes", [1, 2])
def test_every_broken_image_is_found(broken: Path, processes: int) -> None:
    found = survey(datasets.create("jsonl", str(broken)), processes)
    reasons = {Path(row["image"]).name: row["reason"] for row in found["broken_images"]}
    assert set(reasons) == {"cut.png", "cut.jpg", "text.png", "empty.png"}
    assert all(str(broken / name) in reason for name, reason in reasons.items())
    assert "truncated" in reasons["cut.png"] and "0 bytes" in reasons["empty.png"]
    # Of the broken ones the headers that are whole count.
    assert found["image_sizes"]["smallest"] == {"width": 3, "height": 2, "megapixels": 6e-6}
    assert found["image_sizes"]["largest"]["width"] == 30


def test_image_that_is_gone(tmp_path: Path) -> None:
    path = str(tmp_path / "gone.png")
    assert check_image(path) == Check(path, None, f"{path} does not exist; check the path")


def test_too_many_pixels_are_refused_undecoded(tmp_path: Path) -> None:
    (tmp_path / "bomb.png").write_bytes(png(60_000, 60_000, b""))
    check = check_image(str(tmp_path / "bomb.png"))
    assert check.size is None and "over the limit of" in str(check.reason)


def test_later_bands_are_decoded_too(tmp_path: Path) -> None:
    """A tiled TIFF is read part by part; only its last tile is damaged."""
    file = tmp_path / "tiles.tif"
    pyvips = pytest.importorskip("pyvips")
    picture = pyvips.Image.new_from_array(np.ascontiguousarray(noise(2300, 16)))
    picture.tiffsave(str(file), tile=True, tile_width=16, tile_height=16, compression="deflate")
    assert check_image(str(file)).reason is None
    content = bytearray(file.read_bytes())
    with Image.open(file) as opened:
        last = opened.tag_v2[324][-1]  # TileOffsets
    content[last : last + 64] = b"\xff" * 64
    file.write_bytes(content)
    check = check_image(str(file))
    assert check.size == (16, 2300) and str(file) in str(check.reason)


def crash(path: str) -> Check:
    """Stands for a decoder that takes its process with it."""
    if "deadly" in path:
        os._exit(9)
    return Check(path, (1, 1))


def test_crash_is_told_from_its_neighbours() -> None:
    paths = [f"{n}.deadly" if n in (3, 4, 30) else f"{n}.png" for n in range(40)]
    checks = check_images(paths, 2, crash)
    assert [check.path for check in checks] == paths
    assert [check.path for check in checks if check.reason] == ["3.deadly", "4.deadly", "30.deadly"]
    assert checks[3].reason == ("3.deadly made the process that decoded it crash; get a new copy")


# --- the command


def test_command_exit_code_and_names(broken: Path) -> None:
    found = run("jsonl", "--root", broken, "--processes", 1)
    assert found.exit_code == 1
    assert "4 broken images of 8" in found.stdout and "0 bad rows" in found.stdout
    assert all(str(broken / name) in found.stdout for name in ("cut.png", "cut.jpg", "text.png"))
    assert run("jsonl", "--root", broken, "--processes", 1, "--skip-bad").exit_code == 0


def test_command_json_is_the_survey(broken: Path) -> None:
    found = run("jsonl", "--root", broken, "--json", "--processes", 1)
    assert found.exit_code == 1
    expected = survey(datasets.create("jsonl", str(broken)), 1)
    assert json.loads(found.stdout) == {"name": "jsonl", "split": "train", **expected}


def test_command_names_every_bad_row(tmp_path: Path) -> None:
    Image.new("RGB", (4, 4)).save(tmp_path / "0.png")
    rows = [question("0.png"), question("1.png"), question("0.png"), question("2.png")]
    found = run("jsonl", "--root", jsonl(tmp_path, *rows))
    assert found.exit_code == 1
    assert f"2 bad rows\n  {tmp_path}/train.jsonl: line 2: image file" in found.stdout
    fourth = f"{tmp_path}/train.jsonl: line 4: image file {tmp_path}/2.png does not exist"
    assert fourth in found.stdout
    assert run("jsonl", "--root", tmp_path, "--skip-bad").exit_code == 0


def test_command_text(tmp_path: Path) -> None:
    Image.new("RGB", (640, 480)).save(tmp_path / "0.png")
    rows = [question("0.png", [a]) for a in ("yes", "yes", "yes", "no")]
    found = run("jsonl", "--root", jsonl(tmp_path, *rows))
    assert found.exit_code == 0
    lines = found.stdout.splitlines()
    assert "questions  4" in lines and "images     1" in lines
    assert "largest    640 x 480 pixels (0.307 Mpx)" in lines
    assert "2 distinct answers of 4" in lines
    assert "        3   75.0 %  yes" in lines
    assert "  0: what is it? -> yes" in lines
    assert lines[-1] == "0 broken images of 1"


def test_command_drawn_pictures(monkeypatch: pytest.MonkeyPatch) -> None:
    from vqa.datasets import canvas

    monkeypatch.setitem(canvas.COUNTS, "test", 30)
    monkeypatch.setattr(canvas.faces, "files", lambda *_: ())
    found = run("canvas", "--split", "test")
    assert found.exit_code == 0
    assert "drawn when they are asked for; there are no files to check" in found.stdout
    assert "broken" not in found.stdout and "pixels (" not in found.stdout
    assert json.loads(run("canvas", "--split", "test", "--json").stdout)["image_sizes"] is None


def test_command_without_answers() -> None:
    root = Path(__file__).parent / "data" / "readers" / "clevr"
    found = run("clevr", "--root", root, "--split", "test")
    assert found.exit_code == 0
    assert "2 questions have no answer" in found.stdout and "distinct" not in found.stdout
    assert "What is the cone made of? -> no answer" in found.stdout


def test_command_hands_options_on() -> None:
    root = Path(__file__).parent / "data" / "readers" / "gqa"
    words = ("gqa", "--root", root, "--split", "val")
    assert "questions  3\n" in run(*words).stdout
    assert "questions  4\n" in run(*words, "--option", "questions=all").stdout
    for option, told in (
        ("questions", "--option 'questions' is no NAME=VALUE"),
        ("questions=some", "questions of gqa cannot be 'some'"),
        ("size=9", "the data set gqa has no option 'size'"),
        ("split=val", "--option 'split=val' is none of the data set"),
    ):
        assert told in str(run(*words, "--option", option).exception)


def test_command_refuses_in_one_sentence() -> None:
    found = run("jsonl")
    assert isinstance(found.exception, datasets.DataError)  # `vqa` prints it and exits with 2
    assert "jsonl needs a root" in str(found.exception)
