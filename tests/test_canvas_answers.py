"""Generated scenes, answered by a naive reader of the objects on them."""

import itertools
import math
import re
from collections.abc import Sequence

import pytest

from vqa.canvas import forms, kinds
from vqa.canvas.scene import Box, Placed, Scene
from vqa.datasets.canvas import Dataset

NOUNS = {*forms.SHAPES, *forms.ICONS, "object"}
CANVASES = [(128, 16), (512, 64), (512, 16), (2048, 256), (4096, 64)]


def canvas(split: str = "train", **options: object) -> Dataset:
    return Dataset(None, split, fonts="builtin", **options)  # type: ignore[arg-type]


# The reader sees the list of objects and the question, never the generator.


def gap(one: Box, other: Box) -> float:
    """Pixels between two boxes."""
    across = max(one[0] - other[2], other[0] - one[2], 0)
    down = max(one[1] - other[3], other[1] - one[3], 0)
    return math.hypot(across, down)


def the(objects: Sequence[Placed]) -> Placed:
    assert len(objects) == 1, "the question is ambiguous"
    return objects[0]


def named(scene: Scene, name: str) -> list[Placed]:
    """Objects called `red star`, `star`, `red objects` or `stars`."""
    *color, noun = name.split()
    es = {"crosses": "cross", "hourglasses": "hourglass"}
    form = noun if noun in NOUNS else es.get(noun, noun.removesuffix("s"))
    assert form in NOUNS and not noun.endswith("sss")
    return [
        item
        for item in scene.objects
        if form in ("object", item.mark.form) and color in ([], [item.mark.color])
    ]


def texts(scene: Scene, color: str | None = None) -> list[Placed]:
    return [i for i in scene.objects if i.mark.form == "text" and color in (None, i.mark.color)]


def attribute(scene: Scene) -> str:
    if found := re.fullmatch(r"what color is the (\w+)\?", scene.question):
        return the(named(scene, found[1])).mark.color
    found = re.fullmatch(r"what (shape|icon) is (\w+)\?", scene.question)
    assert found
    return the([item for item in scene.objects if item.mark.color == found[2]]).mark.form


def text(scene: Scene) -> str:
    if found := re.fullmatch(r"which (word|number) is printed in (\w+)\?", scene.question):
        return the(texts(scene, found[2])).mark.text
    found = re.fullmatch(r"which (word|number) is next to the (.+)\?", scene.question)
    assert found
    anchor = the(named(scene, found[2]))
    near, second = sorted(texts(scene), key=lambda item: gap(item.box, anchor.box))[:2]
    assert gap(second.box, anchor.box) >= 2 * gap(near.box, anchor.box)
    return near.mark.text


def count(scene: Scene) -> str:
    found = re.fullmatch(r"how many (.+) are there\?", scene.question)
    assert found
    return str(len(named(scene, found[1])))


def position(scene: Scene) -> str:
    found = re.fullmatch(
        r"which is (further left|higher up), the (.+) or the (.+)\?", scene.question
    )
    assert found
    axis = ["further left", "higher up"].index(found[1])
    places = {name: the(named(scene, name)).center[axis] for name in (found[2], found[3])}
    one, two = places.values()
    assert abs(one - two) >= 16
    return min(places, key=lambda name: places[name])


def larger(scene: Scene) -> str:
    found = re.fullmatch(r"which is larger, the (.+) or the (.+)\?", scene.question)
    assert found
    heights = {}
    for name in found.groups():
        _, top, _, bottom = the(named(scene, name)).box
        heights[name] = bottom - top
    one, two = heights.values()
    assert max(one, two) >= 1.5 * min(one, two)
    return max(heights, key=lambda name: heights[name])


def nearest(scene: Scene) -> str:
    found = re.fullmatch(r"which icon is nearest to the (.+)\?", scene.question)
    assert found
    anchor = the(named(scene, found[1]))
    icons = [item for item in scene.objects if item.mark.form in forms.ICONS]
    distances = sorted((math.dist(item.center, anchor.center), item.mark.form) for item in icons)
    assert distances[1][0] >= 1.35 * distances[0][0]  # 1.4 less the rounding to pixels
    return distances[0][1]


def same(scene: Scene) -> str:
    framed = []
    for frame in (item for item in scene.objects if item.mark.form == "frame"):
        left, top, right, bottom = frame.box
        inside = [
            item
            for item in scene.objects
            if left < item.center[0] < right and top < item.center[1] < bottom and item != frame
        ]
        framed.append(the(inside))
    one, two = framed
    assert math.dist(one.center, two.center) >= 0.49 * max(scene.width, scene.height)
    return "yes" if one.mark == two.mark else "no"


def path(scene: Scene) -> str:
    """Follows dashes from dot to dot, wherever one ends near the next one's beginning."""
    dots = [item.center for item in scene.objects if item.mark.form == "dot"]
    assert len(dots) == 2
    length = max(math.dist(dash[:2], dash[2:]) for dash in scene.dashes)
    reach = [dots[0]]
    left = sorted(scene.dashes)
    while reach:
        place = reach.pop()
        if math.dist(place, dots[1]) < 2 * length:
            return "yes"
        for dash in list(left):
            ends = (dash[:2], dash[2:])
            if min(math.dist(place, end) for end in ends) < 1.6 * length:
                left.remove(dash)
                reach += ends
    return "no"


