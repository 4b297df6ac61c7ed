"""Printed words of image files, transcribed once by the frozen OCR and kept on disk."""

import hashlib
import json
from pathlib import Path
from uuid import uuid4

import torch

from encoders.vision.glyphs import Encoder
from encoders.vision.ocr.transcription import Word, transcribe
from vqa import images, models
from vqa.datasets import DataError
from vqa.fingerprint import of_image, of_weights
from vqa.model import LatteVQA

FORMAT = 1
"""Of the files; another way to find, read or order words has another number."""


class TranscriptStore:
    """A folder with one JSON file an image: its words with boxes and confidences.

    Without a `folder` nothing is kept. A file is named by the SHA-256 of the image file, the page,
    and the weights and settings of `encoder`, so another of any makes another file. Several
    processes may share a folder, and it may be deleted at any time. Raises DataError if the folder
    cannot be written to.
    """

    def __init__(self, folder: str | Path | None, encoder: Encoder) -> None:
        self.folder = None if folder is None else Path(folder).expanduser()
        self.encoder = encoder
        settings = (FORMAT, encoder.line, encoder.most, encoder.keep)
        self.ocr = f"{of_weights(encoder.trunk)} {settings}"

    def words(self, path: str | Path, page: int = 1) -> list[Word]:
        """Printed words of the image file `path` in reading order, from disk if they are there.

        Raises ImageError if the file is no readable image.
        """
        with images.open(path, page=page) as picture:
            file = self._file(of_image(path, picture), page)
            words = None if file is None else _load(file)
            if words is None:
                with torch.inference_mode():
                    words = transcribe(self.encoder, picture)
                if file is not None:
                    self._save(file, words)
        return words

    def _file(self, image: str, page: int) -> Path | None:
        if self.folder is None:
            return None
        key = hashlib.sha256(f"{image} {page} {self.ocr}".encode()).hexdigest()
        return self.folder / key[:2] / f"{key[2:]}.json"

    def _save(self, file: Path, words: list[Word]) -> None:
        part = file.with_suffix(f".{uuid4().hex}.part")
        try:
            file.parent.mkdir(parents=True, exist_ok=True)
            try:
                part.write_text(json.dumps(words), encoding="utf-8")
                part.replace(file)
            finally:
                part.unlink(missing_ok=True)
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
        words = [
            Word(str(text), (x0, y0, x1, y1), float(confidence), int(line), int(row))
            for text, (x0, y0, x1, y1), confidence, line, row in rows
        ]
    except (OSError, ValueError, TypeError):
        return None
    return words
