"""`vqa transcribe`: the text printed on images, in reading order."""

from json import dumps
from pathlib import Path
from typing import Annotated

from typer import Argument, Option


def transcribe(
    images: Annotated[list[str], Argument(help="Image files of any size.")],
    json: Annotated[
        bool, Option("--json", help="A JSON object an image: text, and words with their boxes.")
    ] = False,
    page: Annotated[int, Option(min=1, help="Page of a TIFF, PDF or animation.")] = 1,
    cache: Annotated[
        Path | None, Option(help="Folder to keep transcripts in, for the next time.")
    ] = None,
) -> None:
    """Print the text on images: what a model that reads print is given.

    Rows of print are lines; lines side by side in a row have two blanks between them.
    """
    from encoders.vision.ocr.transcription import page_text
    from vqa.data.transcripts import TranscriptStore, bundled_ocr

    store = TranscriptStore(cache, bundled_ocr())
    for image in images:
        words = store.words(image, page)
        if json:
            row = {"image": image, "text": page_text(words), "words": [w._asdict() for w in words]}
            print(dumps(row, ensure_ascii=False))
        else:
            print(page_text(words))
