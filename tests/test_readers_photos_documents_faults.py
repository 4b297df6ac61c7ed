"""Readers of official files: what is missing or broken gets one sentence, or is counted."""

import gc
import json
import pathlib
import re
import shutil
from collections.abc import Callable
from typing import Any

import pytest

from vqa import datasets
from vqa.datasets import DataError
from vqa.datasets._reading import Examples, Images, Root, load_list, load_object

DATA = pathlib.Path(__file__).parent / "data" / "readers"

# data set -> split, a file of it, the key its rows are under, its image folder, its project page
PLACES = {
    "vqa_v2": (
        "train",
        "Questions/v2_OpenEnded_mscoco_train2014_questions.json",
        "questions",
        "Images/mscoco/train2014",
        "visualqa.org",
    ),
    "vqa_v1": (
        "val",
        "OpenEnded_mscoco_val2014_questions.json",
        "questions",
        "val2014",
        "visualqa.org",
    ),
    "ok_vqa": (
        "val",
        "OpenEnded_mscoco_val2014_questions.json",
        "questions",
        "val2014",
        "okvqa.allenai.org",
    ),
    "aokvqa": ("val", "aokvqa_v1p0_val.json", None, "val2017", "allenai.org/project/a-okvqa"),
    "vizwiz": ("val", "val.json", None, "val", "vizwiz.org"),
    "textvqa": ("val", "TextVQA_0.5.1_val.json", "data", "train_images", "textvqa.org"),
    "st_vqa": ("train", "train_task_3.json", "data", "train_imgs", "rrc.cvc.uab.es"),
    "docvqa": ("val", "val_v1.0_withQT.json", "data", "documents", "rrc.cvc.uab.es"),
    "infographicvqa": (
        "val",
        "infographicsVQA_val_v1.0_withQT.json",
        "data",
        "infographicsvqa_images",
        "rrc.cvc.uab.es",
    ),
    "chartqa": ("test", "test/test_human.json", None, "test/png", "github.com/vis-nlp/ChartQA"),
}
NAMES = list(PLACES)
HINT = "(use --data.skip_bad true or --skip-bad to skip and count bad rows)"

Rows = list[dict[str, Any]]
Edit = Callable[[Rows], object]


def copied(name: str, root: pathlib.Path) -> pathlib.Path:
    shutil.copytree(DATA / name, root / name)
    return root / name


def edited(name: str, root: pathlib.Path, edit: Edit, file: str | None = None) -> str:
    """A copy with the rows of one file changed."""
    folder = copied(name, root)
    target = folder / (file or PLACES[name][1])
    data = json.loads(target.read_text())
    key = "annotations" if file else PLACES[name][2]
    edit(data[key] if key else data)
    target.write_text(json.dumps(data))
    return str(folder)


def refusal(name: str, root: str | None, split: str | None = None, **options: Any) -> str:
    """The one sentence of the DataError."""
    with pytest.raises(DataError) as caught:
        datasets.create(name, root, split or PLACES[name][0], **options)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def skipping(name: str, root: str) -> tuple[int, list[str]]:
    data = datasets.create(name, root, PLACES[name][0], skip_bad=True)
    return len(data), data.skipped


# --- files and folders


@pytest.mark.parametrize("name", NAMES)
def test_no_root_says_what_and_where_to_get_it(name: str, tmp_path: pathlib.Path) -> None:
    page = PLACES[name][4]
    assert f"{name} needs a root" in (told := refusal(name, None)) and page in told
    nowhere = str(tmp_path / "nowhere")
    assert nowhere in (told := refusal(name, nowhere)) and page in told


@pytest.mark.parametrize("name", NAMES)
def test_a_missing_file_is_named_with_its_page(name: str, tmp_path: pathlib.Path) -> None:
    folder = copied(name, tmp_path)
    _, file, _, _, page = PLACES[name]
    (folder / file).unlink()
    told = refusal(name, str(folder))
    assert pathlib.Path(file).name in told and str(folder) in told
    assert "download it from" in told and page in told


