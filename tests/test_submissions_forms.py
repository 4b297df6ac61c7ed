"""Submissions whose form is their own: GQA, VizWiz's second task, A-OKVQA, CLEVR."""

import json
from pathlib import Path
from typing import Any

import pytest

from vqa import datasets, submissions
from vqa.datasets import DataError, Dataset
from vqa.submissions import SubmissionError, aokvqa

DATA = Path(__file__).parent / "data" / "readers"


MISSING = "is missing; the server wants every question of the split answered"


def official(path: str) -> Any:
    return json.loads((DATA / path).read_text(encoding="utf-8"))


def opened(name: str, split: str, **options: Any) -> tuple[submissions.Submission, Dataset]:
    form = submissions.create(name)
    return form, submissions.open_dataset(form, name, str(DATA / name), split, **options)


def test_gqa_is_lower_case_without_a_full_stop(tmp_path: Path) -> None:
    form, data = opened("gqa", "val")
    sent = dict(
        zip((data[i].question_id for i in range(3)), ("Yes.", " left ", "u.s"), strict=True)
    )
    submissions.write(form, data, sent, tmp_path / "sent.json")
    rows = json.loads((tmp_path / "sent.json").read_text())
    assert {row["questionId"]: row["prediction"] for row in rows} == {
        **{"90001": "yes", "90002": "left", "90004": "u.s"},
    }


def test_gqa_faults() -> None:
    form, data = opened("gqa", "val")
    rows = [
        {"questionId": 90001, "prediction": "yes"},
        {"questionId": "90002", "prediction": "Silver."},
        {"questionId": "90004", "prediction": True},
    ]
    assert submissions.check(form, data, json.dumps(rows).encode()) == [
        "row 0: questionId 90001 is a number and must be a string, as in the data set",
        "row 1: questionId '90002': prediction 'Silver.' must be lower case without a full stop or "
        "white space around it: 'silver'",
        "row 2: questionId '90004': prediction must be a string, not True",
    ]


# --- VizWiz, task 2


def test_answerability(tmp_path: Path) -> None:
    form = submissions.create("vizwiz", "answerability")
    data = submissions.open_dataset(form, "vizwiz", str(DATA / "vizwiz"), "val")
    rows: list[dict[str, Any]] = [
        {"answer": "red", "probability": 0.7, "top_k": [{"answer": "unanswerable", "score": 0.25}]},
        {"answer": "unanswerable", "probability": 0.9, "top_k": []},
        {"answer": "red", "probability": 0.7},
    ]
    sent: dict[int | str, Any] = {
        place: form.value({"question_id": place, **row}) for place, row in enumerate(rows)
    }
    submissions.write(form, data, sent, tmp_path / "sent.json")
    told = json.loads((tmp_path / "sent.json").read_text())
    assert [entry["image"] for entry in told] == [
        entry["image"] for entry in official("vizwiz/val.json")
    ]
    assert [entry["answerable"] for entry in told] == pytest.approx([0.75, 0.1, 1.0])
    with pytest.raises(SubmissionError, match="question_id 3 has no probabilities in the run"):
        form.value({"question_id": 3, "answer": "red"})
    image = "VizWiz_val_00000000.jpg"
    for bad in (1.5, -0.1, "0.5", True, None, float("nan")):
        told[0]["answerable"] = bad
        (fault,) = submissions.check(form, data, json.dumps(told).encode())
        shown = f"row 0: image '{image}': answerable must be a number in [0, 1], not {bad!r}"
        assert fault == shown


# --- A-OKVQA


def test_aokvqa_as_the_official_evaluation(tmp_path: Path) -> None:
    form, data = opened("aokvqa", "val")
    raw = {entry["question_id"]: entry for entry in official("aokvqa/aokvqa_v1p0_val.json")}
    chosen = {name: entry["choices"][1] for name, entry in raw.items()}
    direct = {name: f"free {name}" for name in raw}
    runs = {"direct_answer": direct, "multiple_choice": chosen}
    for tasks in (["direct_answer"], ["multiple_choice"], list(runs)):
        answers = aokvqa.joined({task: dict(runs[task]) for task in tasks})
        submissions.write(form, data, answers, tmp_path / "sent.json")
        told = json.loads((tmp_path / "sent.json").read_text())
        assert list(told) == list(raw)
        for name, entry in raw.items():
            assert told[name] == {task: runs[task][name] for task in tasks}
            assert told[name].get("multiple_choice", entry["choices"][0]) in entry["choices"]


