"""Readers of official files: every field of small folders in the official layouts."""

import importlib
import json
import os
import pathlib
import pickle
import random
import shutil
from typing import Any

import pytest
from PIL import Image

from vqa import datasets
from vqa.datasets import Dataset, Example, Reported

DATA = pathlib.Path(__file__).parent / "data" / "readers"


def opened(name: str, split: str, **options: Any) -> Dataset:
    return datasets.create(name, str(DATA / name), split, **options)


def examples(data: Dataset) -> list[Example]:
    return [data[index] for index in range(len(data))]


def path(name: str) -> str:
    return str(DATA / name)


COCO = {
    "vqa_v2": path("vqa_v2/Images/mscoco/{0}/COCO_{0}_{1:012d}.jpg"),
    "vqa_v1": path("vqa_v1/{0}/COCO_{0}_{1:012d}.jpg"),
    "ok_vqa": path("ok_vqa/{0}/COCO_{0}_{1:012d}.jpg"),
}


def test_vqa_v2_joins_questions_and_annotations() -> None:
    data = opened("vqa_v2", "train")
    red, green = (COCO["vqa_v2"].format("train2014", image) for image in (42, 7))
    assert examples(data) == [
        Example(42000, red, "Is the bar black?", ("yes",) * 10, "yes/no", "is the"),
        Example(
            42001,
            red,
            "How many bars are there?",
            ("1",) * 6 + ("one",) * 3 + ("",),
            "number",
            "how many",
        ),
        Example(
            7000,
            green,
            "What color is the rest?",
            ("green",) * 7 + ("Green", "lime", "lime"),
            "other",
            "what color is the",
        ),
    ]
    assert data[0].image is data[1].image  # hundreds of thousands of paths are kept once an image


def test_vqa_v2_test_splits_have_no_answers_and_share_images() -> None:
    image = COCO["vqa_v2"].format("test2015", 9)
    first = Example(9000, image, "Is there a bar?", ())
    second = Example(9001, image, "Where is the bar?", ())
    assert examples(opened("vqa_v2", "test")) == [first, second]
    assert examples(opened("vqa_v2", "test-dev")) == [first]


@pytest.mark.parametrize(
    ("name", "plain", "official"),
    [
        ("vqa_v2", "train", "train2014"),
        ("vqa_v2", "test", "test2015"),
        ("vqa_v2", "test-dev", "test-dev2015"),
        ("vqa_v1", "val", "val2014"),
        ("ok_vqa", "val", "val2014"),
    ],
)
def test_official_split_names_are_the_plain_ones(name: str, plain: str, official: str) -> None:
    assert examples(opened(name, plain)) == examples(opened(name, official))


def test_vqa_v1_open_ended_and_multiple_choice() -> None:
    blue, red = (COCO["vqa_v1"].format("val2014", image) for image in (3, 4))
    rows: list[tuple[Any, ...]] = [
        (30, blue, "Is this blue?", ("yes",) * 9 + ("no",), "yes/no", "is this"),
        (31, blue, "What shape is dark?", ("bar",) * 5 + ("line",) * 5, "other", "what"),
        (40, red, "How many shapes are dark?", ("1",) * 10, "number", "how many"),
    ]
    assert examples(opened("vqa_v1", "val")) == [Example(*row) for row in rows]
    choices = [("yes", "no", "red", "2"), ("bar", "circle", "yes", "4"), ("1", "2", "3", "no")]
    assert examples(opened("vqa_v1", "val", task="multiple_choice")) == [
        Example(*row, choices=offered) for row, offered in zip(rows, choices, strict=True)
    ]


def test_ok_vqa_keeps_the_stemmed_answers_and_categories() -> None:
    data = opened("ok_vqa", "val")
    blue, red = (COCO["ok_vqa"].format("val2014", image) for image in (5, 6))
    gases = ("nitrogen",) * 4 + ("air",) * 4 + ("oxygen",) * 2
    sold = ("apple",) * 4 + ("cherri",) * 4 + ("wine",) * 2
    assert examples(data) == [
        Example(5005, blue, "Which gas makes such a sky blue?", gases, "other", "eight"),
        Example(5006, blue, "Who paints bars like this?", ("painter",) * 10, "other", "other"),
        Example(6005, red, "What is sold in this color?", sold, "other", "six"),
    ]
    assert data.splits == ("train", "val", "train2014", "val2014")


def test_aokvqa_direct_answers() -> None:
    first, _, third = (path(f"aokvqa/val2017/{n:012d}.jpg") for n in (11, 11, 12))
    assert examples(opened("aokvqa", "val")) == [
        Example(
            "aQ1",
            first,
            "What could the bar be used for?",
            ("shade",) * 4 + ("shadow",) * 5 + ("line",),
            meta={"difficult": False, "correct": 0},
        ),
        Example(
            "aQ2",
            first,
            "Why is it dark?",
            ("ink",) * 10,
            meta={"difficult": True, "correct": 1},
        ),
        Example(
            "aQ3",
            third,
            "What is the rest made of?",
            ("grass",) * 9 + ("lawn",),
            meta={"difficult": False, "correct": 2},
        ),
    ]