@pytest.mark.parametrize("name", ["vqa_v2", "vqa_v1", "ok_vqa"])
def test_missing_annotations_are_not_a_test_split(name: str, tmp_path: pathlib.Path) -> None:
    folder = copied(name, tmp_path)
    for file in folder.rglob("*annotations.json"):
        file.unlink()
    assert re.search(r"no file (v2_)?mscoco_.*_annotations.json", refusal(name, str(folder)))


@pytest.mark.parametrize("name", [name for name in NAMES if name != "st_vqa"])
def test_a_missing_image_folder_is_one_sentence(name: str, tmp_path: pathlib.Path) -> None:
    folder = copied(name, tmp_path)
    shutil.rmtree(folder / PLACES[name][3])
    told = refusal(name, str(folder), skip_bad=True)
    assert "no image folder" in told and PLACES[name][4] in told


@pytest.mark.parametrize("name", NAMES)
def test_an_unknown_split_lists_the_known_ones(name: str) -> None:
    told = refusal(name, str(DATA / name), "training")
    assert "'training'" in told and "choose one of train" in told


@pytest.mark.parametrize(
    ("name", "option", "value", "known"),
    [
        ("vqa_v1", "task", "open", "multiple_choice"),
        ("aokvqa", "task", "mc", "direct_answer"),
        ("chartqa", "subset", "robot", "augmented"),
        ("chartqa", "subset", 3, "human"),
    ],
)
def test_an_unknown_option_lists_the_known_ones(
    name: str, option: str, value: object, known: str
) -> None:
    told = refusal(name, str(DATA / name), **{option: value})
    assert f"{option} of {name} cannot be {value!r}" in told and known in told


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (b'{\n "a": 1,\n oops}', "line 3 column 2"),
        (b"", "line 1 column 1"),
        (b'["\xff"]', "byte 0xff"),
        (b"[" * 100_000, "recursion"),
        (b'"a string"', "holds a JSON string"),
        (b"3", "holds a JSON number"),
    ],
    ids=["broken", "empty", "latin", "deep", "string", "number"],
)
def test_a_file_that_is_not_its_json(
    name: str, text: bytes, reason: str, tmp_path: pathlib.Path
) -> None:
    folder = copied(name, tmp_path)
    (folder / PLACES[name][1]).write_bytes(text)
    told = refusal(name, str(folder), skip_bad=True)
    assert reason in told and str(folder / PLACES[name][1]) in told and "download it again" in told


@pytest.mark.parametrize("name", NAMES)
def test_rows_that_are_no_list(name: str, tmp_path: pathlib.Path) -> None:
    folder = copied(name, tmp_path)
    key = PLACES[name][2]
    for data, reason in (({}, "is missing"), ({key: {}}, "is a JSON object")):
        (folder / PLACES[name][1]).write_text(json.dumps(data))
        reason = f"'{key}' {reason}" if key else "holds a JSON object, not a list"
        assert reason in refusal(name, str(folder))


# --- rows


def change(index: int, **values: Any) -> Edit:
    def edit(rows: Rows) -> None:
        rows[index].update(values)

    return edit


def drop(index: int, key: str) -> Edit:
    def edit(rows: Rows) -> None:
        del rows[index][key]

    return edit


def put(index: int, row: Any) -> Edit:
    def edit(rows: Rows) -> None:
        rows[index] = row

    return edit


def again(index: int, of: int) -> Edit:
    def edit(rows: Rows) -> None:
        rows[index] = dict(rows[of])

    return edit


ANNOTATIONS = {
    "vqa_v2": "Annotations/v2_mscoco_train2014_annotations.json",
    "vqa_v1": "mscoco_val2014_annotations.json",
    "ok_vqa": "mscoco_val2014_annotations.json",
}

