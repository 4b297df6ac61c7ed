"""Print as words with boxes: on pages whose letters are known, and on a real receipt."""

import math
from pathlib import Path

import pytest
import torch
from PIL import Image
from printed_pages import PAGE, Print, make, printed
from torchvision.transforms.functional import pil_to_tensor

from encoders.pixels import Pixels
from encoders.vision.ocr.transcription import Word, page_text, transcribe
from encoders.vision.page_view import View

EXAMPLES = Path(__file__).parents[4] / "app" / "examples"


def expected_boxes(line: Print) -> list[tuple[float, float, float, float]]:
    """Tight boxes of the words of a level line."""
    boxes, start = [], 0
    for word in line.text.split(" "):
        end = start + len(word)
        x0, x1 = (line.x + place * line.advance for place in (start, end))
        boxes.append((x0, line.y - line.size / 2, x1, line.y + line.size / 2))
        start = end + 1
    return boxes


@torch.no_grad()
def test_transcribe_returns_words_of_a_page_in_reading_order() -> None:
    words = transcribe(make(), printed(260, 500, *PAGE)).words
    assert page_text(words) == "ABBA AB  BAB B\nBB AAA\nA"
    assert [(word.text, word.line, word.row) for word in words][:5] == [
        ("ABBA", 0, 0),
        ("AB", 0, 0),
        ("BAB", 1, 0),
        ("B", 1, 0),
        ("BB", 2, 1),
    ]
    assert all(word.confidence > 0.9 for word in words)


@torch.no_grad()
@pytest.mark.parametrize("view", ((1.0, 0, 0), (0.5, 0, 0), (1.0, 64, 128)))
def test_word_boxes_are_in_pixels_of_the_image(view: tuple[float, int, int]) -> None:
    encoder, line = make(), Print(180, 140, "ABBA AB B", 24)
    scale, top, left = view

    def part(image: Pixels) -> View:
        return View(scale, top, left, 256, 512)

    encoder.view = part  # type: ignore[method-assign]
    words = transcribe(encoder, printed(320, 640, line)).words
    assert [word.text for word in words] == ["ABBA", "AB", "B"]
    for word, box in zip(words, expected_boxes(line), strict=True):
        away = [abs(a - b) for a, b in zip(word.box, box, strict=True)]
        # The core of these lines is as high as their ink, and a box has paper around the core.
        assert max(away[::2]) < 0.7 * line.size and max(away[1::2]) < 1.1 * line.size
        assert word.box[0] < box[0] + 10 and word.box[2] > box[2] - 14


@torch.no_grad()
def test_box_of_an_upright_word_is_upright() -> None:
    (word,) = transcribe(make(), printed(300, 200, Print(90, 260, "ABBA", 20, -math.pi / 2))).words
    x0, y0, x1, y1 = word.box
    assert word.text == "ABBA" and y1 - y0 > 2 * (x1 - x0)
    assert abs((x0 + x1) / 2 - 90) < 6 and abs((y0 + y1) / 2 - 200) < 12


@torch.no_grad()
def test_transcribe_gives_no_words_without_print() -> None:
    assert transcribe(make(), torch.full((3, 64, 64), 255, dtype=torch.uint8)).words == []
    assert page_text([]) == ""


def test_page_text_keeps_rows() -> None:
    box = (0.0, 0.0, 1.0, 1.0)
    words = [
        Word("Total", box, 1.0, 0, 0),
        Word("due", box, 1.0, 0, 0),
        Word("12.00", box, 1.0, 1, 0),
        Word("Thanks", box, 1.0, 2, 1),
    ]
    assert page_text(words) == "Total due  12.00\nThanks"


@torch.no_grad()
def test_transcribe_reads_a_receipt_with_bundled_weights() -> None:
    from vqa.model import LatteVQA  # heavy: the bundled model

    model = LatteVQA.from_pretrained(Path(__file__).parents[4] / "vqa" / "bundled" / "documents")
    image = pil_to_tensor(Image.open(EXAMPLES / "receipt.png").convert("RGB"))
    words = transcribe(model.vision.float(), image).words
    rows = page_text(words).splitlines()
    assert "Staff:  Amin Star" in rows and "TEL:014-037 6093" in rows
    assert any(row.split()[-1] == "RM122.85" for row in rows if row.startswith("Bill Total"))
    (total,) = (word for word in words if word.text == "RM122.85")
    assert 0.9 < total.confidence <= 1.0
    x0, y0, x1, y1 = total.box
    assert 0 <= x0 < x1 <= image.shape[2] and 0 <= y0 < y1 <= image.shape[1]
