"""Generated canvases as a data set: splits, sizes, what is held out, bad options."""

import hashlib
import itertools
import subprocess
import sys
from collections.abc import Iterable

import pytest
from torch import Tensor

from vqa import datasets
from vqa.canvas import colors, fonts, forms, kinds, textures, words
from vqa.datasets import DataError
from vqa.datasets.canvas import Dataset


def canvas(split: str = "train", **options: object) -> Dataset:
    return Dataset(None, split, fonts="builtin", **options)  # type: ignore[arg-type]


def test_the_question_does_not_depend_on_the_canvas() -> None:
    small, large = canvas(size=128, object_size=16), canvas(size=4096, object_size=32)
    for index in range(50):
        one, other = small[index], large[index]
        assert (one.question_id, one.question, one.answers) == (
            *(other.question_id, other.question, other.answers),
        )
        assert small.scene(index, 256).question == one.question
        assert one.image != other.image
    assert small.render(0, 4096)[0].image == large[0].image


def test_splits_and_seeds_ask_other_questions() -> None:
    def asked(split: str, **options: object) -> list[tuple[str, str]]:
        return [(e.question, e.answers[0]) for e in canvas(split, count=90, **options)]

    lists = [asked("train"), asked("val"), asked("test"), asked("train", seed=1)]
    for one, other in itertools.combinations(lists, 2):
        assert sum(a == b for a, b in zip(one, other, strict=True)) < 45
    assert asked("train") == lists[0]


def test_test_holds_fonts_backgrounds_and_words_out() -> None:
    train, val, test = (Dataset(None, split, size=512) for split in ("train", "val", "test"))
    assert set(train.fonts) == set(val.fonts) and not set(train.fonts) & set(test.fonts)
    assert set(train.textures) == set(val.textures) and not set(train.textures) & set(test.textures)
    assert train.words == val.words and not set(words.LEARN) & set(words.HELD_OUT)
    for data in (train, test):
        scenes = [data.scene(index) for index in range(90)]
        shown = [item.mark for scene in scenes for item in scene.objects if item.mark.font]
        assert {mark.font for mark in shown} == set(data.fonts)
        printed = {mark.text for mark in shown if mark.text.isalpha()}
        assert printed and printed <= set(data.words)
        assert {scene.texture for scene in scenes} == set(data.textures)


def test_words_are_not_names_of_what_is_drawn() -> None:
    every = (*words.LEARN, *words.HELD_OUT)
    assert len(every) == len(set(every))
    assert not set(every) & {*colors.NAMES, *forms.SHAPES, *forms.ICONS}
    assert set("".join(words.HELD_OUT)) <= set("".join(words.LEARN))


def test_kinds_follow_each_other() -> None:
    data = canvas("test", kinds="sum, path")
    assert [data[index].answer_type for index in range(4)] == ["sum", "path", "sum", "path"]
    assert len(data) == len([*data]) == 1000
    assert len({example.question_id for example in data}) == 1000


def test_the_same_in_another_process() -> None:
    def digest(pixels: Iterable[Tensor]) -> str:
        return hashlib.sha256(b"".join(image.numpy().tobytes() for image in pixels)).hexdigest()

    program = (
        "import hashlib; from vqa.datasets.canvas import Dataset; "
        "d = Dataset(None, 'val', size=256, object_size=32, fonts='builtin'); "
        "print(hashlib.sha256(b''.join(d.render(i)[1].numpy().tobytes() for i in range(9)))"
        ".hexdigest())"
    )
    told = subprocess.run([sys.executable, "-c", program], capture_output=True, check=True)
    data = canvas("val", size=256, object_size=32)
    backwards = [data.render(index)[1] for index in reversed(range(9))]
    assert told.stdout.decode().strip() == digest(reversed(backwards))


def test_it_is_a_data_set_that_draws() -> None:
    data = datasets.create("canvas", split="val", fonts="builtin", kinds=["count"])
    assert isinstance(data, datasets.Rendered)
    assert data.score("3", ("3",)) == 1 and data.score("4", ("3",)) == 0
    assert data.skipped == [] and data.splits == ("train", "val", "test")


# --- bad input


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"split": "dev"}, "no split 'dev'; choose one of train, val, test"),
        ({"size": 511}, r"511 x 511 pixels is too small for objects of 64; .*\(512\)"),
        ({"size": 512, "aspect": 2}, "512 x 256 pixels is too small"),
        ({"size": 16385}, "16385 pixels is too large; choose at most 16384"),
        ({"size": "512"}, "size must be a whole number, not '512'"),
        ({"object_size": 8}, "object_size cannot be 8; choose 16 to 256 pixels"),
        ({"object_size": 257, "size": 4096}, "object_size cannot be 257"),
        ({"kinds": ("count", "riddle")}, "no kind 'riddle'; choose from attribute, text"),
        ({"kinds": ()}, "needs at least one kind"),
        ({"textures": "paper,lava"}, "no texture 'lava'; choose from plain"),
        ({"count": 0}, "count cannot be 0; ask for at least 1"),
        ({"questions": 2}, "questions cannot be 2 for the kind text; choose 1 to 1"),
        ({"questions": 9, "kinds": "attribute"}, "kind attribute; choose 1 to 8"),
        ({"questions": 0, "kinds": "attribute"}, "questions cannot be 0"),
        ({"aspect": 0.01}, "aspect cannot be 0.01; choose"),
        ({"fonts": "comic"}, "fonts cannot be 'comic'; choose packages or builtin"),
    ],
)
def test_bad_options_get_one_sentence(options: dict[str, object], told: str) -> None:
    with pytest.raises(DataError, match=told) as caught:
        Dataset(None, **{"split": "train", "fonts": "builtin", **options})  # type: ignore[arg-type]
    assert "\n" not in str(caught.value)


def test_a_size_too_small_to_render() -> None:
    with pytest.raises(DataError, match="too small"):
        canvas().render(0, 256)
    with pytest.raises(IndexError, match="1000 examples; there is no number 1000"):
        canvas("val")[1000]


def test_missing_fonts_say_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fonts, "LEARN", {"font_nowhere": ("Nowhere.ttf",)})
    with pytest.raises(DataError, match=r"lacks the fonts font-nowhere: pip install 'latte-vqa\["):
        Dataset(None, "train")


def test_every_texture_belongs_to_one_side() -> None:
    assert {*textures.LEARN, *textures.HELD_OUT, "plain"} == set(textures.TEXTURES)


# --- the small end of a curriculum


@pytest.mark.parametrize("questions", range(1, 9))
def test_the_smallest_canvas_has_room(questions: int) -> None:
    units = kinds.units("attribute", questions)
    data = canvas(kinds="attribute", questions=questions, size=units * 32, object_size=32)
    shown = {len(data.scene(index).objects) for index in range(0, 400, questions)}
    assert shown == {1} if questions == 1 else min(shown) >= questions
    with pytest.raises(DataError, match=f"at least {units} times"):
        data.scene(0, units * 32 - 1)


def test_other_kinds_need_more_room() -> None:
    assert canvas(kinds="attribute", size=128).size == 128
    with pytest.raises(DataError, match="at least 8 times"):
        canvas(kinds="attribute, count", size=128)
