"""`vqa submit` and `vqa validate-submission`, from a run to a file that is found good."""

import json
import os
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner, Result

from vqa import datasets
from vqa.__main__ import main
from vqa.evaluation import baselines
from vqa.submission_command import submit, validate_submission

DATA = Path(__file__).parent / "data" / "readers"

app = typer.Typer(pretty_exceptions_enable=False)
app.command()(submit)
app.command()(validate_submission)


def run(*arguments: object) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def refusal(*arguments: object) -> str:
    result = run(*arguments)
    assert isinstance(result.exception, ValueError), result.output
    return str(result.exception)


def lines(folder: Path) -> list[dict[str, Any]]:
    text = (folder / "predictions.jsonl").read_text(encoding="utf-8")
    return [json.loads(line) for line in text.split("\n") if line]


@pytest.fixture(scope="module")
def evaluated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What `vqa evaluate` writes about VQA v2's test split, which has no answers."""
    out = tmp_path_factory.mktemp("run")
    options = ["--root", str(DATA / "vqa_v2"), "--split", "test", "--baseline", "most-frequent"]
    assert main(["evaluate", "--dataset", "vqa_v2", *options, "--out", str(out)]) == 0
    return out


V2 = ("--dataset", "vqa_v2", "--root", DATA / "vqa_v2")


@pytest.mark.parametrize("name", ["", "predictions.jsonl", "results.json"])
def test_vqa_v2_end_to_end(name: str, evaluated: Path, tmp_path: Path) -> None:
    file = tmp_path / "sent.json"
    told = run("submit", evaluated / name, *V2, "--out", file)
    assert (told.exit_code, told.output) == (0, f"{file}: 2 answers\n")
    results = json.loads((evaluated / "results.json").read_text())
    assert json.loads(file.read_text()) == results
    told = run("validate-submission", file, *V2)
    assert (told.exit_code, told.output) == (0, "OK, 2 answers\n")
    # Its own results.json has the same form.
    assert run("validate-submission", evaluated / "results.json", *V2).exit_code == 0


def test_test_dev_is_all_of_test(evaluated: Path, tmp_path: Path) -> None:
    file = tmp_path / "sent.json"
    told = run("submit", evaluated, *V2, "--split", "test-dev", "--out", file)
    assert told.exit_code == 0 and len(json.loads(file.read_text())) == 2
    assert told.stderr == "test-dev is sent with all questions of test\n"
    short = json.dumps([{"question_id": 9000, "answer": "yes"}])
    file.write_text(short)
    told = run("validate-submission", file, *V2, "--split", "test-dev")
    assert told.exit_code == 1 and "question_id 9001 is missing; the server wants" in told.stdout


def test_faults_are_printed(tmp_path: Path) -> None:
    file = tmp_path / "sent.json"
    rows = [{"question_id": name, "answer": "x"} for name in [9000, 9001, *range(30)]]
    file.write_text(json.dumps(rows))
    told = run("validate-submission", file, *V2)
    found = told.stdout.splitlines()
    assert told.exit_code == 1 and found[0] == f"{file}: 30 faults"
    assert [f"row {place}:" in found[place - 1] for place in range(2, 22)] == [True] * 20
    assert found[21:] == ["  and 10 more", "  (--all prints all of them)"]
    told = run("validate-submission", file, *V2, "--all")
    assert told.exit_code == 1 and len(told.stdout.splitlines()) == 31


def test_skip_bad_tells_and_is_a_fault(tmp_path: Path) -> None:
    content = json.loads((DATA / "vizwiz" / "val.json").read_text())
    rows = [{"image": row["image"], "answer": "x"} for row in content[1:]]
    content[0]["question"] = 5
    (tmp_path / "val.json").write_text(json.dumps(content))
    (tmp_path / "val").symlink_to(DATA / "vizwiz" / "val")
    (tmp_path / "sent.json").write_text(json.dumps(rows))
    options = ("--dataset", "vizwiz", "--root", tmp_path, "--split", "val")
    assert "use --data.skip_bad" in refusal("validate-submission", tmp_path / "sent.json", *options)
    told = run("validate-submission", tmp_path / "sent.json", *options, "--skip-bad")
    assert told.exit_code == 1 and told.stderr.startswith("skipped ")
    assert "1 fault\n  1 bad row of the data set left out" in told.stdout