ROWS: list[tuple[str, Edit, str]] = [
    # a row of a wrong type or without a key, of each
    *((name, put(1, ["a", "row"]), "row 1: expected an object, got a list") for name in NAMES),
    *(
        (name, drop(1, "query" if name == "chartqa" else "question"), r"row 1: the key '\w+' is mi")
        for name in NAMES
    ),
    *(
        (name, change(1, question="  "), "row 1: question must be a non-empty string, not '  '")
        for name in NAMES
        if name != "chartqa"
    ),
    # ids
    ("vqa_v2", again(2, 0), "row 2: question_id 42000 repeats row 0"),
    ("vqa_v1", again(1, 0), "row 1: question_id 30 repeats row 0"),
    ("ok_vqa", again(1, 0), "row 1: question_id 5005 repeats row 0"),
    ("aokvqa", again(1, 0), "row 1: question_id 'aQ1' repeats row 0"),
    ("textvqa", again(2, 0), "row 2: question_id 100 repeats row 0"),
    ("st_vqa", again(1, 0), "row 1: question_id 0 repeats row 0"),
    ("docvqa", again(2, 1), "row 2: question_id 201 repeats row 1"),
    ("infographicvqa", again(1, 0), "row 1: question_id 300 repeats row 0"),
    (
        "vqa_v2",
        change(0, question_id=True),
        "row 0: question_id must be an integer or .* not 'True'",
    ),
    ("docvqa", change(0, questionId=1.5), "row 0: questionId must be an integer or .* not '1.5'"),
    # images
    ("vqa_v2", change(0, image_id=8), "row 0: image COCO_train2014_000000000008.jpg is not in .*"),
    ("vqa_v2", change(0, image_id="42"), "row 0: image_id must be a whole number, not '42'"),
    ("vqa_v1", change(0, image_id=-3), "row 0: image_id must be a whole number, not '-3'"),
    ("ok_vqa", change(0, image_id=8), "row 0: image COCO_val2014_000000000008.jpg is not in .*"),
    ("aokvqa", change(0, image_id=8), "row 0: image 000000000008.jpg is not in .*val2017"),
    ("vizwiz", change(2, image="VizWiz_val_00000009.jpg"), "row 2: image VizWiz_val_00000009.jpg"),
    ("textvqa", change(0, image_id="beef"), "row 0: image beef.jpg is not in .*train_images"),
    ("textvqa", change(0, image_id="../0/a"), "row 0: image '../0/a.jpg' is not a path inside"),
    ("st_vqa", change(0, file_path="coco-text/no.jpg"), "row 0: image coco-text/no.jpg is not in"),
    ("st_vqa", change(0, file_path="nowhere/no.jpg"), "row 0: image nowhere/no.jpg is not in"),
    ("st_vqa", change(0, file_path="../a.jpg"), "row 0: image '../a.jpg' is not a path inside"),
    ("st_vqa", change(0, file_path="/etc/hosts"), "row 0: image '/etc/hosts' is not a path inside"),
    ("docvqa", change(0, image="documents/no.png"), "row 0: image no.png is not in .*documents"),
    ("infographicvqa", change(0, image_local_name="9.jpeg"), "row 0: image 9.jpeg is not in"),
    ("chartqa", change(0, imgname="no.png"), "row 0: image no.png is not in .*png"),
    # answers, choices and kinds
    (
        "aokvqa",
        change(0, direct_answers=[1] * 10),
        "direct_answers must hold strings only",
    ),
    ("aokvqa", change(0, direct_answers="['a']"), "direct_answers must be a list of strings"),
    ("aokvqa", change(0, correct_choice_idx=4), "correct_choice_idx is 4 of 4 choices"),
    ("aokvqa", change(0, correct_choice_idx=None), "correct_choice_idx must be a whole number"),
    (
        "aokvqa",
        change(0, difficult_direct_answer="no"),
        "difficult_direct_answer must be tr",
    ),
    ("aokvqa", drop(0, "difficult_direct_answer"), "the key 'difficult_direct_answer' is missing"),
    ("aokvqa", change(0, split="train"), "split is 'train' in a file of split 'val'"),
    ("vizwiz", change(0, answers=[]), r"row 0: answers has nothing in it: \[\]"),
    ("vizwiz", change(0, answers=["red"]), 'answers must be a list of objects with "answer"'),
    ("vizwiz", change(0, answers=3), 'answers must be a list of objects with "answer", not 3'),
    ("vizwiz", change(0, answerable="yes"), "answerable must be 0 or 1, not 'yes'"),
    ("vizwiz", change(0, answerable=True), "answerable must be 0 or 1, not True"),
    ("vizwiz", drop(0, "answerable"), "the key 'answerable' is missing"),
    ("textvqa", drop(0, "answers"), "the key 'answers' is missing"),
    ("textvqa", change(0, answers=["", " "]), "answers has nothing in it"),
    ("textvqa", change(0, set_name="train"), "set_name is 'train' in a file of split 'val'"),
    ("st_vqa", change(0, answers=[None]), r"answers must hold strings only, not \[None\]"),
    ("docvqa", change(0, answers="May 3"), "answers must be a list of strings, not 'May 3'"),
    ("docvqa", change(0, answers="May\n3"), r"answers must be a list of strings, not 'May\\n3'"),
    ("docvqa", change(0, data_split="train"), "data_split is 'train' in a file of split 'val'"),
    ("docvqa", change(0, question_types="form"), "question_types must be a list of strings"),
    ("infographicvqa", change(0, evidence=[1]), "evidence must hold strings only"),
    ("chartqa", change(0, label=12.5), "row 0: label must be a non-empty string, not '12.5'"),
]


