"""The data sets: counts, splits, and a sentence with file and line for every bad row."""

import dataclasses
import importlib.util
import json
import os
import pathlib
import pickle
from typing import Any

import pytest

from vqa import datasets
from vqa.data.wordings import wordings_by_kind
from vqa.datasets import DataError, Example, easy_vqa, jsonl

needs_easy_vqa = pytest.mark.skipif(
    importlib.util.find_spec("easy_vqa") is None, reason="the easy-vqa package is not installed"
)


def row(**changes: Any) -> dict[str, Any]:
    good = {"question_id": "q1", "image": "images/0.png", "question": "what?", "answers": ["a"]}
    return {**good, **changes}


def without(key: str) -> dict[str, Any]:
    return {name: value for name, value in row().items() if name != key}


def folder(root: pathlib.Path, *rows: object, split: str = "train") -> str:
    """A jsonl data set; a row is an object to encode, or the text or bytes of a line."""
    (root / "images").mkdir(exist_ok=True)
    (root / "images" / "0.png").write_bytes(b"pixels are never read here")
    lines = [r if isinstance(r, bytes) else text(r).encode() for r in rows]
    (root / f"{split}.jsonl").write_bytes(b"".join(line + b"\n" for line in lines))
    return str(root)


def text(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value)


# --- the registry


def test_available_lists_the_files() -> None:
    assert datasets.available() == sorted(set(datasets.available()))
    assert {"easy_vqa", "jsonl"} <= set(datasets.available())


def test_create_imports_the_file_of_that_name(tmp_path: pathlib.Path) -> None:
    data = datasets.create("jsonl", folder(tmp_path, row()), "train")
    assert isinstance(data, jsonl.Dataset)
    assert len(data) == 1


@pytest.mark.parametrize("name", ["nope", "", "jsonl.py", "../metrics", "__init__"])
def test_unknown_name_lists_the_names(name: str) -> None:
    with pytest.raises(ValueError, match="easy_vqa, .*jsonl"):
        datasets.create(name)


def test_create_passes_skip_bad_on(tmp_path: pathlib.Path) -> None:
    root = folder(tmp_path, row(), "{")
    with pytest.raises(DataError):
        datasets.create("jsonl", root)
    assert len(datasets.create("jsonl", root, skip_bad=True).skipped) == 1


def test_example_is_a_frozen_value() -> None:
    example = Example(1, "/a.png", "what?", ("a",))
    assert example == Example(1, "/a.png", "what?", ("a",), None)
    assert pickle.loads(pickle.dumps(example)) == example  # data loader workers send it
    with pytest.raises(dataclasses.FrozenInstanceError):
        example.question = "why?"  # type: ignore[misc]


# --- jsonl


def test_jsonl_reads_a_row(tmp_path: pathlib.Path) -> None:
    full = row(question_id=7, answers=["A", "b"], split="val", meta={"kind": "count"}, more=1)
    data = jsonl.Dataset(folder(tmp_path, full, split="val"), "val")
    image = str(tmp_path / "images" / "0.png")
    assert data[0] == Example(7, image, "what?", ("A", "b"), "count", meta={"kind": "count"})
    assert (len(data), data.skipped, data.splits) == (1, [], ("val",))
    assert data.score("a.", data[0].answers) == 1.0
    assert data.score("c", data[0].answers) == 0.0


def test_jsonl_asks_in_other_wordings_by_option(tmp_path: pathlib.Path) -> None:
    ask = "What is the total amount on this receipt?"
    rows = [row(question_id=f"q{n}", question=ask) for n in range(60)]
    root = folder(tmp_path, *rows, row(question_id="own", question="Is it odd?"))
    total = wordings_by_kind()["total"]
    assert {example.question for example in jsonl.Dataset(root, "train")} == {ask, "Is it odd?"}
    for split, own in (("train", total.train), ("test", total.test)):
        data = jsonl.Dataset(root, "train", wordings=split)
        assert {data[n].question for n in range(60)} == {*own} and data[60].question == "Is it odd?"
        again = jsonl.Dataset(root, "train", wordings=split)
        assert [again[n] for n in range(61)] == [data[n] for n in range(61)]
    with pytest.raises(DataError, match="wordings must be train or test, not 'val'"):
        jsonl.Dataset(root, "train", wordings="val")


