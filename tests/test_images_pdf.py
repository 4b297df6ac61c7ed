"""Pages of a PDF, written here by hand, drawn where they should be; and PDFs that are none."""

import pathlib
import threading

import numpy as np
import pypdfium2
import pytest
import torch
from image_files import BLUE, RED, WHITE, encode, noise, rows
from PIL import Image, PngImagePlugin

from vqa import images
from vqa.images import ImageError, pdf

HALF_RED = b"1 0 0 rg 0 0 36 36 re f"  # of a page of 72 x 36 points, one inch by a half


def write(*pages: tuple[str, bytes], trailer: str = "") -> bytes:
    """A PDF of (entries of the page, its drawing) pairs."""
    kids = " ".join(f"{3 + 2 * index} 0 R" for index in range(len(pages)))
    objects = ["<</Type/Catalog/Pages 2 0 R>>", f"<</Type/Pages/Kids[{kids}]/Count {len(pages)}>>"]
    for index, (entries, drawing) in enumerate(pages):
        box = "" if "MediaBox" in entries else "/MediaBox[0 0 72 36]"
        objects.append(f"<</Type/Page/Parent 2 0 R/Contents {4 + 2 * index} 0 R{box}{entries}>>")
        objects.append(f"<</Length {len(drawing)}>>stream\n{drawing.decode()}\nendstream")
    out, places = b"%PDF-1.7\n", []
    for number, text in enumerate(objects, 1):
        places.append(len(out))
        out += f"{number} 0 obj{text}endobj\n".encode()
    table = "".join(f"{place:010} 00000 n \n" for place in places)
    size = len(objects) + 1
    end = f"xref\n0 {size}\n0000000000 65535 f \n{table}trailer<</Root 1 0 R/Size {size}{trailer}>>"
    return out + f"{end}\nstartxref\n{len(out)}\n%%EOF".encode()


def refusal(source: bytes | pathlib.Path, **options: int) -> str:
    messages = set()
    for read in (images.open, images.size):
        with pytest.raises(ImageError) as caught:
            read(source, **options)
        messages.add(str(caught.value))
    assert len(messages) == 1
    return messages.pop()


def test_a_page_is_drawn_at_200_dpi(tmp_path: pathlib.Path) -> None:
    path = tmp_path / "a.pdf"
    path.write_bytes(write(("", HALF_RED)))
    expected = [[RED] * 100 + [WHITE] * 100] * 100
    for source in (path, str(path), path.read_bytes(), b"From: me\r\n\r\n" + path.read_bytes()):
        assert rows(images.load(source)) == expected
        assert images.size(source) == (200, 100)


def test_a_picture_that_quotes_a_pdf_is_a_picture() -> None:
    info = PngImagePlugin.PngInfo()
    info.add_text("note", "%PDF-1.7")
    data = encode(Image.new("RGB", (5, 4), "red"), "PNG", pnginfo=info)
    assert b"%PDF-" in data[:1024]
    assert rows(images.load(data)) == [[RED] * 5] * 4


def test_dpi() -> None:
    data = write(("", HALF_RED))
    assert rows(images.load(data, dpi=8)) == [[RED] * 4 + [WHITE] * 4] * 4
    assert images.size(data, dpi=300) == (300, 150)
    assert "cannot be drawn at 0 dpi; choose 1 to 10000" in refusal(data, dpi=0)


@pytest.mark.parametrize(("points", "pixels"), [(612, 1700), (792, 2200), (595.276, 1654), (1, 3)])
def test_sizes_are_rounded_up_but_not_beyond(points: float, pixels: int) -> None:
    data = write((f"/MediaBox[0 0 {points} 9]", b""))
    assert images.size(data) == (pixels, 25)
    assert images.load(data).shape == (3, 25, pixels)


def test_pages() -> None:
    data = write(("", HALF_RED), ("/MediaBox[0 0 9 18]", b"0 0 1 rg 0 0 9 18 re f"), ("", b""))
    with images.open(data, page=2) as opened:
        assert (opened.shape, opened.pages) == ((3, 50, 25), 3)
        assert rows(opened[:, :1, :2]) == [[BLUE, BLUE]]
    assert images.load(data, page=3).eq(255).all()
    for page in (0, -1, 4, 99):
        assert refusal(data, page=page) == f"the image has no page {page}; choose 1 to 3"


