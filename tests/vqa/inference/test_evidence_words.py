"""The words that spell an answer are its evidence, to the pixel."""

import pytest

from encoders.vision.ocr.transcription import Word
from vqa.encoded import Source
from vqa.evidence_words import locate_words

SOURCE = Source(600, 400, 1.0, 10)


def line(row: int, *texts: str) -> list[Word]:
    """Words of 50 pixels, 60 apart, in a line 30 pixels high."""
    return [
        Word(text, (60.0 * n, 40.0 * row, 60.0 * n + 50, 40.0 * row + 30), 0.9, row, row)
        for n, text in enumerate(texts)
    ]


PAGE = [
    *line(0, "JAYA", "BOOK", "SHOP"),
    *line(1, "Total", "12.50"),
    *line(2, "Cash", "20.00"),
    *line(3, "Change", "7.50"),
    *line(4, "Paid", "12.50"),
]


@pytest.mark.parametrize(
    ("question", "answer", "box"),
    [
        ("who sold this?", "JAYA BOOK SHOP", (0, 0, 170, 30)),
        ("who sold this?", "jaya book-shop", (0, 0, 170, 30)),  # letters count, not their case
        ("who sold this?", "JAYA B00K SHOP", (0, 0, 170, 30)),  # one read otherwise
        ("the change", "7.50", (60, 120, 110, 150)),
        ("what is the total?", "12.50", (60, 40, 110, 70)),  # the row that shares a word
        ("how much?", "12.50", (60, 160, 110, 190)),  # or the last
    ],
)
def test_box_is_that_of_the_words(
    question: str, answer: str, box: tuple[int, int, int, int]
) -> None:
    found = locate_words(PAGE, question, answer, SOURCE)
    assert found.box == box
    assert found.share == pytest.approx(1)
    left, top, right, bottom = box
    assert found.peak is not None
    assert left <= found.peak[0] < right and top <= found.peak[1] < bottom
    across, down = found.patch
    rows, columns = found.heat.nonzero()
    assert (columns * across < right).all() and ((columns + 1) * across > left).all()
    assert (rows * down < bottom).all() and ((rows + 1) * down > top).all()


@pytest.mark.parametrize("answer", ["not on the image", "", "?", "99.99", "yes"])
def test_an_answer_that_is_not_printed_has_no_box(answer: str) -> None:
    found = locate_words(PAGE, "what?", answer, SOURCE)
    assert found.box is None and found.peak is None and found.share == 0
    assert locate_words([], "what?", answer, SOURCE).box is None


def test_words_at_the_edge_stay_in_the_image() -> None:
    words = [
        Word("AB", (590.0, -8.0, 640.0, 2.0), 0.9, 0, 0),
        Word("C", (700, 500, 710, 510), 1, 1, 1),
    ]
    assert locate_words(words, "?", "AB", SOURCE).box == (590, 0, 600, 2)
    found = locate_words(words, "?", "C", SOURCE)
    assert found.box == (599, 399, 600, 400) and found.share == pytest.approx(1)