def test_aokvqa_faults() -> None:
    form, data = opened("aokvqa", "val")
    names = [data[i].question_id for i in range(len(data))]
    choices = data[0].choices
    good = {
        name: {"direct_answer": "x", "multiple_choice": data[i].choices[0]}
        for i, name in enumerate(names)
    }

    def faults(content: Any) -> list[str]:
        raw = content if isinstance(content, bytes) else json.dumps(content).encode()
        return submissions.check(form, data, raw)

    def first(entry: Any) -> list[str]:
        return faults({**good, names[0]: entry})

    head = f"question_id {names[0]!r}: "
    assert faults(good) == []
    assert faults([]) == ["the file holds an array, not an object of question ids"]
    assert first({"direct_answer": "x"}) == [
        f"{head}multiple_choice is missing, and other questions have one"
    ]
    assert first({"direct_answer": 1, "multiple_choice": choices[0].upper()}) == [
        f"{head}direct_answer must be a string, not 1",
        f"{head}multiple_choice {choices[0].upper()!r} is none of the choices: "
        f"{', '.join(choices)}",
    ]
    assert first({**good[names[0]], "mc": "x"}) == [f"{head}the key 'mc' is unknown"]
    assert first("x") == [
        f'{head}must be {{"direct_answer": ..., "multiple_choice": ...}}, not \'x\''
    ]
    assert faults({name: {} for name in names}) == [
        f"question_id {name!r}: neither direct_answer nor multiple_choice is given"
        for name in names
    ]
    assert faults({**good, "zz": {}}) == [
        "question_id 'zz' is not in the data set; remove it, or check another split"
    ]
    assert faults({name: good[name] for name in names[1:]}) == [
        f"question_id {names[0]!r} {MISSING}"
    ]
    twice = json.dumps(good)[:-1] + f', "{names[0]}": ' + json.dumps(good[names[0]]) + "}"
    assert faults(twice.encode()) == [f"question_id {names[0]!r} is there twice; keep one"]
    inner = json.dumps(good).replace('"direct_answer"', '"direct_answer": "y", "direct_answer"', 1)
    assert faults(inner.encode()) == [f"{head}'direct_answer' is there twice; keep one"]


def test_aokvqa_needs_the_choices() -> None:
    form = submissions.create("aokvqa")
    data = datasets.create("aokvqa", str(DATA / "aokvqa"), "val")
    with pytest.raises(DataError, match="open it with task=multiple_choice"):
        submissions.check(form, data, b"{}")


# --- CLEVR


def test_clevr_lines_follow_question_index(tmp_path: Path) -> None:
    """Whatever the order of the questions file."""
    content = official("clevr/questions/CLEVR_val_questions.json")
    content["questions"].reverse()
    (tmp_path / "questions").mkdir()
    (tmp_path / "images").symlink_to(DATA / "clevr" / "images")
    (tmp_path / "questions" / "CLEVR_val_questions.json").write_text(json.dumps(content))
    form = submissions.create("clevr")
    data = submissions.open_dataset(form, "clevr", str(tmp_path), "val")
    answers = {data[i].question_id: f"a{data[i].question_id}" for i in range(len(data))}
    assert list(answers) != sorted(answers)
    submissions.write(form, data, answers, tmp_path / "sent.txt")
    expected = [f"a{index}\n" for index in range(len(data))]
    assert (tmp_path / "sent.txt").read_bytes() == "".join(expected).encode()


def test_clevr_faults() -> None:
    form, data = opened("clevr", "test")

    def faults(content: str) -> list[str]:
        return submissions.check(form, data, content.encode())

    assert len(data) == 2
    assert faults("rubber\n2\n") == faults("rubber\n2") == []
    wanted = "has no line; the server wants every question answered"
    assert faults("") == [f"question_index {index} {wanted}" for index in (0, 1)]
    assert faults("rubber\n") == [f"question_index 1 {wanted}"]
    assert faults("rubber\n2\nyes\n") == ["line 3 ('yes') has no question: the split has 2"]
    assert faults("rubber\n2\n\n") == ["line 3 ('') has no question: the split has 2"]
    assert faults("\n2\n") == ["line 1 (question_index 0) is empty; write an answer"]
    for bad in ("rubber\r\n2", "rubber \n2"):
        (fault,) = faults(bad)
        assert fault.startswith("line 1 (question_index 0): 'rubber") and "white space" in fault