def test_a_rotated_page() -> None:
    shown = images.load(write(("/Rotate 90", HALF_RED)))  # clockwise: the left side is on top
    assert shown.shape == (3, 200, 100)
    assert rows(shown) == [[RED] * 100] * 100 + [[WHITE] * 100] * 100


def test_what_was_filled_into_a_form_is_drawn() -> None:
    field = (
        "/Annots[<</Type/Annot/Subtype/Widget/FT/Tx/T(a)/V(x)/Rect[0 0 36 36]/F 4/AP<</N 4 0 R>>>>]"
    )
    data = write((field, b"")).replace(
        b"4 0 obj<<", b"4 0 obj<</Type/XObject/Subtype/Form/BBox[0 0 36 36]"
    )
    data = data.replace(b"/Length 0>>stream\n\n", b"/Length 23>>stream\n" + HALF_RED + b"\n")
    data = data.replace(b"/Catalog", b"/Catalog/AcroForm<</Fields[]>>")
    assert rows(images.load(data))[50][50] == RED


def test_pieces_are_those_of_the_page_drawn_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    lines = b" ".join(
        b"%d %d m %d %d l S" % (x, 3 * x % 200, 200 - x, x * x % 150) for x in range(0, 200, 7)
    )
    data = write(("/MediaBox[0 0 200.5 150.3]", b"0.3 0.5 0.1 RG 1.7 w " + lines))
    whole = pypdfium2.PdfDocument(data)[0].render(scale=200 / 72).to_numpy()[..., ::-1]
    assert np.array_equal(images.load(data).permute(1, 2, 0), whole)
    monkeypatch.setattr(pdf, "BAND", 557 * 40)  # forty rows, and a shorter rest
    with images.open(data) as opened:
        assert opened.shape == (3, 418, 557)
        banded = opened[:].permute(1, 2, 0).numpy()
        off = np.abs(banded.astype(int) - whole)
        assert off.max() <= 2 and (off > 0).mean() < 0.02  # edges at the ends of bands
        for top, left in ((0, 0), (39, 3), (41, 500), (400, 111)):
            piece = opened[:, top : top + 90, left : left + 70].permute(1, 2, 0)
            assert np.array_equal(piece, banded[top : top + 90, left : left + 70])
        half = opened.scaled(209, 278)[:]
        assert torch.equal(half, images.open(banded).scaled(209, 278)[:])


def test_a_scan() -> None:
    photo = Image.fromarray(noise(4, 6)).resize((240, 160))
    shown = images.load(encode(photo, "PDF", resolution=200))
    assert shown.shape == (3, 160, 240)
    off = shown.permute(1, 2, 0).int() - torch.from_numpy(np.array(photo)).int()
    assert off.abs().float().mean() < 8  # Pillow wrote a JPEG


def test_the_limit_is_asked_before_drawing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pypdfium2.PdfPage, "render", lambda *args, **options: pytest.fail("drawn"))
    data = write(("/MediaBox[0 0 14400 14400]", b""))
    with pytest.raises(ImageError) as caught:
        images.load(data)
    assert str(caught.value).startswith("the image is 40000 x 40000 = 1,600,000,000 pixels, over")


def test_damaged_and_locked(tmp_path: pathlib.Path) -> None:
    path = tmp_path / "a.pdf"
    path.write_bytes(b"%PDF-1.7\nThis is no PDF, whatever it says.")
    assert refusal(path).startswith(f"{path} is a corrupt or truncated PDF (")
    path.write_bytes(write(("", HALF_RED))[:60])
    assert "corrupt or truncated PDF" in refusal(path)
    assert "corrupt or truncated PDF" in refusal(write())
    key = "11" * 32
    locked = f"/ID[<00><00>]/Encrypt<</Filter/Standard/V 1/R 2/P -4/O<{key}>/U<{key}>>>"
    path.write_bytes(write(("", HALF_RED), trailer=locked))
    assert refusal(path) == f"{path} is a PDF that needs a password; save a copy without one"


def test_threads() -> None:
    data = write(("", HALF_RED), ("/MediaBox[0 0 9 18]", b"0 0 1 rg 0 0 9 18 re f"))
    expected, wrong = {page: images.load(data, page=page) for page in (1, 2)}, []

    def work(page: int) -> None:
        for _ in range(5):
            if not torch.equal(images.load(data, page=page), expected[page]):
                wrong.append(page)

    threads = [threading.Thread(target=work, args=(page,)) for page in (1, 2) * 3]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong
