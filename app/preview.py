"""A page of what was uploaded, small enough for the browser, and how many pages there are."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import gradio as gr

from app.upload import at_page, path_of, told
from vqa import images
from vqa.opening import Reading

SIDE = 1024
"""Longer side of a preview at most, in pixels."""

TITLE = "No preview"

Updates = tuple[dict[str, Any], dict[str, Any]]
"""What changes of the preview and of the page's number."""


class Preview(NamedTuple):
    """`pixels`: uint8 array [h, w, 3] of one page; `pages`: how many the file has."""

    pixels: Any
    pages: int


def load(path: str, reading: Reading) -> Preview:
    """A page of a file, its longer side at most SIDE pixels. Raises what `opened` does."""
    with opened(path, reading) as picture:
        return Preview(picture.within(SIDE)[:].permute(1, 2, 0).numpy(), picture.pages)


@contextmanager
def opened(path: str, reading: Reading) -> Iterator[images.Picture]:
    """A page of a file, to be looked at.

    Raises ImageError as `vqa.images.open` does, and ValueError where decoding the page would take
    more memory than `reading.budget` has.
    """
    with images.open(path, reading.max_pixels, reading.page) as picture:
        _, height, width = picture.shape
        needed, most = picture.held * height * width, reading.budget.max_memory
        if most is not None and needed > most:
            raise ValueError(
                f"{path} takes {needed:,} bytes of memory to decode, over the budget of {most:,} "
                "bytes; crop it"
            )
        yield picture


def of_file(reading: Reading) -> Callable[[dict[str, Any] | None], Updates]:
    """The function behind a new file: its first page, and a choice of pages if it has several."""

    def show(file: dict[str, Any] | None) -> Updates:
        if not file:
            return gr.update(value=None, visible=False), gr.update(value=1, visible=False)
        path = path_of(file)
        chosen = at_page(reading, 1)
        with told(path, TITLE):
            pixels, pages = load(path, chosen)
        number = gr.update(
            value=1, visible=pages > 1, maximum=pages, label=f"Page (1 to {pages:,})"
        )
        return gr.update(value=pixels, visible=True), number

    return show


def of_page(
    reading: Reading,
) -> Callable[[dict[str, Any] | None, Any], Iterator[dict[str, Any]]]:
    """The function behind a new page number: that page of the file."""

    def show(file: dict[str, Any] | None, page: Any) -> Iterator[dict[str, Any]]:
        if page is None:  # deleted, to write another one
            return
        yield gr.update(value=None)  # so that no other page stands beside an error
        path, chosen = path_of(file), at_page(reading, page)
        with told(path, TITLE):
            yield gr.update(value=load(path, chosen).pixels)

    return show
