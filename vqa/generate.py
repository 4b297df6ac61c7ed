"""A generated split as files that the jsonl data set reads: a line a question, and the images."""

import json
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from PIL import Image
from tqdm import tqdm

from vqa.datasets import DataError, Dataset, Rendered

NAMES = ("canvas", "pages")
"""The data sets that draw their images."""


class Drawn(Dataset, Rendered, Protocol):
    """A data set that draws, and tells what it drew."""

    split: str

    def scene(self, index: int) -> Any:
        """Has kind, width, height, choices and evidence, as vqa.canvas.scene.Scene."""
        ...


FORMATS: dict[str, dict[str, Any]] = {
    "png": {"compress_level": 1},  # grain hardly compresses further, and takes thrice the time
    "jpg": {"quality": 92, "subsampling": 0},
}

_STRIP = 512  # rows converted at a time, so that no third copy of a large canvas is held


def generate(data: Drawn, out: Path, image_format: str = "png", overwrite: bool = False) -> Path:
    """Writes `{split}.jsonl` and `images/{split}/{index}.{format}` below `out`.

    Questions about the same picture that follow each other share the file of the first.

    Returns the jsonl file, which appears when all its images are there. A line's meta holds kind,
    width, height, chance (the part of right answers by guessing, where answers are few), boxes
    (left, top, right, bottom in pixels of each piece of evidence) and, of a single one, box.
    Raises DataError.
    """
    if image_format not in FORMATS:
        raise DataError(f"images cannot be written as {image_format!r}; use {' or '.join(FORMATS)}")
    file = out / f"{data.split}.jsonl"
    images = out / "images" / data.split
    if not overwrite and (file.exists() or (images.is_dir() and any(images.iterdir()))):
        raise DataError(
            f"{out} already has a split {data.split!r}; choose another folder, or --overwrite"
        )
    try:
        images.mkdir(parents=True, exist_ok=True)
        unfinished = file.with_suffix(".jsonl.part")
        with unfinished.open("w", encoding="utf-8") as lines:
            name, shown = "", None
            for index in tqdm(range(len(data)), unit="question", desc=f"generate {data.split}"):
                scene, picture = data.scene(index), data[index].image
                if picture != shown:
                    name, shown = f"images/{data.split}/{index}.{image_format}", picture
                    _save(data.render(index)[1].numpy(), out / name, image_format)
                lines.write(json.dumps(_row(data, index, name, scene)) + "\n")
        unfinished.replace(file)
    except OSError as error:
        raise DataError(
            f"{error.filename or out} cannot be written ({error.strerror}); choose another folder"
        ) from error
    return file


def _row(data: Drawn, index: int, image: str, scene: Any) -> dict[str, Any]:
    meta: dict[str, Any] = {
        "kind": scene.kind,
        "width": scene.width,
        "height": scene.height,
        "boxes": scene.evidence,
    }
    if scene.choices:
        meta["chance"] = round(1 / len(scene.choices), 6)
    if len(scene.evidence) == 1:
        meta["box"] = scene.evidence[0]
    example = data[index]
    return {
        "question_id": example.question_id,
        "image": image,
        "question": example.question,
        "answers": list(example.answers),
        "split": data.split,
        "meta": meta,
    }


def _save(pixels: np.ndarray, path: Path, image_format: str) -> None:
    """uint8 [3, H, W] to a file."""
    _, height, width = pixels.shape
    image = Image.new("RGB", (width, height))
    for top in range(0, height, _STRIP):
        strip = pixels[:, top : top + _STRIP].transpose(1, 2, 0)
        image.paste(Image.fromarray(np.ascontiguousarray(strip)), (0, top))
    image.save(path, **FORMATS[image_format])
