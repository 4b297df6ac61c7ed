"""Readers of GQA, CLEVR, NLVR and VQA-RAD: every field of tiny official-layout folders, and faults.

The folders are under tests/data/readers; questions and pictures in them are made up.
"""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from vqa import datasets
from vqa.datasets import DataError, Dataset, Example, Reported

DATA = Path(__file__).parent / "data" / "readers"
HINT = " (use --data.skip_bad true or --skip-bad to skip and count bad rows)"

Change = Callable[[Any], Any]


def rows(data: Dataset) -> list[Example]:
    return [data[index] for index in range(len(data))]


def changed(name: str, file: str, target: Path, change: Change) -> str:
    """A copy of a folder in which one JSON file holds what `change` made of it."""
    shutil.copytree(DATA / name, target, dirs_exist_ok=True)
    path = target / file
    content = json.loads(path.read_text())
    path.write_text(json.dumps(change(content) or content))
    return str(target)


def check_bad_row(
    name: str, root: str, split: str, message: str, good: int, **options: Any
) -> Dataset:
    """One bad row: refused by name, and with skip_bad left out and told of."""
    with pytest.raises(DataError) as caught:
        datasets.create(name, root, split, **options)
    assert str(caught.value) == f"{root}/{message}{HINT}"
    data = datasets.create(name, root, split, skip_bad=True, **options)
    assert data.skipped == [f"{root}/{message}"]
    assert len(data) == good
    return data


# --- GQA

GQA_FILE = "questions/val_balanced_questions.json"


def test_gqa_reads_every_field() -> None:
    data = datasets.create("gqa", str(DATA / "gqa"), "val")
    assert [e.question_id for e in rows(data)] == ["90001", "90002", "90004"]
    assert data[0] == Example(
        "90001",
        str(DATA / "gqa" / "images" / "101.jpg"),
        "Is there a kettle on the blue stove?",
        ("yes",),
        "binary",
        "verify",
        meta={
            "types": {"detailed": "existRelS", "semantic": "rel", "structural": "verify"},
            "groups": {"global": None, "local": "13-x"},
            "entailed": ["90003"],
            "semantic": [
                {"operation": "select", "argument": "stove (3)"},
                {"operation": "relate", "argument": "kettle,on,s (5)"},
                {"operation": "exist", "argument": "?"},
            ],
            "isBalanced": True,
        },
    )
    assert [(e.answer_type, e.question_type) for e in rows(data)[1:]] == [
        ("open", "query"),
        ("binary", "choose"),
    ]
    assert data[2].image.endswith("images/n102.jpg")


def test_gqa_all_questions_and_parts() -> None:
    every = datasets.create("gqa", str(DATA / "gqa"), "val", questions="all")
    assert [(e.meta or {})["isBalanced"] for e in rows(every)] == [True, True, False, True]
    parts = datasets.create("gqa", str(DATA / "gqa"), "train", questions="all")
    assert [e.question_id for e in rows(parts)] == ["80001", "80002", "80003"]


def test_gqa_test_split_has_no_answers() -> None:
    (example,) = rows(datasets.create("gqa", str(DATA / "gqa"), "test"))
    assert (example.answers, example.answer_type, example.question_type) == ((), None, None)


def test_gqa_scores_and_reports() -> None:
    data = datasets.create("gqa", str(DATA / "gqa"), "val", questions="all")
    assert isinstance(data, Reported)
    assert (data.score("yes", ("yes",)), data.score("Yes", ("yes",))) == (1.0, 0.0)
    report = data.report(rows(data), ["yes", "gold", "no", "left"])
    assert report["overall"] == 66.67  # 90003 is not balanced
    assert report["binary"]["score"] == 100.0 and report["open"]["score"] == 0.0
    assert report["consistency"]["score"] == 0.0  # 90001 entails 90003
    json.dumps(report)


def edit(key: str, **changes: Any) -> Change:
    return lambda content: content[key].update(changes)


