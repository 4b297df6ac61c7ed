"""The page that is shown of an uploaded file: small, of the right page, or one sentence."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from test_images_pdf import HALF_RED, write

from app import preview
from app.preview import SIDE, load, of_file, of_page
from vqa import images
from vqa.budget import Budget
from vqa.opening import NATIVE, Reading


def gradient(height: int, width: int) -> np.ndarray:
    """Smooth colours: filters agree on them, and a wrong page or a turned one would show."""
    rows, columns = np.mgrid[0:height, 0:width]
    return np.stack([255 * rows / height, 255 * columns / width, 0 * rows + 60], -1).astype(
        np.uint8
    )


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("files")
    large, small = Image.fromarray(gradient(1500, 2500)), Image.fromarray(gradient(30, 20))
    large.save(folder / "large.png")
    small.save(folder / "small.png")
    for name in ("two.tif", "two.gif"):
        large.save(folder / name, save_all=True, append_images=[small.resize((2500, 1500))])
    large.save(folder / "tiled.tif", tile=(256, 256))
    blue = b"0 0 1 rg 0 0 36 36 re f"
    sheet = "/MediaBox[0 0 842 595]"
    pages = [("", HALF_RED), ("", blue), (sheet, b"")]
    (folder / "three.pdf").write_bytes(write(*pages))
    (folder / "text.pdf").write_text("not a document\n" * 20)
    (folder / "cut.png").write_bytes((folder / "large.png").read_bytes()[:3000])
    return folder


def file(path: Path) -> dict[str, Any]:
    return {"path": str(path), "meta": {"_type": "gradio.FileData"}}


def refusal(function: Any, *arguments: Any) -> str:
    with pytest.raises(Exception) as caught:
        result = function(*arguments)
        list(result)
    return str(caught.value.message)  # type: ignore[attr-defined]


def test_a_large_page_is_shrunk(files: Path) -> None:
    for name in ("large.png", "tiled.tif", "two.tif"):
        pixels, pages = load(str(files / name), NATIVE)
        assert pixels.shape == (614, SIDE, 3) and pixels.dtype == np.uint8
        with Image.open(files / name) as image:
            expected = np.asarray(image.convert("RGB").resize((SIDE, 614)), int)
        assert np.abs(pixels.astype(int) - expected).max() <= 2
        assert pages == (2 if name == "two.tif" else 1)


def test_a_small_page_is_shown_as_it_is(files: Path) -> None:
    pixels, pages = load(str(files / "small.png"), NATIVE)
    assert np.array_equal(pixels, gradient(30, 20)) and pages == 1


def test_the_page_that_was_chosen_is_shown(files: Path) -> None:
    colours = {1: [255, 0, 0], 2: [0, 0, 255]}
    for page, colour in colours.items():
        pixels, pages = load(str(files / "three.pdf"), Reading(page=page))
        assert pixels.shape == (100, 200, 3) and pages == 3
        assert pixels[50, 50].tolist() == colour and pixels[50, 150].tolist() == [255] * 3
    assert load(str(files / "three.pdf"), Reading(page=3)).pixels.shape == (724, SIDE, 3)


def test_shape_is_kept_even_of_a_line(tmp_path: Path) -> None:
    Image.new("RGB", (1, 5000), "red").save(tmp_path / "line.png")
    pixels = load(str(tmp_path / "line.png"), NATIVE).pixels
    assert pixels.shape == (SIDE, 1, 3) and (pixels == [255, 0, 0]).all()


def test_a_file_is_not_read_whole_for_its_preview(
    files: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Pieces of it come and go: never all of its pixels at once in a full copy."""
    largest = 0
    read = images.Picture._region

    def watched(self: images.Picture, *box: int) -> np.ndarray:
        nonlocal largest
        largest = max(largest, (box[2] - box[0]) * (box[3] - box[1]))
        return read(self, *box)

    monkeypatch.setattr(images.Picture, "_region", watched)
    load(str(files / "large.png"), NATIVE)
    assert 0 < largest < 1500 * 2500 / 2


def test_what_would_exceed_the_memory_is_refused_before_decoding(files: Path) -> None:
    path = str(files / "large.png")
    needed = 4 * 1500 * 2500
    load(path, Reading(budget=Budget(max_memory=needed)))
    with pytest.raises(ValueError, match="15,000,000 bytes of memory to decode, over the budget"):
        load(path, Reading(budget=Budget(max_memory=needed - 1)))
    load(str(files / "three.pdf"), Reading(budget=Budget(max_memory=1)))  # drawn in bands


def test_a_new_file_shows_its_first_page_and_how_many_there_are(files: Path) -> None:
    for name, pages in (("three.pdf", 3), ("two.tif", 2), ("two.gif", 2), ("large.png", 1)):
        picture, number = of_file(NATIVE)(file(files / name))
        assert picture["visible"] and max(picture["value"].shape) <= SIDE
        assert (number["visible"], number["value"], number["maximum"]) == (pages > 1, 1, pages)
        assert number["label"] == f"Page (1 to {pages})"


def test_without_a_file_nothing_is_shown() -> None:
    picture, number = of_file(NATIVE)(None)
    assert (picture["value"], picture["visible"]) == (None, False)
    assert (number["value"], number["visible"]) == (1, False)


def test_a_new_number_shows_that_page(files: Path) -> None:
    emptied, shown = list(of_page(NATIVE)(file(files / "three.pdf"), 2))
    assert emptied["value"] is None and shown["value"][50, 50].tolist() == [0, 0, 255]
    assert list(of_page(NATIVE)(file(files / "three.pdf"), None)) == []


def test_mistakes_are_sentences_without_the_server_s_folders(files: Path) -> None:
    tight = Reading(max_pixels=1000)
    large = "2500 x 1500 = 3,750,000 pixels, over the limit of 1,000 pixels"
    for reading, name, told in (
        (NATIVE, "text.pdf", "text.pdf is not an image that can be read here; use PNG"),
        (NATIVE, "cut.png", "cut.png is a truncated PNG image"),
        (NATIVE, "gone.png", "gone.png does not exist"),
        (tight, "large.png", f"large.png is {large}"),
    ):
        assert refusal(of_file(reading), file(files / name)).startswith(told)
    seen = refusal(of_page(NATIVE), file(files / "three.pdf"), 4)
    assert seen == "three.pdf has no page 4; choose 1 to 3"
    seen = refusal(of_page(NATIVE), file(files / "three.pdf"), 1.5)
    assert seen == "a page is a whole number from 1, not 1.5; choose another one"
    assert refusal(of_page(NATIVE), None, 1) == "there is no image; upload one, then ask"


def test_memory_that_is_not_there_is_a_sentence(
    files: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: Any) -> None:
        raise MemoryError

    monkeypatch.setattr(preview, "load", full)
    told = refusal(of_file(NATIVE), file(files / "large.png"))
    assert told == "large.png needs more memory than there is here; crop it"
