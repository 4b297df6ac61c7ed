"""What is drawn of generated pages: boxes hold the ink of the answer, wear leaves it readable."""

import dataclasses

import numpy as np
import pytest

from vqa.datasets.pages import Dataset
from vqa.pages import degrade, fonts
from vqa.pages.drawing import ink
from vqa.pages.scene import Box, Scene, Text
from vqa.pages.sheet import ink_box
from vqa.pages.view import clean

FIELDS = "total,date,time,row,cell,price,title,below,text"


def without(scene: Scene, words: list[str]) -> Scene:
    """The scene with the answer blanked out where it is evidence, and nothing moved."""
    texts = []
    for text in scene.sheet.texts:
        box = scene.matrix.box(ink_box(text)) if text.text.strip() else (0, 0, 0, 0)
        holds = any(_meet(box, evidence) for evidence in scene.evidence)
        hit = [word for word in words if word.upper() in text.text.upper()] if holds else []
        texts.append(_blank(text, hit[0]) if hit else text)
    return dataclasses.replace(scene, sheet=dataclasses.replace(scene.sheet, texts=tuple(texts)))


def _blank(text: Text, word: str) -> Text:
    """Letters that take as much room and have no ink, of fixed-width fonts at least."""
    start = text.text.upper().index(word.upper())
    return text._replace(text=text.text[:start])


def _meet(one: Box, other: Box) -> bool:
    return all(one[a] < other[a + 2] and other[a] < one[a + 2] for a in (0, 1))


@pytest.mark.parametrize("split", ["train", "test"])
def test_boxes_hold_the_ink_of_the_answer(split: str) -> None:
    judged = 0
    data = Dataset(None, split, kinds=FIELDS, count=60, size=384)
    for index in range(60):
        scene = data.scene(index)
        answer = scene.fact.answers[0]
        ends = [t for t in scene.sheet.texts if t.text.upper().endswith(answer.upper())]
        if not ends or any(text.level < 0 for text in ends):
            continue  # the answer stands before other words, or is white
        page, bare = (clean(each)[0].astype(int) for each in (scene, without(scene, [answer])))
        changed = np.abs(page - bare) > 40
        assert changed.any(), scene.question
        for left, top, right, bottom in scene.evidence:
            inside = page[top:bottom, left:right]
            assert inside.min() < 140, "dark letters"
            rows, columns = np.nonzero(changed[top:bottom, left:right])
            # The box is no larger than a turned page makes it.
            slack = 4 + 0.07 * max(right - left, bottom - top)
            assert rows.min() <= slack and (bottom - top) - rows.max() <= slack
            assert columns.min() <= slack and (right - left) - columns.max() <= slack
            changed[top:bottom, left:right] = False
        assert not changed.any(), (index, scene.question, answer)
        judged += 1
    assert judged >= 40


@pytest.mark.parametrize("grain", fonts.GRAINS)
def test_ink_boxes_are_exact(grain: str) -> None:
    file = fonts.families("packages", False)[0].regular
    for wide in (False, True):
        text = Text("Total 9.50, gy", fonts.Face(file, 24, grain, wide), 20, 40, 255, 1)
        data = Dataset(None, "train", size=64)
        sheet = dataclasses.replace(
            data.scene(0).sheet, width=500, height=60, texts=(text,), shapes=()
        )
        rows, columns = np.nonzero(ink(sheet))
        box = (columns.min(), rows.min(), columns.max() + 1, rows.max() + 1)
        assert ink_box(text) == box
        cut = ink_box(text, 6, 10)
        assert box[0] < cut[0] < cut[2] < box[2] and cut[1] >= box[1]
        assert ink_box(text, 6)[2] == box[2]


@pytest.mark.parametrize("size", [128, 512])
def test_wear_leaves_letters_readable(size: int) -> None:
    """Ink and paper of the answer stay apart, and letters keep to their places."""
    data = Dataset(None, "train", size=size, count=60)
    likeness, contrast = [], []
    for index in range(60):
        scene = data.scene(index)
        worn = degrade.draw(scene)[0].astype(float)
        whole = clean(scene)[0].astype(float)
        for left, top, right, bottom in scene.evidence[:1]:
            mine, sharp = (page[top:bottom, left:right].ravel() for page in (worn, whole))
            if sharp.std() < 10 or mine.std() == 0:
                continue
            likeness.append(abs(np.corrcoef(mine, sharp)[0, 1]))
            contrast.append(np.percentile(mine, 95) - np.percentile(mine, 5))
    assert len(likeness) >= 45
    assert np.median(likeness) > 0.9 and np.quantile(likeness, 0.05) > 0.6
    assert np.median(contrast) > 100 and np.quantile(contrast, 0.05) > 40


def test_pages_are_grey_mostly_and_worn_in_many_ways() -> None:
    data = Dataset(None, "train", size=256, count=60)
    images = [data.render(index)[1].numpy().astype(int) for index in range(60)]
    grey = [np.ptp(image, axis=0).max() == 0 for image in images]
    assert 0.7 <= np.mean(grey) < 1
    papers = [np.percentile(image, 80) for image in images]
    assert len({round(paper) for paper in papers}) > 15
    assert any(len(np.unique(image)) < 80 for image in images), "some are black and white"
    same = degrade.draw(data.scene(3))
    assert (same == data.render(3)[1].numpy()).all()


def test_letters_are_copied_where_pillow_prints_them() -> None:
    """The judge is Pillow's own text; monospaced fonts have no kerning to differ by."""
    from PIL import Image, ImageDraw, ImageFont

    family = next(f for f in fonts.families("packages", False) if "IBMPlexMono" in f.regular)
    face = ImageFont.truetype(family.regular, 20, layout_engine=ImageFont.Layout.BASIC)
    image = Image.new("L", (300, 40))
    ImageDraw.Draw(image).text((10, 30), "Rounding: -0.02", 255, face, anchor="ls")
    text = Text("Rounding: -0.02", fonts.Face(family.regular, 20), 10, 30, 255, 0)
    sheet = dataclasses.replace(
        Dataset(None, "train", size=64).scene(0).sheet,
        width=300,
        height=40,
        texts=(text,),
        shapes=(),
    )
    assert np.abs(ink(sheet).astype(int) - np.asarray(image)).max() <= 2


def test_letters_do_not_lie_over_the_next_one() -> None:
    """Whatever a font says of its signs: "%" of one stepped a sixth of its width, off the sheet."""
    for held_out in (False, True):
        for family in fonts.families("packages", held_out):
            for file in (family.regular, family.bold):
                alphabet = fonts.letters(fonts.Face(file, 32))
                for letter in map(chr, range(33, 127)):
                    glyph = alphabet.glyph(letter)
                    assert glyph is not None, (file, letter)
                    right = glyph.left + glyph.ink.shape[1]
                    assert right <= 1.5 * alphabet.advance(letter) + 1, (file, letter)