def drop(key: str, name: str) -> Change:
    def change(content: Any) -> None:
        del content[key][name]

    return change


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (drop("90002", "answer"), "the key 'answer' is missing"),
        (drop("90002", "types"), "the key 'types' is missing"),
        (edit("90002", imageId="9"), "image 9.jpg is not in {root}/images"),
        (edit("90002", question=" "), "question must be a non-empty string, not ' '"),
        (edit("90002", groups=[]), "groups must be an object, not []"),
        (edit("90002", types={"semantic": "attr"}), "the key 'structural' is missing"),
        (edit("90002", semantic=[1]), "expected an object, got a number: 1"),
        (edit("90002", imageId="../101"), "image '../101.jpg' is not a path inside {root}/images"),
        (lambda c: c | {"90002": []}, "expected an object, got a list: []"),
    ],
)
def test_gqa_bad_row(tmp_path: Path, change: Change, reason: str) -> None:
    root = changed("gqa", GQA_FILE, tmp_path, change)
    told = reason.format(root=root)
    check_bad_row("gqa", root, "val", f"{GQA_FILE}: question 90002: {told}", 2)


def test_gqa_bad_options_and_files(tmp_path: Path) -> None:
    root = str(DATA / "gqa")
    with pytest.raises(DataError, match="questions of gqa cannot be 'some'; choose one of"):
        datasets.create("gqa", root, "val", questions="some")
    with pytest.raises(DataError, match="no split 'dev'; choose one of train, val, testdev"):
        datasets.create("gqa", root, "dev")
    with pytest.raises(DataError, match="gqa needs a root: .* downloaded from https://cs.stanf"):
        datasets.create("gqa", None, "val")
    with pytest.raises(DataError, match="no file questions/testdev_balanced_questions.json"):
        datasets.create("gqa", root, "testdev")
    with pytest.raises(DataError, match="holds a JSON list, not an object"):
        datasets.create("gqa", changed("gqa", GQA_FILE, tmp_path, lambda c: [1]), "val")


# --- CLEVR

CLEVR_FILE = "questions/CLEVR_val_questions.json"


def test_clevr_reads_every_field() -> None:
    data = datasets.create("clevr", str(DATA / "clevr"), "val")
    assert data[0] == Example(
        0,
        str(DATA / "clevr" / "images" / "val" / "CLEVR_val_000000.png"),
        "How many tiny green cones are there?",
        ("2",),
        question_type="count",
        meta={"function": "count"},
    )
    read = [(e.question_id, e.answers, e.question_type) for e in rows(data)[1:]]
    assert read == [
        (1, ("no",), "exist"),
        (2, ("green",), "query_color"),
        (3, ("yes",), "greater_than"),
        (4, ("0",), "count"),  # its program says "type" where others say "function"
    ]


def test_clevr_root_above_and_test_split(tmp_path: Path) -> None:
    shutil.copytree(DATA / "clevr", tmp_path / "CLEVR_v1.0")
    data = datasets.create("clevr", str(tmp_path), "test")
    assert [(e.question_id, e.answers, e.question_type) for e in rows(data)] == [
        (0, (), None),
        (1, (), None),
    ]
    assert data[0].image == str(tmp_path / "CLEVR_v1.0/images/test/CLEVR_test_000000.png")


def test_clevr_scores_and_reports() -> None:
    data = datasets.create("clevr", str(DATA / "clevr"), "val")
    assert isinstance(data, Reported)
    report = data.report(rows(data), ["2", "yes", "green", "yes", "1"])
    assert report["overall"] == 60.0
    assert {name: group["score"] for name, group in report["per_question_type"].items()} == {
        "count": 50.0,
        "exist": 0.0,
        "greater_than": 100.0,
        "query_color": 100.0,
    }


