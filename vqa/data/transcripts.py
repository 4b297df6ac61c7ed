"""Printed words of image files, transcribed once by the frozen OCR and kept on disk."""

import hashlib
import json
from functools import cached_property
from pathlib import Path

import torch

from encoders.vision.glyphs import Encoder
from encoders.vision.ocr.transcription import Word, page_text, transcribe, word_of
from vqa import images, models
from vqa.cache_folder import write_atomically
from vqa.data.tags import TagFile, image_text
from vqa.datasets import DataError
from vqa.fingerprint import of_image, of_weights
from vqa.model import LatteVQA

FORMAT = 2
"""Of the files; another way to find, read or order words has another number."""


class TranscriptStore:
    """A folder with one JSON file an image: its words with boxes and confidences.

    `tags` of photos stand in their text. Without a `folder` nothing is kept. A file is named by the
    SHA-256 of the image file, the page,
    and the weights and settings of `encoder`, so another of any makes another file. Several
    processes may share a folder, and it may be deleted at any time. Raises DataError if the folder
    cannot be written to.
    """

    def __init__(
        self, folder: str | Path | None, encoder: Encoder, tags: TagFile | None = None
    ) -> None:
        self.folder = None if folder is None else Path(folder).expanduser()
        self.encoder = encoder
        self.tags = tags

    def words(self, path: str | Path, page: int = 1) -> list[Word]:
        """Printed words of the image file `path` in reading order, from disk if they are there.

        Raises ImageError if the file is no readable image.
        """
        with images.open(path, page=page) as picture:
            file = None
            if self.folder is not None:
                key = f"{of_image(path, picture)} {page} {self._ocr}".encode()
                name = hashlib.sha256(key).hexdigest()
                file = self.folder / name[:2] / f"{name[2:]}.json"
            words = None if file is None else _load(file)
            if words is None:
                with torch.inference_mode():
                    words = transcribe(self.encoder, picture).words
                if file is not None:
                    self._save(file, words)
        return words

    def text(self, path: str | Path) -> str:
        """The text of the image file `path`, as a language model reads it: print, then tags."""
        shown = "" if self.tags is None else self.tags.of(path)
        return image_text(page_text(self.words(path)), shown)

    @cached_property
    def _ocr(self) -> str:
        """Weights and settings that words depend on; hashed only if transcripts are kept."""
        encoder = self.encoder
        settings = (FORMAT, encoder.line, encoder.most, encoder.keep)
        return f"{of_weights(encoder.trunk)} {settings}"

    def _save(self, file: Path, words: list[Word]) -> None:
        try:
            write_atomically(file, json.dumps(words).encode())
        except OSError as error:
            raise DataError(
                f"transcripts cannot be kept in {self.folder} ({error.strerror}); give a folder "
                "with room that can be written to"
            ) from None


def bundled_ocr() -> Encoder:
    """The detector and recogniser that come with the package, as part of the model `documents`."""
    model = LatteVQA.from_pretrained(models.FOLDER / models.DEMO, dtype=torch.float32)
    encoder: Encoder = model.vision
    return encoder


def _load(file: Path) -> list[Word] | None:
    """Words of `file`; None if it is missing or broken."""
    try:
        rows = json.loads(file.read_text(encoding="utf-8"))
        words = [word_of(row) for row in rows]
    except (OSError, ValueError, TypeError):
        return None
    return words