def test_aokvqa_multiple_choice_and_test_split() -> None:
    data = opened("aokvqa", "val", task="multiple_choice")
    assert [data[i].answers for i in range(3)] == [("shade",), ("ink",), ("grass",)]
    assert data[2].choices == ("paper", "stone", "grass", "water")
    assert data[1].meta == {"difficult": True, "correct": 1}
    image = path("aokvqa/test2017/000000000013.jpg")
    meta = {"difficult": False, "correct": None}
    free = Example("aQ4", image, "What is missing?", (), meta=meta)
    assert examples(opened("aokvqa", "test")) == [free]
    offered = opened("aokvqa", "test", task="multiple_choice")[0]
    assert (offered.answers, offered.choices) == ((), ("sun", "cat", "car", "sea"))


def test_vizwiz_ids_are_places_in_the_file() -> None:
    images = [path(f"vizwiz/val/VizWiz_val_{n:08d}.jpg") for n in range(3)]
    unread = ("unanswerable",) * 7 + ("unsuitable image",) * 3
    label = "Can you read the label, please?"
    answers = [("red",) * 8 + ("pink",) * 2, unread, ("yes",) * 6 + ("no",) * 4]
    assert examples(opened("vizwiz", "val")) == [
        Example(0, images[0], "What color is this?", answers[0], "other", meta={"answerable": 1}),
        Example(1, images[1], label, answers[1], "unanswerable", meta={"answerable": 0}),
        Example(2, images[2], "Is the light on?", answers[2], "yes/no", meta={"answerable": 1}),
    ]
    image = path("vizwiz/test/VizWiz_test_00000000.jpg")
    assert examples(opened("vizwiz", "test")) == [Example(0, image, "What is it?", ())]


def test_textvqa_images_of_val_are_in_train_images() -> None:
    first, second = (path(f"textvqa/train_images/{name * 4}.jpg") for name in ("00aa", "00bb"))
    said = ("bar",) * 6 + ("the bar",) * 3 + ("",)
    made = ("acme",) * 9 + ("acme inc.",)
    assert examples(opened("textvqa", "val")) == [
        Example(100, first, "what does the sign say?", said),
        Example(101, first, "what number is on it?", ("12",) * 10),
        Example(102, second, "who made this?", made),
    ]
    image = path("textvqa/test_images/00cc00cc00cc00cc.jpg")
    assert examples(opened("textvqa", "test")) == [Example(103, image, "what is written?", ())]


def test_st_vqa_finds_images_by_their_path() -> None:
    street = path("st_vqa/train_imgs/coco-text/COCO_train2014_000000000021.jpg")
    sale = path("st_vqa/train_imgs/icdar/img_1.png")
    assert examples(opened("st_vqa", "train")) == [
        Example(0, street, "What is the street called?", ("Bar Street", "bar st")),
        Example(1, street, "What is the house number?", ("12",)),
        Example(2, sale, "What is on sale?", ("tea",)),
    ]
    floor = path("st_vqa/test_task3_imgs/icdar/img_2.png")
    assert examples(opened("st_vqa", "test")) == [Example(3, floor, "Which floor is it?", ())]


def test_docvqa_question_types_where_the_file_has_them() -> None:
    one, two, three = (path(f"docvqa/documents/xxxx000{n}.png") for n in ("1_1", "2_7", "3_1"))
    types = ("handwritten", "form")
    assert examples(opened("docvqa", "val")) == [
        Example(
            200,
            one,
            "What is the date?",
            ("May 3", "3 May"),
            question_type="handwritten, form",
            meta={"question_types": types},
        ),
        Example(
            201,
            one,
            "What is the total?",
            ("$ 12.50",),
            question_type="table/list",
            meta={"question_types": ("table/list",)},
        ),
        Example(202, two, "Who signed?", ("A. Bar",)),
    ]
    assert examples(opened("docvqa", "test")) == [Example(203, three, "What is the title?", ())]


