"""`vqa compare`: two small runs by hand, bad files, and a page that no text can break out of."""

import json
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner, Result

from vqa.compare_command import compare as command
from vqa.evaluation.comparison import compare
from vqa.evaluation.predictions import RunError

Row = dict[str, Any]
EVIL = """"><script>alert(1)</script><img src=x onerror='alert(2)'>{{ 7 * 7 }}&amp;"""

app = typer.Typer(pretty_exceptions_enable=False)
app.command()(command)


def row(identity: int | str, answer: str, score: float, **more: Any) -> Row:
    image = f"/images/{identity}.png"
    known = {"question": f"what is {identity}?", "answers": ["cat", "cat", "dog"], "image": image}
    kind = {"answer_type": "number" if identity in (1, 2) else "other", "probability": 0.5}
    return {"question_id": identity, "answer": answer, "score": score, **known, **kind, **more}


def write(folder: Path, rows: list[Row]) -> Path:
    folder.mkdir()
    lines = "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in rows)
    (folder / "predictions.jsonl").write_text(lines, encoding="utf-8")
    return folder


@pytest.fixture
def runs(tmp_path: Path) -> list[str]:
    """Of the five shared questions both have 1 right, b also 2, 3 and 4, and a alone 5."""
    a = [row(1, "cat", 1), row(2, "dog", 0), row(3, "x", 0), row(4, "y", 0), row(5, "cat", 1)]
    b = [row(1, "cat", 1), row(2, "cat", 1), row(3, "cat", 1), row(4, "cat", 1), row(5, "z", 0)]
    a.append(row("only a", "cat", 1))
    b[:0] = [row(f"only b {i}", "cat", 0) for i in range(7)]
    return [str(write(tmp_path / "a", a)), str(write(tmp_path / "b", b))]


def run(*arguments: str) -> Result:
    return CliRunner().invoke(app, list(arguments))


def told(*arguments: str) -> dict[str, Any]:
    result = run(*arguments, "--json")
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)  # type: ignore[no-any-return]


def test_by_hand(runs: list[str]) -> None:
    found = told(*runs)
    a, b = found["runs"]
    assert found["n"] == 5
    assert (a["name"], a["score"], a["n"], a["not_shared"]) == ("a", 40.0, 6, 1)
    assert (b["name"], b["score"], b["n"], b["not_shared"]) == ("b", 80.0, 12, 7)
    assert a["not_shared_ids"] == ["only a"] and len(b["not_shared_ids"]) == 5
    [pair] = found["pairs"]
    assert (pair["first"], pair["second"]) == ("a", "b")
    assert pair["difference"] == pytest.approx(40.0)
    assert pair["low"] <= 40 <= pair["high"] and pair["low"] < pair["high"]
    assert (pair["first_only_right"], pair["second_only_right"]) == (1, 3)
    assert pair["p_value"] == pytest.approx(2 * (1 + 4) / 2**4)  # at most 1 of 4 heads, two sides
    assert pair["clustered_by_image"] and pair["clusters"] == 5 and not pair["graded"]
    assert found["per_answer_type"] == {
        "number": {"n": 2, "scores": [50.0, 100.0]},
        "other": {"n": 3, "scores": [pytest.approx(100 / 3), pytest.approx(200 / 3)]},
    }
    assert found["per_question_type"] == {}
    assert found["differing"] == 4
    assert [question["question_id"] for question in found["questions"]] == [2, 3, 4, 5]
    assert [given["answer"] for given in found["questions"][0]["answers"]] == ["dog", "cat"]


def test_text(runs: list[str]) -> None:
    text = run(*runs).stdout
    assert "5 questions are in every run" in text
    assert "b minus a: +40.00 (95 % interval" in text
    assert "only a right: 1, only b right: 3, McNemar p = 0.625" in text
    assert "1 not shared: only a" in text and "7 not shared: only b 0, " in text and ", ..." in text
    assert any(line.split() == ["number", "2", "50.00", "100.00"] for line in text.splitlines())


def test_files_and_folders_are_the_same(runs: list[str]) -> None:
    one, other = told(*runs), told(*(f"{path}/predictions.jsonl" for path in runs))
    for found in (one, other):
        for line in found["runs"]:
            del line["name"]
        del found["pairs"][0]["first"], found["pairs"][0]["second"]
    assert one == other