def sum_(scene: Scene) -> str:
    found = re.fullmatch(r"what is the sum of the two (\w+) numbers\?", scene.question)
    assert found
    one, two = texts(scene, found[1])
    return str(int(one.mark.text) + int(two.mark.text))


READERS = {
    "attribute": attribute,
    "text": text,
    "count": count,
    "position": position,
    "larger": larger,
    "nearest": nearest,
    "same": same,
    "path": path,
    "sum": sum_,
}


@pytest.mark.parametrize("kind", kinds.ALL)
@pytest.mark.parametrize(("size", "unit"), CANVASES)
def test_the_objects_say_the_answer(kind: str, size: int, unit: int) -> None:
    data = canvas(size=size, object_size=unit, kinds=(kind,))
    for index in range(40):
        scene = data.scene(index)
        assert READERS[kind](scene) == scene.answer, (index, scene.question)
        assert scene.answer in scene.choices and len(set(scene.choices)) == len(scene.choices)


@pytest.mark.parametrize("aspect", [0.25, 3.0])
def test_any_aspect(aspect: float) -> None:
    data = canvas("test", size=768, object_size=16, aspect=aspect)
    for index in range(45):
        scene = data.scene(index)
        assert READERS[scene.kind](scene) == scene.answer
        assert (scene.width, scene.height) == ((192, 768) if aspect < 1 else (768, 256))


@pytest.mark.parametrize(("size", "unit"), CANVASES)
def test_objects_keep_apart_and_inside(size: int, unit: int) -> None:
    data = canvas("val", size=size, object_size=unit)
    for index in range(90):
        scene = data.scene(index)
        for item in scene.objects:
            left, top, right, bottom = item.box
            assert 0 <= left < right <= scene.width and 0 <= top < bottom <= scene.height
        whole = [item for item in scene.objects if item.mark.form != "frame"]
        for one, other in itertools.combinations(whole, 2):
            assert gap(one.box, other.box) >= unit // 5, (index, one, other)


def test_evidence_is_where_the_answer_stands() -> None:
    data = canvas("val")
    for index in range(180):
        scene = data.scene(index)
        boxes = {item.box: item.mark for item in scene.objects}
        marks = [boxes[box] for box in scene.evidence]
        assert marks, "no evidence"
        if scene.kind == "count":
            assert len(marks) == int(scene.answer)
        if scene.kind == "text":
            assert [mark.text for mark in marks] == [scene.answer]
        if scene.kind == "sum":
            assert sum(int(mark.text) for mark in marks) == int(scene.answer)
        if scene.kind == "attribute":
            assert scene.answer in (the_one := marks[0]).name.split() and len(marks) == 1, the_one
        if scene.kind in ("path", "same"):
            assert [mark.form for mark in marks] == [
                {"path": "dot", "same": "frame"}[scene.kind]
            ] * 2
        if scene.kind in ("position", "larger"):
            assert sorted(mark.name for mark in marks) == sorted(scene.choices)
        if scene.kind == "nearest":
            assert marks[1].form == scene.answer


def test_a_canvas_whose_every_color_is_asked_about() -> None:
    """No colour is left for objects beside those asked about."""
    data = canvas(kinds=["attribute"], questions=8, count=20_000)
    first = 312  # found by looking
    assert all("color" not in data[index].question for index in range(first, first + 8))
    assert len(data.scene(first, 1024).objects) == 8


@pytest.mark.parametrize("count", (1, 2, 6, 8))
def test_several_questions_about_one_canvas(count: int) -> None:
    data = canvas(kinds=["attribute"], questions=count, count=40 * count)
    for first in range(0, len(data), count):
        scenes = [data.scene(index) for index in range(first, first + count)]
        assert len({scene.objects for scene in scenes}) == 1
        assert len({scene.question for scene in scenes}) == count
        assert len({scene.evidence for scene in scenes}) == count
        assert all(attribute(scene) == scene.answer for scene in scenes)
    assert len({data[index].image for index in range(len(data))}) == 40
    assert len({data[index].question_id for index in range(len(data))}) == len(data)


def test_several_questions_keep_their_answers_balanced() -> None:
    data = canvas(kinds=["attribute"], questions=6, count=6000)
    found: dict[str, list[str]] = {}
    for example in (data[index] for index in range(len(data))):
        found.setdefault(example.question.split()[1], []).append(example.answers[0])
    for noun, names in (("color", 8), ("shape", 8), ("icon", 10)):
        answers, chance = found[noun], 1 / names
        bound = 4 * math.sqrt(chance * (1 - chance) / len(answers))
        for answer in set(answers):
            assert abs(answers.count(answer) / len(answers) - chance) < bound, answer
        assert len(set(answers)) == names
