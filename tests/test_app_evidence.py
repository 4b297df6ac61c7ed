"""Where an answer was read: in the demo's endpoint and in the parts behind it."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from gradio_client import Client, handle_file
from PIL import Image
from serving import served
from test_app import ASKED, post, uploaded

from app import evidence
from app.answering import answering, details
from app.choice import Choice
from vqa import evidence_picture, images
from vqa.budget import Budget
from vqa.evidence import Evidence
from vqa.opening import NATIVE, Reading
from vqa.predictor import Answer, Predictor

PAGES = {1: (90, 120), 2: (200, 70)}
"""(width, height) of the pages of two.pdf."""


@pytest.fixture(scope="module")
def url(tiny: Path) -> Iterator[str]:
    with served(tiny) as url:
        yield url


@pytest.fixture(scope="module")
def client(url: str) -> Client:
    return Client(url, verbose=False)


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("files")
    first, second = (_smooth(*size) for size in PAGES.values())
    first.save(folder / "two.pdf", save_all=True, append_images=[second], resolution=200)
    first.save(folder / "first.png")
    second.save(folder / "second.png")
    _smooth(2000, 60).save(folder / "wide.png")
    (folder / "text.png").write_text("not a picture\n" * 20)
    turned = Image.Exif()
    turned[0x0112] = 6  # orientation: turn by 90 degrees
    first.save(folder / "turned.png", exif=turned)
    return folder


def _smooth(width: int, height: int) -> Image.Image:
    """Colours that compression keeps, other ones at each size."""
    rows, columns = np.mgrid[0:height, 0:width]
    blue = np.full(rows.shape, 40 + height % 200)
    return Image.fromarray(
        np.stack([200 * rows // height, 200 * columns // width, blue], -1).astype(np.uint8)
    )


def ask(client: Client, path: Path, *others: Any) -> tuple[Any, ...]:
    """The endpoint's four values for a picture of where the answer was read."""
    found = client.predict(handle_file(str(path)), ASKED, *others, api_name="/answer")
    assert len(found) == 4
    return tuple(found)


def pixels(image: Image.Image | str) -> np.ndarray:
    if isinstance(image, Image.Image):
        return np.asarray(image.convert("RGB"), int)
    with Image.open(image) as opened:
        return np.asarray(opened.convert("RGB"), int)


def page_of(path: Path, page: int = 1) -> Image.Image:
    """The page without a drawing on it."""
    return Image.fromarray(images.load(path, page=page).permute(1, 2, 0).numpy())


def located(answer: Answer) -> Evidence:
    assert answer.evidence is not None and answer.evidence.box is not None
    return answer.evidence


def drawn(path: Path, answer: Answer, page: int = 1) -> np.ndarray:
    """What the engine draws of an answer's evidence."""
    with images.open(path, page=page) as picture:
        return pixels(evidence_picture.draw(picture, located(answer)))


def same(one: np.ndarray, other: np.ndarray) -> bool:
    """But for what compression changes."""
    return one.shape == other.shape and float(np.abs(one - other).mean()) < 8


def spoiling(predictor: Predictor, spoil: Any) -> Predictor:
    """A predictor after whose answer, before it is drawn, `spoil` happens."""
    other = Predictor(predictor.model, predictor.tokenizer)

    def stream(*arguments: Any) -> Iterator[str | Answer]:
        parts = list(predictor.stream(*arguments))
        spoil()
        yield from parts

    other.stream = stream  # type: ignore[assignment, method-assign]
    return other


@pytest.mark.parametrize("name", ["first.png", "turned.png", "wide.png"])
def test_the_picture_is_the_engine_s(
    client: Client, predictor: Predictor, files: Path, name: str
) -> None:
    answer = predictor.ask(files / name, ASKED, evidence=True)
    text, label, line, picture = ask(client, files / name, 1, True)
    assert text == answer.answer == label["label"]
    assert line.endswith(" · " + evidence.line(located(answer)))
    got = pixels(picture)
    assert same(got, drawn(files / name, answer)) and max(got.shape) <= evidence_picture.LONGEST
    page = page_of(files / name)
    page.thumbnail((evidence_picture.LONGEST, evidence_picture.LONGEST))
    assert not same(got, pixels(page))


@pytest.mark.parametrize("page", PAGES)
def test_the_page_that_was_asked_about_is_drawn_on(
    client: Client, predictor: Predictor, files: Path, page: int
) -> None:
    answer = predictor.ask(files / "two.pdf", ASKED, reading=Reading(page=page), evidence=True)
    text, _, line, picture = ask(client, files / "two.pdf", page, True)
    width, height = PAGES[page]
    assert text == answer.answer and f"image {width} × {height} pixels" in line
    got = pixels(picture)
    assert got.shape == (height, width, 3)
    assert same(got, drawn(files / "two.pdf", answer, page))


def test_the_answer_comes_before_the_picture(client: Client, files: Path) -> None:
    image = handle_file(str(files / "first.png"))
    job = client.submit(image, ASKED, show=True, api_name="/answer")
    final = job.result()
    *writing, answered, shown = job.outputs()
    assert len(writing) > 3 and {output[3] for output in writing} == {None}
    assert answered[:3] == shown[:3] and answered[3] is None
    assert shown == final and shown[3] is not None