def test_a_seed_is_an_interval(runs: list[str]) -> None:
    pairs = [told(*runs, "--seed", seed, "--resamples", "101")["pairs"] for seed in "001"]
    assert pairs[0] == pairs[1]


def test_a_run_with_itself(runs: list[str]) -> None:
    found = told(runs[0], runs[0])
    assert [line["name"] for line in found["runs"]] == [f"{runs[0]}/predictions.jsonl"] * 2
    [pair] = found["pairs"]
    assert (pair["difference"], pair["low"], pair["high"], pair["p_value"]) == (0, 0, 0, 1)
    assert found["differing"] == 0


def test_three_runs_and_graded_scores(runs: list[str], tmp_path: Path) -> None:
    """A score of 0.6 counts as right, 0.3 as wrong; differing answers of one score differ too."""
    rows = [
        row(1, "kitten", 1),
        row(2, "?", 0.6),
        row(3, "?", 0.3),
        row(4, "y", 0),
        row(5, "cat", 1),
    ]
    found = told(*runs, str(write(tmp_path / "c", rows)), "--examples", "2")
    ab, ac, bc = found["pairs"]
    assert (ac["first"], ac["second"], bc["first"]) == ("a", "c", "b")
    assert (ac["first_only_right"], ac["second_only_right"], ac["graded"]) == (0, 1, True)
    assert not ab["graded"]
    assert ac["difference"] == pytest.approx(100 * (0.6 + 0.3) / 5)
    assert found["differing"] == 5
    assert [question["question_id"] for question in found["questions"]] == [2, 3]
    listed = compare([Path(runs[0]), tmp_path / "c"])["questions"]  # spreads 0.6, 0.3 and 0
    assert [question["question_id"] for question in listed] == [2, 3, 1]
    assert "at least one half" in run(*runs, str(tmp_path / "c")).stdout


def test_questions_of_one_image_are_drawn_together(tmp_path: Path) -> None:
    """One image: every resample is the whole of it, so that the interval is a point."""
    paths = []
    for name, scores in (("a", [1, 0, 1, 0]), ("b", [1, 1, 1, 0])):
        lines = [row(i, "x", score, image="one.png") for i, score in enumerate(scores)]
        paths.append(write(tmp_path / name, lines))
    [pair] = compare(paths)["pairs"]
    assert pair["clusters"] == 1
    assert (pair["low"], pair["difference"], pair["high"]) == (25, 25, 25)


def test_questions_without_an_image_are_drawn_alone(tmp_path: Path) -> None:
    paths = []
    for name, scores in (("a", [1, 0, 1, 0]), ("b", [1, 1, 1, 0])):
        lines = [row(i, "x", score) for i, score in enumerate(scores)]
        del lines[2]["image"]
        paths.append(write(tmp_path / name, lines))
    [pair] = compare(paths)["pairs"]
    assert pair["clusters"] == 4 and not pair["clustered_by_image"]
    assert pair["low"] < 25 < pair["high"]
    assert "questions" in run(*map(str, paths)).stdout


# Bad input


def refused(*paths: Path | str) -> str:
    """The one sentence; `vqa` prints a ValueError so, and exits with 2."""
    with pytest.raises(RunError) as caught:
        compare([Path(path) for path in paths])
    assert isinstance(caught.value, ValueError) and "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ('{"question_id": 1, "quest', "line 2 is not valid JSON"),
        ("[1]", "line 2 must be an object, not [1]"),
        ("[" * 100_000, "line 2 is not valid JSON"),
        (json.dumps(row(1, "cat", 1)), "line 2: question_id 1 is on line 1 already"),
        (json.dumps(row(2, "cat", 1) | {"question_id": None}), "question_id must be"),
        (json.dumps(row(2, "cat", 1) | {"question_id": True}), "question_id must be"),
        (json.dumps(row(2, "cat", 1) | {"question": None}), "question must be a string"),
        (json.dumps(row(2, "cat", 1) | {"answer": 3}), "answer must be a string, not 3"),
        (json.dumps(row(2, "cat", 1) | {"score": None}), "evaluate a split that has answers"),
        (json.dumps(row(2, "cat", 1) | {"score": True}), "score must be a number"),
        (json.dumps(row(2, "cat", 40)), "score must be a number in [0, 1], not 40"),
        (json.dumps(row(2, "cat", float("nan"))), "not nan"),
        (json.dumps(row(2, "cat", 1) | {"image": 5}), "image must be a string, not 5"),
        (json.dumps(row(2, "cat", 1) | {"answers": "cat"}), "answers must be a list of strings"),
        (json.dumps(row(2, "cat", 1) | {"probability": "?"}), "probability must be a number"),
    ],
)
def test_a_bad_line(line: str, reason: str, runs: list[str], tmp_path: Path) -> None:
    bad = write(tmp_path / "bad", [row(1, "cat", 1)])
    with (bad / "predictions.jsonl").open("a") as stream:
        stream.write(line + "\n")
    sentence = refused(runs[0], bad)
    assert reason in sentence and f"{bad}/predictions.jsonl line 2" in sentence