@pytest.mark.parametrize(("name", "edit", "reason"), ROWS, ids=[f"{r[0]}-{r[2]}" for r in ROWS])
def test_a_bad_row_is_named_or_skipped_and_counted(
    name: str, edit: Edit, reason: str, tmp_path: pathlib.Path
) -> None:
    root = edited(name, tmp_path, edit)
    told = refusal(name, root)
    assert re.search(reason, told) and told.startswith(root) and told.endswith(HINT)
    whole, _ = skipping(name, str(DATA / name))
    count, skipped = skipping(name, root)
    assert count == whole - 1
    assert re.search(reason, skipped[0]) and HINT not in skipped[0]
    # An annotation that lost its question is a second bad row.
    orphans = [row for row in skipped[1:] if re.search(r"annotations.json: .* is not in", row)]
    assert skipped[1:] == orphans and len(orphans) <= (name in ANNOTATIONS)


NOTES: list[tuple[str, Edit, str]] = [
    ("vqa_v2", put(0, 3), "row 0: expected an object, got a number: 3"),
    ("vqa_v2", again(0, 1), "row 1: question_id 42000 is there twice"),
    ("vqa_v2", change(0, image_id=42), "image_id 42 is not the question's 7"),
    ("vqa_v2", drop(0, "answer_type"), "the annotation of 7000 in .*: the key 'answer_type' is mi"),
    (
        "vqa_v2",
        change(0, question_type=None),
        "question_type must be a non-empty string, not",
    ),
    ("vqa_v2", change(0, answers=[{}]), 'answers must be a list of objects with "answer"'),
    (
        "vqa_v2",
        change(0, question_id=1),
        "question_id 7000 has no annotation in .*json",
    ),
    ("vqa_v1", change(0, answers=[{"answer": 3}]), "answers must hold strings only"),
    ("ok_vqa", change(0, answers=[{"answer": "a"}]), "the key 'raw_answer' is missing"),
]


@pytest.mark.parametrize(("name", "edit", "reason"), NOTES, ids=[n[2] for n in NOTES])
def test_a_bad_annotation_costs_its_question(
    name: str, edit: Edit, reason: str, tmp_path: pathlib.Path
) -> None:
    root = edited(name, tmp_path, edit, ANNOTATIONS[name])
    told = refusal(name, root)
    assert re.search(reason, told) and told.endswith(HINT)
    count, skipped = skipping(name, root)
    assert count == 2
    assert re.search(reason, "\n".join(skipped))


def test_an_annotation_without_its_question_is_told(tmp_path: pathlib.Path) -> None:
    root = edited("vqa_v2", tmp_path, lambda rows: rows.pop())
    assert re.search("question_id 7000 is not in .*questions.json", refusal("vqa_v2", root))
    assert len(skipping("vqa_v2", root)[1]) == 1