@pytest.mark.parametrize("others", [(), (1,), (1, False), (1, None)])
def test_nothing_is_drawn_for_who_does_not_ask_for_it(
    client: Client, predictor: Predictor, files: Path, others: tuple[Any, ...]
) -> None:
    text, _, line, picture = ask(client, files / "first.png", *others)
    assert text == predictor.ask(files / "first.png", ASKED).answer
    assert picture is None and line.endswith("read at full size")


def test_a_plain_post_need_not_say_whether_to_draw(url: str, files: Path) -> None:
    file = uploaded(url, files / "first.png")
    for data in ([file, ASKED], [file, ASKED, 1], [file, ASKED, 1, False]):
        told = post(url, data)
        assert "event: complete" in told and "image 90 \\u00d7 120 pixels" in told
        assert "webp" not in told
    told = post(url, [file, ASKED, 1, True])
    assert "event: complete" in told and "image.webp" in told


@pytest.mark.parametrize("show", ["yes", 1, 0.0, []])
def test_neither_true_nor_false_is_told(url: str, files: Path, show: Any) -> None:
    told = post(url, [uploaded(url, files / "first.png"), ASKED, 1, show])
    assert f"show is true or false, not {show!r}; choose one of them" in told
    assert "pixels" not in told


def test_mistakes_are_told_as_without_a_picture(client: Client, files: Path) -> None:
    with pytest.raises(Exception, match=r"^text.png is not an image that can be read here"):
        ask(client, files / "text.png", 1, True)
    with pytest.raises(Exception, match=r"^two.pdf has no page 3; choose 1 to 2$"):
        ask(client, files / "two.pdf", 3, True)


def test_an_image_read_smaller_is_drawn_on_whole(predictor: Predictor, files: Path) -> None:
    path = files / "second.png"
    whole = predictor.ask(path, ASKED)
    tight = Reading(budget=Budget(max_tokens=whole.tokens // 2))
    answer = predictor.ask(path, ASKED, reading=tight, evidence=True)
    *_, (text, _, line, picture) = answering(Choice(predictor), tight)(_file(path), ASKED, 1, True)
    assert answer.scale < 1 and answer.read_at in line and text == answer.answer
    assert np.array_equal(pixels(picture), drawn(path, answer))
    assert picture.size == (whole.width, whole.height)


def test_the_answer_stays_where_it_cannot_be_drawn(
    predictor: Predictor, files: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(error: Exception) -> Any:
        def draw(*_: Any) -> None:
            raise error

        return lambda: monkeypatch.setattr(evidence_picture, "draw", draw)

    path = tmp_path / "gone.png"
    path.write_bytes((files / "first.png").read_bytes())
    answer = predictor.ask(path, ASKED)
    for spoil, problem in (
        (fail(MemoryError()), "gone.png needs more memory than there is here; crop it"),
        (fail(KeyError("a bug")), "an error of this program, which its log tells"),
        (path.unlink, "gone.png does not exist"),
    ):
        asked = answering(Choice(spoiling(predictor, spoil)), NATIVE)
        *_, before, (text, label, line, picture) = asked(_file(path), ASKED, 1, True)
        assert text == before[0] == answer.answer and label == before[1] and picture is None
        told = line.removeprefix(before[2] + " · not drawn: ")
        assert told.startswith(problem) and str(tmp_path) not in line


def test_no_more_memory_is_used_than_the_budget_has(predictor: Predictor, files: Path) -> None:
    found = located(predictor.ask(files / "first.png", ASKED, evidence=True))
    with images.open(files / "first.png") as picture:
        needed = picture.held * 90 * 120
    for most, works in ((needed, True), (needed - 1, False)):
        tight = Reading(budget=Budget(max_memory=most))
        picture, problem = evidence.drawing(str(files / "first.png"), tight, found)
        assert (picture is not None) == works == (problem == "")
    assert f"not drawn: first.png takes {needed:,} bytes of memory to decode" in problem


def test_there_may_be_nothing_to_show(predictor: Predictor, files: Path) -> None:
    answer = predictor.ask(files / "first.png", ASKED, evidence=True)
    cold = Evidence(np.zeros((4, 4), np.float32), (8, 8), None, None)
    silent = Predictor(predictor.model, predictor.tokenizer)
    parts = [replace(answer, evidence=cold)]
    silent.stream = lambda *_: iter(parts)  # type: ignore[assignment, method-assign]
    asked = answering(Choice(silent), NATIVE)
    *_, (text, _, line, picture) = asked(_file(files / "first.png"), ASKED, 1, True)
    assert text == answer.answer and picture is None
    assert line.endswith("· no part of the image made this answer more probable")


def test_the_line_tells_the_place_in_pixels_and_what_the_image_said() -> None:
    heat = np.array([[0.1, 0.5], [0, 0.02]], np.float32)
    found = Evidence(heat, (800, 600), (1200, 300), (800, 0, 1500, 600))
    assert evidence.line(found) == (
        "strongest at pixels 800 to 1,500 across and 0 to 600 down · "
        "62 % from the image, 38 % from the words"
    )
    answer = Answer("yes", 0.9, (), 1500, 1000, 1.0, 12, 1.5, "/models/charts")
    shown = replace(answer, evidence=found)
    assert details(shown) == f"{details(answer)} · {evidence.line(found)}"


def _file(path: Path) -> dict[str, Any]:
    return {"path": str(path), "meta": {"_type": "gradio.FileData"}}