# --- runs that are none, or of something else


def write(folder: Path, rows: list[Any]) -> Path:
    folder.mkdir()
    text = "".join(json.dumps(row) + "\n" for row in rows)
    (folder / "predictions.jsonl").write_text(text, encoding="utf-8")
    return folder


def test_a_part_of_the_split_is_not_sent(evaluated: Path, tmp_path: Path) -> None:
    part = write(tmp_path / "part", lines(evaluated)[:1])
    file = tmp_path / "sent.json"
    told = refusal("submit", part, *V2, "--out", file)
    assert told == (
        f"{file} is not written: 1 fault\n  question_id 9001 has no answer in the run; evaluate "
        "the whole split that is sent"
    )
    assert not file.exists()


def test_another_split_with_the_same_ids(evaluated: Path, tmp_path: Path) -> None:
    """CLEVR, VizWiz and others count from 0 in every split."""
    rows = lines(evaluated)
    other = {"question": "Why?", "image": "COCO_val2014_000000000009.jpg"}
    same = write(tmp_path / "same", [rows[0], {**rows[1], **other}])
    told = refusal("submit", same, *V2, "--out", tmp_path / "sent.json")
    assert told == (
        f"{same} asked 'Why?' as question_id 9001, and the data set asks 'Where is the bar?'; give "
        "the split that was evaluated"
    )
    for blind in ({"question": "Why?"}, {"image": "grey"}):
        folder = write(tmp_path / next(iter(blind)), [rows[0], {**rows[1], **blind}])
        assert run("submit", folder, *V2, "--out", tmp_path / "sent.json").exit_code == 0


ROW = {"question_id": 9000, "answer": "yes"}
BAD_RUNS: dict[str, tuple[str, str, str]] = {
    "JSON line": ("predictions.jsonl", "{\n", " line 1 is not valid JSON ("),
    "line twice": (
        "predictions.jsonl",
        f"{json.dumps(ROW)}\n\n{json.dumps(ROW)}\n",
        " line 3: question_id 9000 is on line 1 already; evaluate into an empty folder",
    ),
    "line": ("predictions.jsonl", "5\n", " line 1 must be an object, not 5"),
    "id": (
        "results.json",
        '[{"question_id": true, "answer": "x"}]',
        " row 0: question_id must be an integer or a string, not True",
    ),
    "answer": (
        "results.json",
        '[{"question_id": 9000, "answer": null}]',
        " row 0: answer must be a string, not None",
    ),
    "object": ("results.json", "{}", ' holds no array of {"question_id": ..., "answer": ...}; '),
    "JSON": ("results.json", "[", " is not valid JSON ("),
}


@pytest.mark.parametrize(("name", "text", "told"), BAD_RUNS.values(), ids=BAD_RUNS)
def test_bad_run(name: str, text: str, told: str, tmp_path: Path) -> None:
    (tmp_path / name).write_text(text)
    message = refusal("submit", tmp_path / name, *V2, "--out", tmp_path / "sent.json")
    assert message.startswith(f"{tmp_path / name}{told}")
    assert not (tmp_path / "sent.json").exists()


def test_missing_runs_and_files(tmp_path: Path) -> None:
    out = ("--out", tmp_path / "sent.json")
    told = refusal("submit", tmp_path, *V2, *out)
    assert "predictions.jsonl cannot be read (No such file or directory); give a folder" in told
    (tmp_path / "parts").mkdir()
    assert "is not answered to its end; run vqa evaluate again" in refusal(
        "submit", tmp_path, *V2, *out
    )
    (tmp_path / "latin.jsonl").write_bytes(b"\xe9")
    assert "is not UTF-8 text" in refusal("submit", tmp_path / "latin.jsonl", *V2, *out)
    assert refusal("validate-submission", tmp_path / "none", *V2) == (
        f"{tmp_path / 'none'} cannot be read (No such file or directory)"
    )
    chart = ("--dataset", "chartqa", "--root", DATA / "chartqa")
    assert "no form of a submission is known for 'chartqa'" in refusal(
        "submit", tmp_path, *chart, *out
    )


