"""A page of a PDF, drawn by PDFium in bands of rows; a page of up to 8 megapixels is one band.

Where a line crosses from band to band its edge may differ by 2 of 255 from the page drawn at once.
"""

import math
import threading
from functools import lru_cache

import numpy as np
import pypdfium2
from pypdfium2 import PdfiumError

from vqa.images.source import ImageError, refuse_page

DPI = 200  # pixels per inch

BAND = 2**23  # pixels drawn at a time: 24 MiB
HELD = 4  # bands kept, so that tiles side by side do not draw the page again

_PDFIUM = threading.RLock()  # PDFium knows no threads, not even for different documents


def accepts(head: bytes) -> bool:
    """Whether a file that begins with these bytes is a PDF; some begin with a line of mail."""
    return b"%PDF-" in head[:1024]


class Reader:
    """One page of a PDF, given by its path or its bytes, with its forms and notes, on white."""

    orientation = 1
    held = 0  # a few bands, whatever the page
    format = "PDF"

    def __init__(self, source: str | bytes, name: str, page: int, dpi: float) -> None:
        if not 1 <= dpi <= 10_000:
            raise ImageError(f"{name} cannot be drawn at {dpi} dpi; choose 1 to 10000")
        self.name = name
        # Pixels per point. PDFium rounds sizes up, and has them in single precision: the pixels of
        # a scan must not become one more by that.
        self.scale = dpi / 72 * (1 - 1e-6)
        self.band = lru_cache(maxsize=HELD)(self._band)
        with _PDFIUM:
            try:
                self.document = pypdfium2.PdfDocument(source)
            except PdfiumError as error:
                raise _damaged(name, error) from error
            try:
                self._open_page(page)
            except BaseException:
                self.document.close()
                raise

    def _open_page(self, page: int) -> None:
        self.pages = len(self.document)
        if not 1 <= page <= self.pages:
            refuse_page(page, self.pages, self.name)
        try:
            self.document.init_forms()  # what was filled in is drawn, too
            self.page = self.document[page - 1]
        except PdfiumError as error:
            raise _damaged(self.name, error) from error
        width, height = self.page.get_size()  # as shown, in points
        self.size = (math.ceil(width * self.scale), math.ceil(height * self.scale))
        self.rows = max(1, BAND // max(1, self.size[0]))

    def region(self, left: int, top: int, right: int, bottom: int) -> np.ndarray:
        """sRGB uint8 [h, w, 3]."""
        first, last = top // self.rows, (bottom - 1) // self.rows
        bands = [
            self.band(index)[
                max(0, top - index * self.rows) : bottom - index * self.rows, left:right
            ]
            for index in range(first, last + 1)
        ]
        return bands[0] if len(bands) == 1 else np.concatenate(bands)

    def _band(self, index: int) -> np.ndarray:
        """Draw rows from index * rows on: uint8 [h, w, 3]."""
        above = index * self.rows
        below = max(0, self.size[1] - above - self.rows)
        # In points; PDFium's side rounds them up to pixels, so stay half a pixel under.
        crop = (0, self._points(below), 0, self._points(above))
        with _PDFIUM:
            try:
                bitmap = self.page.render(scale=self.scale, crop=crop)
            except PdfiumError as error:
                raise _damaged(self.name, error) from error
            pixels = bitmap.to_numpy()[..., ::-1].copy()  # from BGR
            bitmap.close()
        return pixels

    def _points(self, pixels: int) -> float:
        return max(0, pixels - 0.5) / self.scale

    def close(self) -> None:
        """Close the document."""
        self.band.cache_clear()
        with _PDFIUM:
            self.page.close()
            self.document.close()


def _damaged(name: str, error: PdfiumError) -> ImageError:
    if "password" in str(error).lower():
        return ImageError(f"{name} is a PDF that needs a password; save a copy without one")
    return ImageError(f"{name} is a corrupt or truncated PDF ({error}); get a new copy")