def test_vqa_v1_files_are_not_ok_vqa(tmp_path: pathlib.Path) -> None:
    assert "raw_answer" in refusal("ok_vqa", str(DATA / "vqa_v1"))


def test_multiple_choice_needs_choices(tmp_path: pathlib.Path) -> None:
    folder = copied("vqa_v1", tmp_path)
    name = "{}_mscoco_val2014_questions.json"
    shutil.copy(folder / name.format("OpenEnded"), folder / name.format("MultipleChoice"))
    told = refusal("vqa_v1", str(folder), task="multiple_choice")
    assert "row 0: the key 'multiple_choices' is missing" in told


@pytest.mark.parametrize("name", NAMES)
def test_no_good_row_raises_even_when_bad_ones_are_skipped(
    name: str, tmp_path: pathlib.Path
) -> None:
    def spoil(rows: Rows) -> None:
        rows[:] = [{}, {}]

    told = refusal(name, edited(name, tmp_path, spoil), skip_bad=True)
    assert "has no good row (2 bad rows; the first is" in told


# --- the shared parts


def test_ids_are_unique_over_files() -> None:
    found = Examples(skip_bad=True)
    make = datasets.Example
    found.read("a", [(0, 1), (1, 2)], lambda place, row: make(row, "/i", "?", ()))
    found.read("b", [(0, 2), (1, 3)], lambda place, row: make(row, "/i", "?", ()))
    assert [found[i].question_id for i in range(len(found))] == [1, 2, 3]
    assert found.skipped == ["b: row 0: question_id 2 repeats row 1"]


def test_a_row_of_no_interest_is_not_bad() -> None:
    found = Examples()
    rows = {"x": 1, "y": 2}
    keep = datasets.Example(1, "/i", "?", ())
    found.read("f", rows.items(), lambda place, row: keep if row == 1 else None, "question")
    assert (len(found), found.skipped) == (1, [])
    with pytest.raises(DataError, match=r"f has no good question \(0 bad questions\)"):
        Examples().read("f", rows.items(), lambda place, row: None, "question")


def test_folders_are_listed_once(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a").mkdir()
    names = [f"{n}.png" for n in range(300)]
    for name in names:
        (tmp_path / "a" / name).touch()
    listed: list[str] = []
    real = datasets._reading.os.listdir
    monkeypatch.setattr("os.listdir", lambda folder: listed.append(folder) or real(folder))
    images = Images([str(tmp_path)])
    assert [images.path(f"a/{name}") for name in names] == [str(tmp_path / "a" / n) for n in names]
    for name in ("a/none.png", "b/none.png", "b/0.png"):
        with pytest.raises(DataError):
            images.path(name)
    assert listed == [str(tmp_path / "a"), str(tmp_path / "b")]


def test_the_first_name_that_is_there(tmp_path: pathlib.Path) -> None:
    (tmp_path / "two.json").write_text("[]")
    (tmp_path / "images").mkdir()
    (tmp_path / "images" / "b.png").touch()
    root = Root(str(tmp_path), "x", "the page")
    assert root.file("one.json", "two.json") == str(tmp_path / "two.json")
    assert root.images("pictures", "images").path("a.png", "b.png").endswith("images/b.png")
    with pytest.raises(DataError, match=r"no file one.json \(nor 1.json\) in .*from the page"):
        root.file("one.json", "1.json")


@pytest.mark.parametrize("text", ["[1]", "\ufeff[1]", "[", "{}"])
def test_loading_leaves_the_garbage_collector_as_it_was(text: str, tmp_path: pathlib.Path) -> None:
    file = tmp_path / "a.json"
    file.write_text(text, encoding="utf-8")
    assert gc.isenabled()
    if text.endswith("[1]"):
        assert load_list(str(file)) == [1]
    else:
        with pytest.raises(DataError):
            load_list(str(file))
    assert gc.isenabled()
    with pytest.raises(DataError):
        load_object(str(tmp_path))  # a folder
