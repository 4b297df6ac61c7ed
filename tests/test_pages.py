"""Generated pages as a data set: sizes, splits, what is held out, bad options."""

import hashlib
import itertools
import re
import subprocess
import sys
from collections import Counter, defaultdict
from collections.abc import Iterable

import pytest
import torch
from torch import Tensor

from vqa import datasets
from vqa.datasets import DataError
from vqa.datasets.pages import Dataset
from vqa.pages import asking, fonts, layouts, words

SIZES = [64, 128, 192, 256, 384, 512, 768, 1024, 1536]


def pages(split: str = "train", **options: object) -> Dataset:
    return Dataset(None, split, **options)  # type: ignore[arg-type]


def printed(data: Dataset, count: int) -> list[str]:
    """All texts of the first pages."""
    scenes = [data.scene(index) for index in range(count)]
    return [text.text for scene in scenes for text in scene.sheet.texts]


def test_it_is_a_data_set_that_draws() -> None:
    data = datasets.create("pages", split="val", size=128, layouts="line")
    assert isinstance(data, datasets.Rendered)
    assert data.score("3.20", ("RM 3.20", "3.20")) == 1 and data.score("4", ("3",)) == 0
    assert data.skipped == [] and data.splits == ("train", "val", "test")
    assert len(data) == len([*data]) == 1000
    assert len({example.question_id for example in data}) == 1000


@pytest.mark.parametrize("size", [*SIZES, 2048])
def test_the_longer_side_is_the_size(size: int) -> None:
    data = pages(size=size)
    for index in range(2 if size > 1000 else 10):
        example, pixels = data.render(index)
        scene = data.scene(index)
        assert pixels.dtype == torch.uint8 and pixels.is_contiguous()
        assert pixels.shape == (3, scene.height, scene.width)
        assert max(scene.width, scene.height) == size and min(scene.width, scene.height) >= 16
        assert example == data[index] == pages().render(index, size)[0]
        assert pixels.float().std() > 4
        for left, top, right, bottom in scene.evidence:
            assert 0 <= left < right <= scene.width and 0 <= top < bottom <= scene.height


def test_larger_pages_say_more() -> None:
    letters = {}
    for size in (64, 192, 512, 1024):
        data = pages(size=size)
        scenes = [data.scene(index) for index in range(40)]
        letters[size] = sorted(sum(len(t.text) for t in s.sheet.texts) for s in scenes)[20]
        assert sorted(scene.em for scene in scenes)[2] >= 9.5
    assert letters[64] < 10 < letters[192] < letters[512] < letters[1024]


def test_questions_about_one_page() -> None:
    data = pages(questions=6, count=60)
    for size in (64, 512):
        examples = [data.render(index, size)[0] for index in range(12)]
        assert [example.image for example in examples] == [
            f"pages:train:{index // 6}:{size}" for index in range(12)
        ]
        assert len({example.question_id for example in examples}) == 12
    asked = [data[index].question for index in range(60)]
    assert all(len(set(asked[start : start + 6])) >= 4 for start in range(0, 60, 6))
    assert data.render(0)[1] is data.render(5)[1], "drawn once"
    scenes = [data.scene(index).sheet for index in (0, 5, 6)]
    assert scenes[0] == scenes[1] != scenes[2]


def test_the_same_in_another_process_and_order() -> None:
    def digest(pixels: Iterable[Tensor]) -> str:
        return hashlib.sha256(b"".join(image.numpy().tobytes() for image in pixels)).hexdigest()

    program = (
        "import hashlib; from vqa.datasets.pages import Dataset; "
        "d = Dataset(None, 'val', size=256); "
        "print(hashlib.sha256(b''.join(d.render(i)[1].numpy().tobytes() for i in range(10)))"
        ".hexdigest())"
    )
    told = subprocess.run([sys.executable, "-c", program], capture_output=True, check=True)
    data = pages("val", size=256)
    backwards = [data.render(index)[1] for index in reversed(range(10))]
    assert told.stdout.decode().strip() == digest(reversed(backwards))


def test_splits_and_seeds_differ() -> None:
    def asked(split: str, **options: object) -> list[tuple[str, str]]:
        return [(e.question, e.answers[0]) for e in pages(split, count=60, **options)]

    lists = [asked("train"), asked("val"), asked("test"), asked("train", seed=1)]
    for one, other in itertools.combinations(lists, 2):
        assert sum(a == b for a, b in zip(one, other, strict=True)) < 12
    assert asked("train") == lists[0]


def test_words_belong_to_one_side() -> None:
    for kind in words.KINDS:
        learn, test = (set(words.listed(kind, side)) for side in (False, True))
        assert len(test) >= 5 and len(learn) > len(test) and not learn & test
    every = {w for kind in words.KINDS for side in (False, True) for w in words.listed(kind, side)}
    for split in ("train", "test"):
        texts = printed(pages(split, layouts="table,chart,panel"), 60)
        # Words of headings and settings are no words of a list; those of a list keep to their side.
        shown = {word.lower() for text in texts for word in re.findall("[A-Za-z]{3,}", text)}
        shown = shown & every - {"total", *words.KINDS}
        wrong = [word for word in shown if words.held_out(word) != (split == "test")]
        assert len(shown) > 30 and not wrong