def edit_row(index: int, **changes: Any) -> Change:
    return lambda content: content["questions"][index].update(changes)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (edit_row(1, answer=2), "answer must be a non-empty string, not '2'"),
        (
            edit_row(1, image_filename="CLEVR_val_000009.png"),
            "image CLEVR_val_000009.png is not in {root}/images/val",
        ),
        (edit_row(1, program=[{"inputs": []}]), "the key 'function' is missing"),
        (edit_row(1, program="count"), "program must be a list of functions, not count"),
        (edit_row(1, question_index=0), "question_id 0 repeats row 0"),
        (edit_row(1, question_index=-1), "question_index must be a whole number, not '-1'"),
        (lambda c: c["questions"][1].pop("program") and None, "the key 'program' is missing"),
    ],
)
def test_clevr_bad_row(tmp_path: Path, change: Change, reason: str) -> None:
    root = changed("clevr", CLEVR_FILE, tmp_path, change)
    told = reason.format(root=root)
    check_bad_row("clevr", root, "val", f"{CLEVR_FILE}: row 1: {told}", 4)


def test_clevr_bad_files(tmp_path: Path) -> None:
    root = changed("clevr", CLEVR_FILE, tmp_path, lambda c: {"info": {}})
    with pytest.raises(DataError, match="'questions' is missing"):
        datasets.create("clevr", root, "val")
    (tmp_path / CLEVR_FILE).write_text('{"questions": [')
    with pytest.raises(DataError, match=r"val_questions.json is not valid JSON .*line 1 column"):
        datasets.create("clevr", root, "val")
    with pytest.raises(DataError, match="no file questions/CLEVR_train_questions.json .nor CLEVR"):
        datasets.create("clevr", root, "train")


# --- NLVR


def test_nlvr_reads_six_images_a_sentence() -> None:
    data = datasets.create("nlvr", str(DATA / "nlvr"), "dev")
    assert len(data) == 18
    assert data[7] == Example(
        "dev-11-2-1",
        str(DATA / "nlvr" / "dev" / "images" / "0" / "dev-11-2-1.png"),
        "There is a pink star above a box.",
        ("false",),
        meta={"identifier": "11-2"},
    )
    assert [e.question_id for e in rows(data)[12:]] == [f"dev-12-1-{n}" for n in range(6)]
    assert rows(datasets.create("nlvr", str(DATA / "nlvr"), "val")) == rows(data)


def test_nlvr_root_of_the_repository(tmp_path: Path) -> None:
    shutil.copytree(DATA / "nlvr", tmp_path / "nlvr")
    assert len(datasets.create("nlvr", str(tmp_path), "dev")) == 18


def test_nlvr_consistency_is_over_presentations() -> None:
    data = datasets.create("nlvr", str(DATA / "nlvr"), "dev")
    assert isinstance(data, Reported)
    predictions = [e.answers[0].upper() for e in rows(data)]
    assert data.report(rows(data), predictions)["consistency"]["score"] == 100.0
    predictions[8] = "true"  # one image of 11-2, which is of the presentation of 11-0
    report = data.report(rows(data), predictions)
    assert report["overall"] == 94.44
    assert (report["consistency"]["score"], report["consistency"]["n"]) == (50.0, 2)


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (b"{", "not valid JSON: "),
        (b'{"sentence": "\xff"}', "not UTF-8 (byte 14)"),
        (b"[]", "expected an object, got a list: []"),
        (
            b'{"identifier": "1-1", "directory": "0", "sentence": "a"}',
            "the key 'label' is missing",
        ),
        (
            b'{"identifier": "1-1", "directory": "0", "sentence": "a", "label": "maybe"}',
            "label must be 'true' or 'false', not 'maybe'",
        ),
    ],
)
def test_nlvr_bad_line(tmp_path: Path, line: bytes, reason: str) -> None:
    shutil.copytree(DATA / "nlvr", tmp_path, dirs_exist_ok=True)
    file = tmp_path / "dev" / "dev.json"
    first, second, third = file.read_bytes().splitlines()
    file.write_bytes(b"\n".join([first, line, third]))
    with pytest.raises(DataError) as caught:
        datasets.create("nlvr", str(tmp_path), "dev")
    assert str(caught.value).startswith(f"{file}: line 2: {reason}")
    assert str(caught.value).endswith(HINT)
    data = datasets.create("nlvr", str(tmp_path), "dev", skip_bad=True)
    assert len(data) == 12 and len(data.skipped) == 1