def test_infographicvqa_kinds_of_answers_and_operations() -> None:
    tall, other = (path(f"infographicvqa/infographicsvqa_images/3000{n}.jpeg") for n in (1, 2))
    people = "How many people drink tea?"
    single: dict[str, Any] = {"answer_types": ("single span",), "evidence": ("text",)}
    counted = {
        "answer_types": ("non-extractive",),
        "operations": ("arithmetic", "comparison"),
        "evidence": ("figure", "text"),
    }
    assert examples(opened("infographicvqa", "val")) == [
        Example(300, tall, people, ("12",), "single span", meta=single),
        Example(
            301,
            tall,
            "How many more drink tea than milk?",
            ("5", "five"),
            "non-extractive",
            "arithmetic, comparison",
            meta=counted,
        ),
        Example(
            302,
            other,
            "Which two colors are used?",
            ("red, black",),
            "multi-span",
            meta={"answer_types": ("multi-span",)},
        ),
    ]
    assert examples(opened("infographicvqa", "train")) == [Example(300, tall, people, ("12",))]
    asked = Example(303, other, "What is the source?", ())
    assert examples(opened("infographicvqa", "test")) == [asked]


def test_chartqa_subsets() -> None:
    bars, lines = (path(f"chartqa/test/png/{name}.png") for name in ("bars", "lines"))
    human = [
        Example("human-0", bars, "What is the highest bar?", ("12.5",), "human"),
        Example("human-1", lines, "Which line is dark?", ("Bar",), "human"),
    ]
    augmented = [
        Example("augmented-0", bars, "What was the value in 2020?", ("8%",), "augmented"),
        Example("augmented-1", lines, "What is the sum?", ("20",), "augmented"),
    ]
    assert examples(opened("chartqa", "test")) == human + augmented
    assert examples(opened("chartqa", "test", subset="human")) == human
    assert examples(opened("chartqa", "test", subset="augmented")) == augmented


# --- the same of all

SPLITS = {
    "vqa_v2": ["train", "test", "test-dev"],
    "vqa_v1": ["val"],
    "ok_vqa": ["val"],
    "aokvqa": ["val", "test"],
    "vizwiz": ["val", "test"],
    "textvqa": ["val", "test"],
    "st_vqa": ["train", "test"],
    "docvqa": ["val", "test"],
    "infographicvqa": ["train", "val", "test"],
    "chartqa": ["test"],
}


@pytest.mark.parametrize(("name", "split"), [(n, s) for n, many in SPLITS.items() for s in many])
def test_every_reader_keeps_the_contract(name: str, split: str) -> None:
    data = opened(name, split)
    assert data.skipped == []
    assert split in data.splits
    assert len({example.question_id for example in examples(data)}) == len(data) > 0
    for example in examples(data):
        assert os.path.isabs(example.image)
        with Image.open(example.image) as image:
            image.load()
        if example.answers:
            assert 0 <= data.score("no such thing", example.answers) < 0.5
            best = max(set(example.answers), key=example.answers.count)
            assert data.score(best, example.answers) == 1.0
    assert pickle.loads(pickle.dumps(data))[0] == data[0]  # loader workers get a copy
    with pytest.raises(IndexError):
        data[len(data)]


@pytest.mark.parametrize("name", ["vqa_v2", "vqa_v1", "ok_vqa", "aokvqa", "vizwiz", "chartqa"])
def test_reports_agree_with_the_mean_of_the_scores(name: str) -> None:
    data = opened(name, {"vqa_v2": "train", "chartqa": "test"}.get(name, "val"))
    assert isinstance(data, Reported)
    said = [example.answers[0] for example in examples(data)]
    said[0] = "no such thing"
    scores = [data.score(text, e.answers) for text, e in zip(said, examples(data), strict=True)]
    if name == "aokvqa":
        scores.pop(1)  # the difficult question
    report = data.report(examples(data), said)
    assert report["overall"] == round(100 * sum(scores) / len(scores), 2) < 100
    json.dumps(report)


@pytest.mark.parametrize("name", ["textvqa", "st_vqa", "docvqa", "infographicvqa"])
def test_no_report_where_the_official_number_is_the_mean(name: str) -> None:
    assert not hasattr(importlib.import_module(f"vqa.datasets.{name}").Dataset, "report")


def test_the_metric_of_each() -> None:
    """One prediction that four metrics judge in four ways, and one in two."""
    answers = ("12.0",) + ("13",) * 9
    scores = {
        "vqa_v2": 1.0,  # "12.4" is in nobody's answer; "13." is nine annotators' after processing
        "aokvqa": 0.0,  # letter by letter
        "docvqa": 2 / 3,  # one edit in three letters
        "chartqa": 1.0,  # a number within 5 %
    }
    splits = {"vqa_v2": "train", "aokvqa": "val", "docvqa": "val", "chartqa": "test"}
    found = {name: opened(name, splits[name]).score("13.", answers) for name in scores}
    assert found == pytest.approx(scores)
    assert opened("vqa_v2", "train").score("YES", ("yes",) * 10) == 0  # unanimous: as it stands
    assert opened("textvqa", "val").score("YES", ("yes",) * 10) == 1  # always processed
    assert opened("vizwiz", "val").score("YES", ("yes",) * 10) == 1
    assert opened("aokvqa", "val", task="multiple_choice").score("shade", ("shade",)) == 1


# --- layouts