def test_fonts_and_arrangements_belong_to_one_side() -> None:
    def shown(split: str) -> set[str]:
        data = pages(split, size=256)
        return {text.face.file for i in range(150) for text in data.scene(i).sheet.texts}

    train, test = shown("train"), shown("test")
    assert len(train) > 20 and len(test) > 8 and not train & test
    assert pages("val").families == pages("train").families
    for name in ("receipt", "invoice", "table", "form", "panel"):
        layout = layouts.get(name)
        assert layout.held_out and not set(layout.learn) & set(layout.held_out)


def test_kinds_and_layouts_are_those_asked_for() -> None:
    data = pages(kinds="total, date", layouts=["receipt"], count=40)
    assert {e.answer_type for e in data} == {"total", "date"}
    assert {e.question_type for e in data} == {"receipt"}
    every = pages(count=1000)
    assert {e.answer_type for e in every} | {"text"} == set(asking.KINDS)
    for name in layouts.ALL:
        kinds = {e.answer_type for e in pages(layouts=name, count=100)}
        assert kinds <= set(layouts.get(name).kinds)


def test_questions_of_receipts_are_those_of_real_ones() -> None:
    wording = {
        "total": "What is the total amount on this receipt?",
        "date": "What is the date on this receipt?",
        "time": "What time is printed on this receipt?",
        "company": "Which company issued this receipt?",
        "address": "What is the address on this receipt?",
    }
    for example in pages(layouts="receipt", kinds=[*wording, "row"], count=300):
        kind = str(example.answer_type)
        if kind == "row":
            assert re.fullmatch(r'What is printed to the right of "[^"a-z]+"\?', example.question)
        else:
            assert example.question == wording[kind]
        assert example.answers[0] == example.answers[0].upper()
        assert len(example.answers) == 1 or example.answers[0].endswith(example.answers[1])


def test_answers_cannot_be_guessed() -> None:
    """No answer of an open kind is frequent, however many examples were seen."""
    seen: defaultdict[str, Counter[str]] = defaultdict(Counter)
    for example in pages(count=2500, questions=8):
        seen[str(example.answer_type)][example.answers[0]] += 1
    closed = {"above": 2, "ticked": 2}
    for kind, answers in seen.items():
        (_, most), total = answers.most_common(1)[0], answers.total()
        if kind in closed:
            assert set(answers) == {"yes", "no"}
            assert abs(most / total - 0.5) <= 2 / total**0.5
        elif kind in ("count", "value"):
            assert most / total < 0.35, (kind, answers.most_common(3))
        elif total >= 60:
            assert most / total < 0.06, (kind, answers.most_common(3))
    train = {e.answers[0] for e in pages(count=600, kinds="company")}
    test = [e.answers[0] for e in pages("test", count=200, kinds="company")]
    assert not train & set(test) and len(set(test)) > 185


# --- bad input


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"split": "dev"}, "no split 'dev'; choose one of train, val, test"),
        ({"size": 63}, "page of 63 pixels cannot be drawn; choose 64 to 4096"),
        ({"size": 4097}, "page of 4097 pixels cannot be drawn"),
        ({"size": "512"}, "size must be a whole number, not '512'"),
        ({"kinds": ("total", "riddle")}, "no kind 'riddle'; choose from text, row"),
        ({"kinds": ()}, "needs at least one kind"),
        ({"layouts": "receipt,letter"}, "no layout 'letter'; choose from line, receipt"),
        ({"layouts": "invoice", "size": 128}, "too small for invoice; choose at least 320"),
        ({"layouts": "line", "kinds": "total"}, "have no question of the kinds total"),
        ({"count": 0}, "count cannot be 0; ask for at least 1"),
        ({"questions": 0}, "questions cannot be 0; choose 1 to 16"),
        ({"questions": True}, "questions must be a whole number, not True"),
        ({"fonts": "comic"}, "fonts cannot be 'comic'; choose packages or builtin"),
    ],
)
def test_bad_options_get_one_sentence(options: dict[str, object], told: str) -> None:
    with pytest.raises(DataError, match=told) as caught:
        Dataset(None, **{"split": "train", **options})  # type: ignore[arg-type]
    assert "\n" not in str(caught.value)


def test_bad_sizes_and_numbers() -> None:
    with pytest.raises(DataError, match="page of 32 pixels cannot be drawn"):
        pages().render(0, 32)
    with pytest.raises(DataError, match="too small for receipt"):
        pages(layouts="receipt").render(0, 64)
    with pytest.raises(IndexError, match="1000 examples; there is no number 1000"):
        pages("val")[1000]


def test_missing_fonts_say_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    nowhere = (fonts.Family("fontpkg_nowhere", "a.ttf", "b.ttf"),)
    monkeypatch.setattr(fonts, "LEARN", nowhere)
    with pytest.raises(DataError, match=r"lacks the fonts fontpkg-nowhere: pip install 'latte-vqa"):
        pages()
    data = pages(fonts="builtin", size=128)
    assert data.render(0)[1].shape[0] == 3
