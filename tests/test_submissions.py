"""Submissions: every form from official-layout folders, and nothing written on a fault."""

import json
from pathlib import Path
from typing import Any

import pytest

from vqa import datasets, submissions
from vqa.datasets import DataError, Dataset
from vqa.submissions import SubmissionError

DATA = Path(__file__).parent / "data" / "readers"


V2 = "vqa_v2/Questions/v2_OpenEnded_mscoco_"
COCO = "OpenEnded_mscoco_val2014_questions.json"
INFOGRAPHIC = "infographicvqa/infographicsVQA_test_v1.0.json"
GQA = "val_all_questions.json"
# data set, split, options, official file, key its rows are under, key of the id
CASES: list[tuple[str, str, dict[str, str], str, str | None, str]] = [
    ("vqa_v2", "test", {}, f"{V2}test2015_questions.json", "questions", "question_id"),
    ("vqa_v2", "test-dev", {}, f"{V2}test2015_questions.json", "questions", "question_id"),
    ("vqa_v1", "val", {}, f"vqa_v1/{COCO}", "questions", "question_id"),
    ("ok_vqa", "val", {}, f"ok_vqa/{COCO}", "questions", "question_id"),
    ("vizwiz", "val", {}, "vizwiz/val.json", None, "image"),
    ("vizwiz", "test", {}, "vizwiz/test.json", None, "image"),
    ("textvqa", "val", {}, "textvqa/TextVQA_0.5.1_val.json", "data", "question_id"),
    ("docvqa", "val", {}, "docvqa/val_v1.0_withQT.json", "data", "questionId"),
    ("infographicvqa", "test", {}, INFOGRAPHIC, "data", "questionId"),
    ("st_vqa", "train", {}, "st_vqa/train_task_3.json", "data", "question_id"),
    ("gqa", "val", {}, "gqa/questions/val_balanced_questions.json", None, "questionId"),
    ("gqa", "val", {"questions": "all"}, f"gqa/questions/{GQA}", None, "questionId"),
]


def ids(path: str, rows: str | None, key: str) -> list[Any]:
    """Read without our reader, in the order of the official file."""
    content = json.loads((DATA / path).read_text(encoding="utf-8"))
    if isinstance(content, dict) and rows is None:
        return list(content)
    return [row[key] for row in (content[rows] if rows else content)]


def opened(name: str, split: str, **options: Any) -> tuple[submissions.Submission, Dataset]:
    form = submissions.create(name)
    return form, submissions.open_dataset(form, name, str(DATA / name), split, **options)


@pytest.mark.parametrize(
    ("name", "split", "options", "path", "rows", "key"),
    CASES,
    ids=[" ".join([case[0], case[1], *case[2].values()]) for case in CASES],
)
def test_array_forms(
    name: str,
    split: str,
    options: dict[str, str],
    path: str,
    rows: str | None,
    key: str,
    tmp_path: Path,
) -> None:
    """Every id of the official file once, with its answer; types as the server reads them."""
    expected, answer = ids(path, rows, key), "prediction" if name == "gqa" else "answer"
    form, data = opened(name, split, **options)
    # Marks that JSON, lines or lower case must not change.
    answers = {data[i].question_id: f"caf\u00e9 \u2028{i}" for i in range(len(data))}
    file = tmp_path / "new" / "sent.json"
    assert submissions.write(form, data, answers, file) == len(expected)
    sent = json.loads(file.read_bytes().decode("ascii"))
    assert type(sent) is list and all(set(row) == {key, answer} for row in sent)
    assert [row[key] for row in sent] == expected
    assert [type(row[key]) for row in sent] == [type(identity) for identity in expected]
    assert [row[answer] for row in sent] == [f"caf\u00e9 \u2028{i}" for i in range(len(sent))]
    assert submissions.check(form, data, file.read_bytes()) == []
    assert [path.name for path in file.parent.iterdir()] == ["sent.json"]


def test_every_form_has_a_data_set() -> None:
    covered = {case[0] for case in CASES} | {"aokvqa", "clevr", "vizwiz_answerability"}
    assert set(submissions.available()) == covered
    assert covered - {"vizwiz_answerability"} <= set(datasets.available())
    with pytest.raises(SubmissionError, match="is known for 'chartqa'; there is one for each of "):
        submissions.create("chartqa")
    with pytest.raises(SubmissionError, match="for task 'counting' of vizwiz; "):
        submissions.create("vizwiz", "counting")