def moved(name: str, root: pathlib.Path, moves: dict[str, str]) -> str:
    """A copy of a fixture with files and folders in other places."""
    shutil.copytree(DATA / name, root / name)
    for old, new in moves.items():
        target = root / name / new
        target.parent.mkdir(parents=True, exist_ok=True)
        (root / name / old).rename(target)
    return str(root / name)


MOVES: list[tuple[str, str, dict[str, str]]] = [
    (
        "vqa_v2",
        "train",
        {
            "Questions/v2_OpenEnded_mscoco_train2014_questions.json": (
                "v2_OpenEnded_mscoco_train2014_questions.json"
            ),
            "Annotations/v2_mscoco_train2014_annotations.json": (
                "v2_mscoco_train2014_annotations.json"
            ),
            "Images/mscoco/train2014": "train2014",
        },
    ),
    ("ok_vqa", "val", {"val2014": "Images/mscoco/val2014"}),
    (
        "aokvqa",
        "val",
        {"aokvqa_v1p0_val.json": "aokvqa/aokvqa_v1p0_val.json", "val2017": "coco/val2017"},
    ),
    ("vizwiz", "val", {"val.json": "Annotations/val.json", "val": "Images/val"}),
    ("st_vqa", "train", {"train_imgs/coco-text": "coco-text", "train_imgs/icdar": "icdar"}),
    (
        "st_vqa",
        "train",
        {"train_imgs": "train", "train_task_3.json": "train/train_task_3.json"},
    ),
    ("docvqa", "val", {"documents": "val/documents", "val_v1.0_withQT.json": "val/val_v1.0.json"}),
    (
        "docvqa",
        "val",
        {
            "documents": "spdocvqa_images",
            "val_v1.0_withQT.json": "spdocvqa_qas/val_v1.0_withQT.json",
        },
    ),
    (
        "infographicvqa",
        "train",
        {
            "infographicsvqa_images": "images",
            "infographicsVQA_train_v1.0.json": (
                "infographicsvqa_qas/infographicVQA_train_v1.0.json"
            ),
        },
    ),
    ("chartqa", "test", {"test": "ChartQA Dataset/test"}),
    (
        "chartqa",
        "test",
        {
            "test/png": "png",
            "test/test_human.json": "test_human.json",
            "test/test_augmented.json": "test_augmented.json",
        },
    ),
]


@pytest.mark.parametrize(("name", "split", "moves"), MOVES, ids=[m[0] for m in MOVES])
def test_other_layouts_read_the_same(
    name: str, split: str, moves: dict[str, str], tmp_path: pathlib.Path
) -> None:
    def bare(data: Dataset) -> list[tuple[Any, ...]]:
        return [(e.question_id, e.question, e.answers, e.meta) for e in examples(data)]

    found = datasets.create(name, moved(name, tmp_path, moves), split)
    assert bare(found) == bare(opened(name, split))
    names = [os.path.basename(example.image) for example in examples(opened(name, split))]
    assert [os.path.basename(example.image) for example in examples(found)] == names
    assert all(os.path.isfile(example.image) for example in examples(found))


def test_vqa_v2_against_a_plain_join(tmp_path: pathlib.Path) -> None:
    """500 questions, annotations in another order: the reader is a dictionary look-up."""
    rng = random.Random(5)
    (tmp_path / "val2014").mkdir()
    for image in range(20):
        (tmp_path / "val2014" / f"COCO_val2014_{image:012d}.jpg").touch()
    asked = [
        {"question_id": 9 * n, "image_id": rng.randrange(20), "question": f"number {n}?"}
        for n in rng.sample(range(10_000), 500)
    ]
    notes = [
        {
            "question_id": row["question_id"],
            "image_id": row["image_id"],
            "question_type": rng.choice(["what", "is the"]),
            "answer_type": rng.choice(["other", "yes/no"]),
            "answers": [{"answer": str(rng.randrange(5)), "answer_id": i} for i in range(10)],
        }
        for row in asked
    ]
    rng.shuffle(notes)
    for stem, key, rows in (
        ("v2_OpenEnded_mscoco_val2014_questions", "questions", asked),
        ("v2_mscoco_val2014_annotations", "annotations", notes),
    ):
        (tmp_path / f"{stem}.json").write_text(json.dumps({key: rows}))
    data = datasets.create("vqa_v2", str(tmp_path), "val")
    assert len(data) == 500
    for row, example in zip(asked, examples(data), strict=True):
        (note,) = [note for note in notes if note["question_id"] == row["question_id"]]
        assert example == Example(
            row["question_id"],
            str(tmp_path / "val2014" / f"COCO_val2014_{row['image_id']:012d}.jpg"),
            row["question"],
            tuple(answer["answer"] for answer in note["answers"]),
            note["answer_type"],
            note["question_type"],
        )