# --- A-OKVQA and VizWiz's second task


def frequent(name: str, out: Path, **options: Any) -> Path:
    data = datasets.create(name, str(DATA / name), "val", **options)
    baselines.frequent(data, data, out)
    return out


def test_aokvqa_joins_two_runs(tmp_path: Path) -> None:
    direct = frequent("aokvqa", tmp_path / "direct")
    chosen = frequent("aokvqa", tmp_path / "chosen", task="multiple_choice")
    data = datasets.create("aokvqa", str(DATA / "aokvqa"), "val", task="multiple_choice")
    choices = {data[i].question_id: data[i].choices for i in range(len(data))}
    rows = [{**row, "answer": choices[row["question_id"]][2]} for row in lines(chosen)]
    (chosen / "predictions.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    file = tmp_path / "sent.json"
    common = ("--dataset", "aokvqa", "--root", DATA / "aokvqa", "--split", "val")
    both = {
        row["question_id"]: {
            "direct_answer": row["answer"],
            "multiple_choice": choices[row["question_id"]][2],
        }
        for row in lines(direct)
    }
    told = run("submit", direct, *common, "--multiple-choice", chosen, "--out", file)
    assert told.exit_code == 0, told.output
    assert json.loads(file.read_text()) == both
    assert run("validate-submission", file, *common).output == f"OK, {len(both)} answers\n"

    task = ("--option", "task=multiple_choice")
    assert run("submit", direct, *common, "--out", file).exit_code == 0
    one = {name: {"direct_answer": entry["direct_answer"]} for name, entry in both.items()}
    assert json.loads(file.read_text()) == one
    assert run("submit", chosen, *common, *task, "--out", file).exit_code == 0
    one = {name: {"multiple_choice": entry["multiple_choice"]} for name, entry in both.items()}
    assert json.loads(file.read_text()) == one

    file.unlink()
    (chosen / "run.json").write_text('{"options": ["task=multiple_choice"]}')
    swapped = ("submit", chosen, *common, "--out", file)
    assert refusal(*swapped).startswith(
        f"{chosen} was evaluated with task=multiple_choice and is given as direct_answer; give"
    )
    assert not file.exists()
    (chosen / "run.json").unlink()  # a run of another tool: its answers tell
    wrong = ("submit", chosen, *common, "--multiple-choice", direct, "--out", file)
    assert "is none of the choices: " in refusal(*wrong) and not file.exists()
    twice = ("submit", chosen, *common, *task, "--multiple-choice", chosen, "--out", file)
    assert "are both of task=multiple_choice" in refusal(*twice)
    assert "--multiple-choice joins runs of aokvqa only" in refusal(
        "submit", direct, *V2, "--multiple-choice", chosen, "--out", file
    )


def test_answerability(tmp_path: Path) -> None:
    folder = frequent("vizwiz", tmp_path / "run")
    file = tmp_path / "sent.json"
    common = ("--dataset", "vizwiz", "--root", DATA / "vizwiz", "--split", "val")
    task = ("--task", "answerability")
    assert run("submit", folder, *common, *task, "--out", file).exit_code == 0
    rows = lines(folder)
    expected = [1 - row["probability"] * (row["answer"] == "unanswerable") for row in rows]
    told = json.loads(file.read_text())
    assert [row["answerable"] for row in told] == pytest.approx(expected)
    assert [row["image"] for row in told] == [os.path.basename(row["image"]) for row in rows]
    assert run("validate-submission", file, *common, *task).exit_code == 0
    assert run("validate-submission", file, *common).exit_code == 1
    results = ("submit", folder / "results.json", *common, *task, "--out", file)
    assert "question_id 0 has no probabilities in the run" in refusal(*results)