def official(path: str) -> Any:
    return json.loads((DATA / path).read_text(encoding="utf-8"))


BAD_ANSWERS: dict[str, tuple[str, dict[int | str, Any], str]] = {
    "missing": ("vqa_v2", {9000: "x"}, "question_id 9001 has no answer in the run"),
    "extra": (
        "vqa_v2",
        {9000: "x", 9001: "y", 7: "z"},
        "question_id 7 of the run is not a question of the data set",
    ),
    "type": ("vqa_v2", {9000: "x", 9001: 3}, "row 1: question_id 9001: answer must be a string"),
    "surrogate": ("vqa_v2", {9000: "\udc00", 9001: "y"}, "holds half a character"),
    "line": ("clevr", {0: "a\nb", 1: "c"}, "question_index 0: answer 'a\\nb' must be one line"),
    "no text": ("clevr", {0: "a", 1: None}, "question_index 1: answer must be a string, not None"),
    "blank": ("clevr", {0: "a", 1: " "}, "line 2 (question_index 1) is empty"),
}


@pytest.mark.parametrize(("name", "answers", "told"), BAD_ANSWERS.values(), ids=BAD_ANSWERS)
def test_nothing_is_written_on_a_fault(
    name: str, answers: dict[int | str, Any], told: str, tmp_path: Path
) -> None:
    form, data = opened(name, "test")
    file = tmp_path / "sent"
    file.write_text("before")
    with pytest.raises(SubmissionError) as caught:
        submissions.write(form, data, answers, file)
    message = str(caught.value)
    assert message.startswith(f"{file} is not written: 1 fault\n  ") and told in message
    assert [path.name for path in tmp_path.iterdir()] == ["sent"]
    assert file.read_text() == "before"


def test_first_faults_and_their_number(tmp_path: Path) -> None:
    form, data = opened("vqa_v2", "test")
    with pytest.raises(SubmissionError) as caught:
        submissions.write(form, data, {name: "x" for name in range(1, 1200)}, tmp_path / "sent")
    lines = str(caught.value).split("\n")
    assert lines[0] == f"{tmp_path / 'sent'} is not written: 1,201 faults"
    assert len(lines) == 2 + submissions.SHOWN and lines[-1] == "  and 1,196 more"
    assert not list(tmp_path.iterdir())


def test_a_place_that_cannot_be_written(tmp_path: Path) -> None:
    form, data = opened("vqa_v2", "test")
    answers: dict[int | str, Any] = {9000: "x", 9001: "y"}
    with pytest.raises(SubmissionError, match="is a folder; give the name of a file"):
        submissions.write(form, data, answers, tmp_path)
    (tmp_path / "file").touch()
    with pytest.raises(SubmissionError, match="cannot be written"):
        submissions.write(form, data, answers, tmp_path / "file" / "sent")


def test_rows_left_out_are_a_fault(tmp_path: Path) -> None:
    """A question that could not be read may be one that the server wants answered."""
    content = official("vizwiz/val.json")
    content[1]["question"] = ""
    (tmp_path / "val.json").write_text(json.dumps(content))
    (tmp_path / "val").symlink_to(DATA / "vizwiz" / "val")
    form = submissions.create("vizwiz")
    data = submissions.open_dataset(form, "vizwiz", str(tmp_path), "val", skip_bad=True)
    rows = [{"image": entry["image"], "answer": "x"} for entry in content if entry["question"]]
    (fault,) = submissions.check(form, data, json.dumps(rows).encode())
    assert fault.startswith("1 bad row of the data set left out, so the check is not complete; ")
    assert f"{tmp_path / 'val.json'}: row 1: question must be" in fault


def test_two_questions_about_one_image_of_vizwiz(tmp_path: Path) -> None:
    content = official("vizwiz/val.json")
    content[1]["image"] = content[0]["image"]
    (tmp_path / "val.json").write_text(json.dumps(content))
    (tmp_path / "val").symlink_to(DATA / "vizwiz" / "val")
    form = submissions.create("vizwiz")
    data = submissions.open_dataset(form, "vizwiz", str(tmp_path), "val")
    with pytest.raises(DataError, match="different values of 'image'"):
        submissions.check(form, data, b"[]")