def test_nlvr_missing_image_is_one_bad_row(tmp_path: Path) -> None:
    shutil.copytree(DATA / "nlvr", tmp_path, dirs_exist_ok=True)
    (tmp_path / "dev/images/3/dev-12-1-4.png").unlink()
    told = f"line 3: image 3/dev-12-1-4.png is not in {tmp_path}/dev/images"
    check_bad_row("nlvr", str(tmp_path), "dev", f"dev/dev.json: {told}", 17)


# --- VQA-RAD

RAD_FILE = "VQA_RAD Dataset Public.json"


def test_vqa_rad_reads_every_field() -> None:
    data = datasets.create("vqa_rad", str(DATA / "vqa_rad"), "test")
    images = DATA / "vqa_rad" / "VQA_RAD Image Folder"
    assert rows(data) == [
        Example(
            3,
            str(images / "scan1.jpg"),
            "Was the bone broken?",
            ("no",),
            "CLOSED",
            "ABN",
            meta={"phrase_type": "test_freeform", "image_organ": "HEAD"},
        ),
        Example(
            4,
            str(images / "scan2.jpg"),
            "Which plane is this?",
            ("axial",),
            "OPEN",
            "PLANE",
            meta={"phrase_type": "test_para", "image_organ": "ABD"},
        ),
    ]
    assert data.score("No.", ("no",)) == 1.0


def test_vqa_rad_splits_by_image() -> None:
    ids, pictures = {}, {}
    for split in ("train", "val", "trainval"):
        data = datasets.create("vqa_rad", str(DATA / "vqa_rad"), split)
        ids[split] = [e.question_id for e in rows(data)]
        pictures[split] = {e.image for e in rows(data)}
    assert ids == {"train": [2, 5], "val": [1], "trainval": [1, 2, 5]}
    assert not pictures["train"] & pictures["val"]
    numeric = datasets.create("vqa_rad", str(DATA / "vqa_rad"), "train")[0]
    assert (numeric.question, numeric.answers) == ("How many screws are seen?", ("3",))


def edit_item(**changes: Any) -> Change:
    return lambda content: content[4].update(changes)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (edit_item(answer=[]), "answer must be a non-empty string or a number, not '[]'"),
        (edit_item(answer=" "), "answer must be a non-empty string or a number, not ' '"),
        (edit_item(answer_type="BOTH"), "answer_type must be CLOSED or OPEN, not 'BOTH'"),
        (
            edit_item(image_name="scan9.jpg"),
            "image scan9.jpg is not in {root}/VQA_RAD Image Folder",
        ),
        (edit_item(qid=2), "question_id 2 repeats row 1"),
        (edit_item(qid=None), "qid must be an integer or a non-empty string, not 'None'"),
        (lambda c: c[4].pop("phrase_type") and None, "the key 'phrase_type' is missing"),
        (lambda c: [*c[:4], "row"], "expected an object, got a string: row"),
    ],
)
def test_vqa_rad_bad_row(tmp_path: Path, change: Change, reason: str) -> None:
    root = changed("vqa_rad", RAD_FILE, tmp_path, change)
    told = reason.format(root=root)
    check_bad_row("vqa_rad", root, "trainval", f"{RAD_FILE}: row 4: {told}", 2)


def test_vqa_rad_bad_folders(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no split 'dev'; choose one of train, val, trainval, test"):
        datasets.create("vqa_rad", str(DATA / "vqa_rad"), "dev")
    with pytest.raises(DataError, match="no file VQA_RAD Dataset Public.json in .*osf.io/89kps"):
        datasets.create("vqa_rad", str(tmp_path), "train")
    shutil.copy(DATA / "vqa_rad" / RAD_FILE, tmp_path)
    with pytest.raises(DataError, match="no image folder VQA_RAD Image Folder in"):
        datasets.create("vqa_rad", str(tmp_path), "train")