def test_bad_files(runs: list[str], tmp_path: Path) -> None:
    empty = write(tmp_path / "empty", [])
    assert "holds no predictions" in refused(runs[0], empty)
    assert "cannot be read (No such file" in refused(runs[0], tmp_path / "nowhere")
    (tmp_path / "folder").mkdir()
    assert "folder that vqa evaluate wrote" in refused(tmp_path / "folder", runs[0])
    (empty / "predictions.jsonl").write_bytes(b"\xff\xfe")
    assert "is not UTF-8" in refused(runs[0], empty)
    assert "at least two runs" in refused(runs[0])
    other = write(tmp_path / "other", [row(99, "cat", 1)])
    assert "no question is in all of" in refused(runs[0], other)


def test_another_question_of_the_same_id(runs: list[str], tmp_path: Path) -> None:
    other = write(tmp_path / "c", [row(1, "cat", 1), row(2, "cat", 1, question="who?")])
    sentence = refused(runs[0], other)
    assert "question_id 2 is 'what is 2?' in" in sentence and "'who?'" in sentence


def test_a_page_that_cannot_be_written(runs: list[str], tmp_path: Path) -> None:
    result = run(*runs, "--out", str(tmp_path / "nowhere" / "page.html"))
    assert isinstance(result.exception, RunError) and "cannot be written" in str(result.exception)


# The page


class Page(HTMLParser):
    """Tags, attributes and text."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[str] = []
        self.cells: list[str] = [""]
        self.feed(page)

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += [name for name, _ in attributes]
        self.cells.append("")

    def handle_data(self, data: str) -> None:
        self.cells[-1] += data

    @property
    def texts(self) -> list[str]:
        return [" ".join(cell.split()) for cell in self.cells]


def test_page(runs: list[str], tmp_path: Path) -> None:
    file = tmp_path / "page.html"
    assert run(*runs, "--out", str(file)).exit_code == 0
    text = file.read_text(encoding="utf-8")
    page = Page(text)
    for cell in ("a and b", "+40.00", "0.625", "number", "what is 3?", "b minus a", "cat, dog"):
        assert cell in page.texts, cell
    assert "4 differ in answer or score." in page.texts
    assert not {"script", "img", "link", "iframe", "a"} & set(page.tags)
    assert not {"src", "href", "onerror"} & set(page.attributes)
    assert "//" not in text and "@import" not in text and "url(" not in text
    assert "Content-Security-Policy" in text


def test_text_cannot_break_out_of_the_page(tmp_path: Path) -> None:
    """Every field that is text, and the names of the folders, hold markup and a template."""
    evil = {"question": EVIL, "answer_type": EVIL, "question_type": EVIL, "image": EVIL}
    paths = []
    for name in ("<b>a", "<i>b"):
        rows = [row(EVIL, EVIL + name, 0.4, answers=[EVIL], **evil)]
        rows.append(row("alone" + EVIL + name, EVIL, 1, **evil))
        paths.append(str(write(tmp_path / name, rows)))
    file = tmp_path / "page.html"
    assert run(*paths, "--out", str(file)).exit_code == 0
    text = file.read_text(encoding="utf-8")
    page = Page(text)
    assert not {"script", "img", "b", "i"} & set(page.tags)
    assert "onerror" not in page.attributes
    # As written: nothing was executed, and nothing was lost.
    assert text.count("alert(1)") >= 9 and "49" not in page.texts
    assert EVIL in page.texts and "<b>a and <i>b" in page.texts
