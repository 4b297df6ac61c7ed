"""Does evidence point at what the answer was read from? Several methods on the same right answers.

    python benchmarks/evidence.py canvas --model benchmarks/models/canvas --kinds attribute
    python benchmarks/evidence.py files --model DIR --root DIR   # jsonl with meta.box or meta.boxes
    python benchmarks/evidence.py files ... --features DIR       # pages are not read a second time

Pointing: the peak lies in a true box grown by one patch. Deletion: by how much the answer's
probability falls where the hottest 1 % of the patches take the image's mean colour, and how often
that is more than with as many random ones. Prints a Markdown table and writes JSON to
benchmarks/results. The methods: evidence_methods.py; the measures: evidence_measure.py. `files`
writes a line a question to evidence_files.jsonl there as it goes, and goes on after the last one.
"""

import json
from collections.abc import Iterator, Sequence
from functools import lru_cache, partial
from pathlib import Path
from typing import Annotated, Any

import torch
import typer
from evidence_measure import Item, Row, measure
from typer import Option

from encoders.vision.sheet import ImageTokens
from vqa import Predictor, datasets, images
from vqa.datasets import Dataset, Example
from vqa.evaluation.identity import digest, tell
from vqa.evidence import Box
from vqa.features import Features, encode_alone
from vqa.questions import Questions, collator

RESULTS = Path(__file__).parent / "results"


def canvas(
    model: Annotated[str, Option(help="A model folder trained on canvas.")],
    sizes: Annotated[str, Option(help="Canvases, px a side.")] = "512,1024",
    kinds: Annotated[str | None, Option(help="Kinds of questions; all if not given.")] = None,
    count: Annotated[int, Option(help="Right answers a size.")] = 200,
    threads: int = 1,
    out: Path = RESULTS,
) -> None:
    """Evidence on generated canvases, which know where their answers stand."""
    torch.set_num_threads(threads)
    predictor = Predictor.from_pretrained(model, device="cpu")
    options: dict[str, Any] = {"count": 4 * count, "kinds": kinds} if kinds else {}
    data: Any = datasets.create("canvas", None, "val", **options)
    found = {}
    for size in map(int, sizes.split(",")):
        items = (_drawn(predictor, data, n, size) for n in range(len(data)))
        found[f"canvas {size}"] = measure(predictor, items, data.score, count)
        _print({f"canvas {size}": found[f"canvas {size}"]})
    _write(found, out / "evidence_canvas.json")


@torch.no_grad()
def _drawn(predictor: Predictor, data: Any, number: int, size: int) -> Item:
    example, pixels = data.render(number, size)
    image = predictor.model.vision([pixels])
    return Item(example, data.scene(number, size).evidence, lambda: image, lambda: pixels)


def files(
    model: Annotated[str, Option(help="A model folder.")],
    root: Annotated[str, Option(help="Folder of a jsonl data set with boxes in its meta.")],
    split: str = "test",
    count: Annotated[int, Option(help="Right answers.")] = 200,
    features: Annotated[Path | None, Option(help="Folder of kept image features.")] = None,
    threads: int = 1,
    out: Path = RESULTS,
) -> None:
    """Evidence on the questions of a jsonl data set that say where their answers stand."""
    torch.set_num_threads(threads)
    predictor = Predictor.from_pretrained(model, device="cpu")
    data = datasets.create("jsonl", root, split)
    kept = None if features is None else Features.of(predictor.model, features)
    numbers = [number for number in range(len(data)) if _boxes(data[number])]
    if not numbers:
        raise SystemExit(f"no question of {root}/{split}.jsonl has meta.box or meta.boxes")
    told = [(tell(data[number]), _boxes(data[number])) for number in numbers]
    run, lines = digest([predictor.weights, told]), out / "evidence_files.jsonl"
    known = [row for row in _rows(lines) if row["run"] == run]
    out.mkdir(parents=True, exist_ok=True)
    # Only this run's lines, whole ones.
    lines.write_text("".join(json.dumps(row) + "\n" for row in known), encoding="utf-8")

    def keep(row: Row) -> None:
        with lines.open("a", encoding="utf-8") as stream:
            stream.write(json.dumps({"run": run, **row}) + "\n")

    items = _of_files(predictor, data, numbers, kept)
    measured = measure(predictor, items, data.score, count, known, keep)
    found = {f"{Path(root).name} {split}": measured}
    _print(found)
    _write(found, out / "evidence_files.json")


def _rows(path: Path) -> Iterator[Row]:
    """What an earlier run kept; its last line may be torn."""
    text = path.read_text(encoding="utf-8") if path.exists() else ""
    yield from (json.loads(line) for line in text.splitlines(keepends=True) if line[-1] == "\n")


def _of_files(
    predictor: Predictor, data: Dataset, numbers: Sequence[int], features: Features | None
) -> Iterator[Item]:
    """The questions of these numbers; pages are read once for those that follow each other."""
    model, load = predictor.model, lru_cache(1)(images.load)
    questions, join = Questions(data, features=features), collator(predictor.tokenizer)
    seen: tuple[str, ImageTokens] | None = None

    @torch.no_grad()
    def look(number: int) -> ImageTokens:
        nonlocal seen
        path = data[number].image
        if seen is None or seen[0] != path:
            batch = join([questions[number, None]])
            image, _ = encode_alone(model.vision, batch, features)
            seen = path, model.vision.map(image)
        return seen[1]

    for number in numbers:
        example = data[number]
        yield Item(example, _boxes(example), partial(look, number), partial(load, example.image))


def _boxes(example: Example) -> list[Box]:
    meta = example.meta or {}
    found = meta.get("boxes") or ([meta["box"]] if meta.get("box") else [])
    return [(box[0], box[1], box[2], box[3]) for box in found]


def _print(found: dict[str, Any]) -> None:
    print("| images | method | pointing | box overlap | drop | beats random |")
    print("| --- | --- | --- | --- | --- | --- |")
    for name, row in found.items():
        for method, tally in row["methods"].items():
            share = (f"{tally[key]:.1%}" for key in ("pointing", "overlap"))
            cells = [name, method, *share, f"{tally['drop']:.3f}", f"{tally['beats_random']:.1%}"]
            print("| " + " | ".join(cells) + " |")
        print(f"| {name} | chance ({row['questions']} answers) | {row['chance']:.1%} | | | |")


def _write(found: dict[str, Any], path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
    app.command()(canvas)
    app.command()(files)
    app()
