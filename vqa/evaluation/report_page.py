"""report.html: one page, without links to anywhere, that shows what an evaluation found."""

import base64
import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader
from PIL import Image
from torch import Tensor

from vqa import images
from vqa.datasets import Dataset, Rendered
from vqa.evaluation.journal import FINAL, Row, write
from vqa.evaluation.scores import KINDS

MISTAKES = 50
THUMBNAIL = 320  # pixels of the longer side


def write_report(out: Path, dataset: Dataset) -> None:
    """Writes report.html of the finished run in folder `out`; `dataset` has its images."""
    rows = [json.loads(line) for line in (out / FINAL).read_text(encoding="utf-8").splitlines()]
    scores, run = (
        json.loads((out / name).read_text(encoding="utf-8")) for name in ("scores.json", "run.json")
    )
    official = scores.get("official")
    environment = Environment(loader=PackageLoader("vqa.evaluation"), autoescape=True)
    page = environment.get_template("report.html").render(
        scores=scores,
        kinds={name: _table(scores[f"per_{name}"]) for name in KINDS if f"per_{name}" in scores},
        reliability=scores.get("calibration"),
        abstention=scores.get("abstention"),
        thresholds=_thresholds(scores.get("abstention")),
        official=official and json.dumps(official, indent=1, ensure_ascii=False),
        mistakes=list(_mistakes(rows, dataset)),
        run=json.dumps(run, indent=1, ensure_ascii=False),
    )
    write(out / "report.html", page)


def _table(kinds: dict[str, Any]) -> list[list[Any]]:
    return [
        [kind, f"{part['score']:.2f}", "{} to {}".format(*part["interval"]), part["n"]]
        for kind, part in kinds.items()
    ]


def _thresholds(abstention: dict[str, Any] | None) -> list[list[str]]:
    """What to ask of a probability, to answer a share of the questions."""
    curve = abstention["curve"] if abstention else []
    return [
        [f"{row['coverage']:.0%}", f"{100 * row['score']:.2f}", f"{row['threshold']:.4f}"]
        for row in curve
    ]


def _mistakes(rows: list[Row], dataset: Dataset) -> Iterator[Row]:
    """The surest wrong answers, each with a small picture."""
    wrong = [(place, row) for place, row in enumerate(rows) if row["score"] == 0]
    wrong.sort(key=lambda pair: -(pair[1]["probability"] or 0))
    for place, row in wrong[:MISTAKES]:
        yield {**row, "picture": _thumbnail(_pixels(dataset, place))}


def _pixels(dataset: Dataset, place: int) -> Tensor:
    if isinstance(dataset, Rendered):
        return dataset.render(place)[1]
    with images.open(dataset[place].image) as picture:
        return picture.within(THUMBNAIL)[:, :, :]


def _thumbnail(pixels: Tensor) -> str:
    """A JPEG in base64."""
    image = Image.fromarray(pixels.permute(1, 2, 0).numpy())
    image.thumbnail((THUMBNAIL, THUMBNAIL))
    stream = io.BytesIO()
    image.save(stream, "JPEG", quality=80)
    return base64.b64encode(stream.getvalue()).decode()
