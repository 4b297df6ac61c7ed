"""The text of images, for a model that reads it: printed words, then tags of what a photo shows."""

from collections.abc import Sequence
from functools import cached_property
from typing import NamedTuple

from encoders.pixels import Pixels
from encoders.vision.glyphs import Encoder
from encoders.vision.ocr.transcription import Word, page_text, transcribe
from encoders.vision.sheet import ImageTokens
from vqa.data.tags import image_text, tags_text
from vqa.data.transcripts import bundled_ocr
from vqa.model import LatteVQA


class Transcript(NamedTuple):
    """The `text` of an image, the printed `words` in it with their boxes, and by how many degrees
    the page was turned to the left to be read."""

    text: str
    words: list[Word]
    rotation: float


class Transcriber:
    """Transcribes images for `model` with the OCR of the package and the tagger of the model."""

    def __init__(self, model: LatteVQA) -> None:
        self.model = model

    @cached_property
    def ocr(self) -> Encoder:
        """Detector and recogniser, loaded when first needed."""
        return bundled_ocr().to(self.model.device)

    def __call__(self, images: Sequence[Pixels], features: ImageTokens) -> list[Transcript]:
        """Transcripts of `images`, whose patches have these `features`."""
        tags = self._tags(features)
        found = []
        for image, shown in zip(images, tags, strict=True):
            words, rotation = transcribe(self.ocr, image)
            found.append(Transcript(image_text(page_text(words), shown), words, rotation))
        return found

    def _tags(self, features: ImageTokens) -> list[str]:
        tagger = self.model.tagger
        if tagger is None:
            return [""] * len(features.grids)
        found = tagger.probabilities(features.overview())
        return [
            tags_text(
                {name: shares[row].float() for name, shares in found.items()},
                tagger.groups,
                tagger.several,
                self.model.network.tags["shown"],
            )
            for row in range(len(features.grids))
        ]