def test_jsonl_relative_root_gives_absolute_paths(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder(tmp_path, row())
    monkeypatch.chdir(tmp_path)
    image = jsonl.Dataset(".", "train")[0].image
    monkeypatch.chdir("/")
    assert os.path.isabs(image) and os.path.isfile(image)


def test_jsonl_allows_blank_lines_bom_crlf_and_unicode(tmp_path: pathlib.Path) -> None:
    first = b"\xef\xbb\xbf" + json.dumps(row(question="où\u2028?"), ensure_ascii=False).encode()
    data = jsonl.Dataset(folder(tmp_path, first, b"", b"  \r", row(question_id="q2")), "train")
    assert [data[i].question for i in range(len(data))] == ["où\u2028?", "what?"]


BAD = {
    "json": ('{"question_id": 1,', "not valid JSON"),
    "deep": ("[" * 100_000, "not valid JSON"),
    "utf8": (b'{"question_id": "\xff"}', "not UTF-8 (byte 17)"),
    "list": ([1, 2], "expected a JSON object, got list: [1, 2]"),
    "no id": (without("question_id"), "the key 'question_id' is missing"),
    "no image": (without("image"), "the key 'image' is missing"),
    "no question": (without("question"), "the key 'question' is missing"),
    "no answers": (without("answers"), "the key 'answers' is missing"),
    "id type": (row(question_id=1.5), "question_id must be an integer or a non-empty string"),
    "id bool": (row(question_id=True), "not True"),
    "id empty": (row(question_id=""), "not ''"),
    "question type": (row(question=3), "question must be a non-empty string, not 3"),
    "question empty": (row(question=" "), "question must be a non-empty string, not ' '"),
    "answers type": (row(answers="yes"), "answers must be a list of strings, not 'yes'"),
    "answers empty": (row(answers=[]), "answers is empty"),
    "answer type": (row(answers=["a", 1]), "answers must hold non-empty strings, not 1"),
    "answer empty": (row(answers=["a", ""]), "answers must hold non-empty strings, not ''"),
    "split": (row(split="test"), "split is 'test' in a file of split 'train'"),
    "image type": (row(image=None), "image must be a path"),
    "image missing": (row(image="images/9.png"), "images/9.png does not exist"),
    "image folder": (row(image="images"), "images does not exist"),
    "escape": (row(image="../secret.png"), "'../secret.png' lies outside"),
    "escape inside": (row(image="images/../../x.png"), "lies outside"),
    "absolute": (row(image="/etc/hosts"), "'/etc/hosts' lies outside"),
    "meta type": (row(meta=[]), "meta must be an object"),
    "kind type": (row(meta={"kind": 1}), "meta.kind must be a string, not 1"),
    "duplicate": (row(question="again?"), "question_id 'q1' repeats line 1"),
}


@pytest.mark.parametrize(("bad", "reason"), BAD.values(), ids=BAD)
def test_jsonl_bad_row_is_named_or_skipped(
    tmp_path: pathlib.Path, bad: object, reason: str
) -> None:
    root = folder(tmp_path, row(), bad, row(question_id="q3"))
    where = f"{root}/train.jsonl: line 2: "
    with pytest.raises(DataError) as caught:
        jsonl.Dataset(root, "train")
    assert str(caught.value).startswith(where)
    assert reason in str(caught.value)
    assert str(caught.value).endswith(
        "(use --data.skip_bad true or --skip-bad to skip and count bad rows)"
    )
    data = jsonl.Dataset(root, "train", skip_bad=True)
    assert [data[i].question_id for i in range(len(data))] == ["q1", "q3"]
    assert len(data.skipped) == 1
    assert data.skipped[0].startswith(where) and reason in data.skipped[0]
    assert "--skip-bad" not in data.skipped[0]


def test_jsonl_ids_of_two_types_differ(tmp_path: pathlib.Path) -> None:
    root = folder(tmp_path, row(question_id=1), row(question_id="1"))
    assert len(jsonl.Dataset(root, "train")) == 2


def test_jsonl_no_good_row(tmp_path: pathlib.Path) -> None:
    with pytest.raises(
        DataError, match=r"no good line \(2 bad lines; the first is .*: line 1: not valid"
    ):
        jsonl.Dataset(folder(tmp_path, "{", "}"), "train", skip_bad=True)
    with pytest.raises(DataError, match=r"train.jsonl has no good line \(0 bad lines\)"):
        jsonl.Dataset(folder(tmp_path), "train")


def test_jsonl_wrong_folder(tmp_path: pathlib.Path) -> None:
    expected = f"no test.jsonl in {tmp_path}; a jsonl data set is a folder with"
    with pytest.raises(DataError) as caught:
        jsonl.Dataset(str(tmp_path), "test")
    assert str(caught.value) == expected + " {train,val,test}.jsonl"


def test_jsonl_unknown_split_lists_the_splits(tmp_path: pathlib.Path) -> None:
    for split in ("dev", "test", "train"):
        folder(tmp_path, row(), split=split)
    with pytest.raises(DataError, match=r"no val\.jsonl in .*; splits found: train, test, dev$"):
        jsonl.Dataset(str(tmp_path), "val")
    assert len(jsonl.Dataset(str(tmp_path), "dev")) == 1


@pytest.mark.parametrize("root", [None, ""])
def test_jsonl_needs_a_root(root: str | None) -> None:
    with pytest.raises(DataError, match="jsonl needs a root"):
        jsonl.Dataset(root, "train")


def test_jsonl_root_is_not_a_folder(tmp_path: pathlib.Path) -> None:
    with pytest.raises(DataError, match="nowhere is not a folder"):
        jsonl.Dataset(str(tmp_path / "nowhere"), "train")


# --- easy_vqa


def easy_folder(root: pathlib.Path, questions: object) -> str:
    """The package's layout, with training images 0 to 39 and test image 0."""
    for name, count in (("train", 40), ("test", 1)):
        (root / name / "images").mkdir(parents=True)
        for image in range(count):
            (root / name / "images" / f"{image}.png").touch()
        (root / name / "questions.json").write_text(json.dumps(questions))
    return str(root)


def test_easy_vqa_splits_a_folder_by_image(tmp_path: pathlib.Path) -> None:
    root = easy_folder(tmp_path, [[f"q{i}?", "yes", i // 2] for i in range(80)])
    held_out = [0, 1, 40, 41]  # both questions of image 0 and of image 20
    val, train = easy_vqa.Dataset(root, "val"), easy_vqa.Dataset(root, "train")
    assert [val[i].question_id for i in range(len(val))] == held_out
    assert [train[i].question_id for i in range(len(train))] == [
        i for i in range(80) if i not in held_out
    ]
    assert val[2] == Example(
        40, str(tmp_path / "train" / "images" / "20.png"), "q40?", ("yes",), "yes/no"
    )
    assert len(easy_vqa.Dataset(root, "trainval")) == 80


@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        (["why?", "yes"], "expected [question, answer, image id], got ['why?', 'yes']"),
        (["why?", "yes", "1"], "expected [question, answer, image id]"),
        ("why?", "expected [question, answer, image id], got why?"),
        ([" ", "yes", 1], "empty question"),
        (["why?", "", 1], "empty answer"),
        (["why?", "yes", 99], "99.png does not exist"),
    ],
)
def test_easy_vqa_bad_row(tmp_path: pathlib.Path, bad: object, reason: str) -> None:
    root = easy_folder(tmp_path, [["is it?", "no", 1], bad, ["what?", "circle", 2]])
    with pytest.raises(DataError) as caught:
        easy_vqa.Dataset(root, "train")
    assert str(caught.value).startswith(f"{root}/train/questions.json: row 1: ")
    assert reason in str(caught.value)
    assert "--skip-bad" in str(caught.value)
    data = easy_vqa.Dataset(root, "train", skip_bad=True)
    assert [data[i].question_id for i in range(len(data))] == [0, 2]
    assert len(data.skipped) == 1 and reason in data.skipped[0]


def test_easy_vqa_bad_folders(tmp_path: pathlib.Path) -> None:
    with pytest.raises(DataError, match=r"questions.json cannot be opened|cannot be listed"):
        easy_vqa.Dataset(str(tmp_path), "train")
    root = easy_folder(tmp_path, {})
    with pytest.raises(DataError, match="holds a JSON dict, not a list"):
        easy_vqa.Dataset(root, "train")
    (tmp_path / "train" / "questions.json").write_text("[")
    with pytest.raises(DataError, match="questions.json is not valid JSON"):
        easy_vqa.Dataset(root, "train")
    (tmp_path / "train" / "questions.json").write_text("[[]]")
    with pytest.raises(DataError, match=r"no good row \(1 bad rows; the first is .*row 0"):
        easy_vqa.Dataset(root, "train", skip_bad=True)


def test_easy_vqa_unknown_split() -> None:
    with pytest.raises(DataError, match="no split 'dev'; choose one of train, val, trainval, test"):
        easy_vqa.Dataset(None, "dev")


def test_easy_vqa_missing_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(DataError, match="pip install easy-vqa"):
        easy_vqa.Dataset(None, "train")


@needs_easy_vqa
def test_easy_vqa_official_counts_and_splits() -> None:
    splits = {split: easy_vqa.Dataset(None, split) for split in easy_vqa.Dataset.splits}
    ids = {name: {data[i].question_id for i in range(len(data))} for name, data in splits.items()}
    images = {name: {data[i].image for i in range(len(data))} for name, data in splits.items()}
    assert {name: len(data) for name, data in splits.items()} == {
        "train": 36_631,
        "val": 1_944,
        "trainval": 38_575,
        "test": 9_673,
    }
    assert all(len(ids[name]) == len(splits[name]) for name in splits)
    assert ids["train"] | ids["val"] == ids["trainval"]
    assert not images["train"] & images["val"]
    assert (len(images["trainval"]), len(images["test"])) == (4_000, 1_000)
    assert all(os.path.isfile(image) for name in splits for image in images[name])


@needs_easy_vqa
def test_easy_vqa_answer_types_are_the_packages_answers() -> None:
    with open(os.path.join(easy_vqa._package_data(), "answers.txt")) as stream:
        published = [line.strip() for line in stream]
    known = [answer for answers in easy_vqa.ANSWERS.values() for answer in answers]
    assert sorted(known) == sorted(published) and len(known) == 13
    data = easy_vqa.Dataset(None, "test")
    examples = [data[i] for i in range(len(data))]
    assert {e.answer_type for e in examples} == {"yes/no", "shape", "color"}
    assert {e.answers[0] for e in examples if e.answer_type == "shape"} == {
        "circle",
        "rectangle",
        "triangle",
    }


def test_jsonl_metric_and_types_by_option(tmp_path: pathlib.Path) -> None:
    line = row(answers=["10"], meta={"part": "human", "organ": "chest", "kind": "other"})
    root = folder(tmp_path, line)
    plain = jsonl.Dataset(root, "train")
    assert (plain[0].answer_type, plain[0].question_type) == ("other", None)
    assert plain[0].meta == {"part": "human", "organ": "chest", "kind": "other"}
    chosen = jsonl.Dataset(
        root, "train", metric="relaxed_accuracy", answer_type="part", question_type="organ"
    )
    assert (chosen[0].answer_type, chosen[0].question_type) == ("human", "chest")
    assert (plain.score("10.4", ["10"]), chosen.score("10.4", ["10"])) == (0, 1)
    with pytest.raises(DataError, match="metric.*'luck'.*exact_match"):
        jsonl.Dataset(root, "train", metric="luck")
