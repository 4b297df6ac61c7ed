"""Does an answer cost what `vqa plan` says? Predicted and measured peak memory and seconds.

    python benchmarks/plan.py

Twenty sizes of image, each answered in a process of its own by the bundled model and by one of the
default sizes with random weights, on one thread; seconds are those of that thread, so that other
programs do not count. Prints a table, writes benchmarks/results/plan.json and exits with 1 where a
predicted peak is more than 15 % off.
"""

import json
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
import typer
from PIL import Image
from typer import Option

RESULTS = Path(__file__).parent / "results" / "plan.json"
SIZES = (  # width x height
    *((64, 64), (128, 96), (256, 256), (300, 200), (512, 512), (640, 480), (1000, 250)),
    *((1024, 1024), (1280, 720), (600, 3000), (1920, 1080), (2048, 2048), (3000, 2000)),
    *((4000, 1000), (2500, 2500), (1000, 8000), (4000, 3000), (6000, 4000), (8000, 5000)),
    (10000, 10000),
)
QUESTION = "what color is the largest shape?"
TOP_K = 5
MEMORY, SECONDS = 0.15, 0.30  # how far predictions may be off
LONG = 2.0  # seconds; what takes longer is measured once

app = typer.Typer()


@app.command()
def run(
    out: Annotated[Path, Option(help="Where to write the figures.")] = RESULTS,
    largest: Annotated[int, Option(help="Leave out images of more pixels.")] = 10**8,
) -> None:
    """Measure, print the table, and fail where memory was predicted badly."""
    rows = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        default = _default_model(folder / "default")
        for title, model in (("bundled", "-"), ("default", str(default))):
            _child("calibrate", model)
            for width, height in SIZES:
                if width * height > largest:
                    continue
                image = _photograph(folder, width, height)
                row = _child("measure", model, str(image))
                rows.append({"model": title, **row})
                print(_line(rows[-1]), flush=True)
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")
    print(_table(rows))
    if any(abs(_off(row, "memory")) > MEMORY for row in rows):
        raise typer.Exit(1)


@app.command()
def calibrate(model: str) -> None:
    """Have the calibration of a model in the cache, in a process of its own."""
    from vqa.calibration import calibrate

    print(json.dumps(asdict(calibrate(_predictor(model).model))))


@app.command()
def measure(model: str, image: Path) -> None:
    """Predict, answer and measure; one line of JSON."""
    from vqa import memory
    from vqa.budget import plan
    from vqa.calibration import calibrate

    predictor = _predictor(model)
    with Image.open(image) as opened:
        width, height = opened.size
    words = {"question_tokens": len(predictor.tokenizer(QUESTION).input_ids), "beams": 2 * TOP_K}
    found = plan(predictor.model, height, width, calibration=calibrate(predictor.model), **words)
    seconds = [_ask(predictor, image)]
    highest = memory.peak()
    while seconds[0] < LONG and len(seconds) < 4:
        seconds.append(_ask(predictor, image))
    print(
        json.dumps(
            {
                "width": width,
                "height": height,
                "tokens": found.tokens,
                "predicted_memory": found.memory,
                "measured_memory": highest,
                "predicted_seconds": found.seconds,
                "measured_seconds": min(seconds),
            }
        )
    )


def _ask(predictor: Any, image: Path) -> float:
    start = time.thread_time()
    predictor.ask(image, QUESTION, TOP_K)
    return time.thread_time() - start


def _predictor(model: str) -> Any:
    from vqa import models
    from vqa.predictor import Predictor

    torch.set_num_threads(1)
    folder = models.FOLDER / models.DEFAULT if model == "-" else model
    return Predictor.from_pretrained(folder, device="cpu", cache_mb=0)


def _child(*arguments: str) -> dict[str, Any]:
    """A command of this file in a process of its own; what it prints, parsed."""
    command = [sys.executable, __file__, *arguments]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"{' '.join(arguments)} failed:\n{done.stderr}")
    row: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return row


def _default_model(folder: Path) -> Path:
    """A network of the default sizes (5 M parameters) with random weights."""
    from vqa import tokenizer as tokenizers
    from vqa.config import Network
    from vqa.model import build

    torch.manual_seed(0)
    tokenizer = tokenizers.train([QUESTION, "red", "green"], 300)
    build(Network(), tokenizer).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def _photograph(folder: Path, width: int, height: int) -> Path:
    """A JPEG of smooth colours and a little grain, strip by strip."""
    path = folder / f"{width}x{height}.jpg"
    if not path.exists():
        random = np.random.default_rng(0)
        small = random.integers(0, 256, (height // 32 + 2, width // 32 + 2, 3), np.uint8)
        image = Image.fromarray(small).resize((width, height), Image.Resampling.BICUBIC)
        grain = Image.effect_noise((min(width, 512), min(height, 512)), 8).convert("RGB")
        for top in range(0, height, 512):
            for left in range(0, width, 512):
                box = (left, top, min(left + 512, width), min(top + 512, height))
                part = grain.crop((0, 0, box[2] - left, box[3] - top))
                image.paste(Image.blend(image.crop(box), part, 0.1), box)
        image.save(path, quality=90)
    return path


def _off(row: dict[str, Any], what: str) -> float:
    off: float = row[f"predicted_{what}"] / row[f"measured_{what}"] - 1
    return off


def _line(row: dict[str, Any]) -> str:
    memory = [f"{row[f'{kind}_memory'] / 2**20:,.0f}" for kind in ("predicted", "measured")]
    seconds = [f"{row[f'{kind}_seconds']:.2f}" for kind in ("predicted", "measured")]
    cells = (
        row["model"],
        f"{row['width']} x {row['height']}",
        f"{row['tokens']:,}",
        *(*memory, f"{_off(row, 'memory'):+.0%}"),
        *(*seconds, f"{_off(row, 'seconds'):+.0%}"),
    )
    return f"| {' | '.join(cells)} |"


def _table(rows: list[dict[str, Any]]) -> str:
    head = "| model | pixels | tokens | MiB predicted | measured | off "
    head += "| s predicted | measured | off |\n|---|---|--:|--:|--:|--:|--:|--:|--:|"
    told = [head, *(_line(row) for row in rows), ""]
    for what, bound in (("memory", MEMORY), ("seconds", SECONDS)):
        for model in dict.fromkeys(row["model"] for row in rows):
            of = [abs(_off(row, what)) for row in rows if row["model"] == model]
            within = sum(off <= bound for off in of)
            told.append(
                f"{model}: {what} within {bound:.0%} for {within} of {len(of)} sizes, "
                f"at most {max(of):.0%} off"
            )
    return "\n".join(told)


if __name__ == "__main__":
    sys.argv = [sys.argv[0], *(sys.argv[1:] if sys.argv[1:2] != [] else ["run"])]
    app()
