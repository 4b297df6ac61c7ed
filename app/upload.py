"""What was uploaded and which page of it is meant; what is wrong with it, in a sentence."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import gradio as gr

from vqa.opening import Reading


def path_of(file: dict[str, Any] | None) -> str:
    """Where the server keeps an uploaded file."""
    path = (file or {}).get("path")
    if not path:
        raise failure("there is no image; upload one, then ask")
    return str(path)


def at_page(reading: Reading, page: Any) -> Reading:
    """`reading` of the page that a person or a program wrote; whether it exists is seen later."""
    if page is None:
        raise failure("there is no page number; write one from 1")
    whole = page.is_integer() if isinstance(page, float) else type(page) is int
    if not whole:
        raise failure(f"a page is a whole number from 1, not {page!r}; choose another one")
    return replace(reading, page=int(page))


@contextmanager
def told(path: str, title: str = "No answer") -> Iterator[None]:
    """What is wrong with the file at `path`, or with the question, becomes a sentence."""
    name = Path(path).name
    try:
        yield
    except ValueError as error:
        # People know the file by its name, not by where it is kept here.
        raise failure(str(error).replace(path, name), title) from None
    except (MemoryError, RuntimeError) as error:
        if isinstance(error, RuntimeError) and "memory" not in str(error):
            raise
        raise failure(f"{name} needs more memory than there is here; crop it", title) from error


def failure(sentence: str, title: str = "No answer") -> gr.Error:
    """`sentence` for the page and the API's client; the server's log needs no trace of it."""
    return gr.Error(sentence, title=title, duration=None, print_exception=False)
