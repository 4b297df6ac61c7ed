"""What high resolution costs, and what it is worth.

    python benchmarks/resolution.py cost       # the whole model, 4k to 262k tokens, and its twin
    python benchmarks/resolution.py again      # the second question about a picture
    python benchmarks/resolution.py curves --model DIR   # accuracy on canvas: sizes and strategies
    python benchmarks/resolution.py receipts --model DIR --root DIR  # the same on scanned receipts

Each prints a Markdown table and writes JSON, and a picture where there is one, to
benchmarks/results.
"""

import json
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from datetime import date
from multiprocessing import get_context
from pathlib import Path
from time import perf_counter
from typing import Annotated, Any

import torch
import typer
from resolution_accuracy import curves, receipts
from resolution_plot import cost_picture
from typer import Option

from vqa import memory
from vqa import tokenizer as tokenizers
from vqa.config import LatteVQAConfig, Network
from vqa.model import LatteVQA, build
from vqa.predictor import Answer, Predictor

RESULTS = Path(__file__).parent / "results"
SIDES = (1024, 2048, 4096, 8192)
"""Sides of the pictures in pixels: 4,096 to 262,144 patches of 16 pixels, and an overview."""

RUNS, RUN_SECONDS = 7, 10.0
"""One run of half a second is off by a fifth now and then."""

Row = dict[str, Any]


def network(mixer: str) -> Network:
    """The default network, 6 million parameters; its twin differs in the mixer alone."""
    return Network(mixer=mixer)


@torch.inference_mode()
def measure(mixer: str, side: int, threads: int) -> Row:
    """One answer about one picture of noise, in a process of its own: the fastest of `RUNS`, fewer
    where they take longer than `RUN_SECONDS`, and the peak memory of the first."""
    torch.set_num_threads(threads)
    torch.manual_seed(0)
    model = LatteVQA(LatteVQAConfig(network(mixer))).eval()
    seconds: dict[str, float] = {}
    model.vision.forward = _timed(model.vision.forward, seconds, "vision")
    model.encoder.stream_ = _timed(model.encoder.stream_, seconds, "fusion")
    question = torch.full((1, 8), 5)
    _answer(model, torch.zeros(3, 300, 300, dtype=torch.uint8), question)  # libraries load now
    image = torch.randint(256, (3, side, side), dtype=torch.uint8)
    before, peak = memory.peak(), 0
    runs: list[dict[str, float]] = []
    while len(runs) < RUNS and sum(run["seconds"] for run in runs) < RUN_SECONDS:
        start = perf_counter()
        _answer(model, image, question)
        parts = {f"{name}_seconds": value for name, value in seconds.items()}
        runs.append({"seconds": perf_counter() - start, **parts})
        peak = memory.peak() - before if len(runs) == 1 else peak
    return {
        "mixer": mixer,
        "side": side,
        "tokens": model.vision.count(side, side) + question.shape[1],
        **min(runs, key=lambda run: run["seconds"]),
        "peak_bytes": peak,
        "parameters": sum(weight.numel() for weight in model.parameters()),
    }


def _answer(model: LatteVQA, image: torch.Tensor, question: torch.Tensor) -> None:
    mask = torch.ones_like(question, dtype=torch.bool)
    model.generate(model.read([image], question, mask), max_new_tokens=4)


def _timed(work: Callable[..., Any], seconds: dict[str, float], name: str) -> Callable[..., Any]:
    def timed(*args: Any, **words: Any) -> Any:
        start = perf_counter()
        result = work(*args, **words)
        seconds[name] = perf_counter() - start
        return result

    return timed


def cost(
    threads: int = 2,
    limit_seconds: Annotated[float, Option(help="A run that would take longer is left out.")] = 600,
    out: Path = RESULTS,
) -> None:
    """Time and peak memory of the whole model against the number of tokens."""
    rows: list[Row] = []
    for mixer, growth in (("latte", 4), ("attention", 16)):
        expected = 0.0
        for side in SIDES:
            if expected > limit_seconds:
                continue
            with ProcessPoolExecutor(1, get_context("spawn")) as pool:
                row = pool.submit(measure, mixer, side, threads).result()
            print(row, flush=True)
            expected = row["vision_seconds"] * 4 + row["fusion_seconds"] * growth
            rows.append(row)
    results = {"date": str(date.today()), "torch": torch.__version__, "threads": threads}
    out.mkdir(parents=True, exist_ok=True)
    text = json.dumps({**results, "rows": rows}, indent=1)
    (out / "resolution_cost.json").write_text(text + "\n")
    cost_picture(rows, out / "resolution_cost.svg")
    print("| mixer | picture | tokens | seconds | vision | fusion | peak memory beyond the model |")
    print("| --- | --- | --- | --- | --- | --- | --- |")
    for row in rows:
        print(
            f"| {row['mixer']} | {row['side']} x {row['side']} | {row['tokens']:,} "
            f"| {row['seconds']:.2f} | {row['vision_seconds']:.2f} | {row['fusion_seconds']:.2f} "
            f"| {row['peak_bytes'] / 2**20:,.0f} MiB |"
        )


@torch.inference_mode()
def again(
    side: Annotated[int, Option(help="Side of the picture in pixels.")] = 2048,
    threads: int = 2,
    out: Path = RESULTS,
) -> None:
    """What the second question about an encoded picture costs, beside the first."""
    torch.set_num_threads(threads)
    texts = ["what color is the square?", "is there a circle?", "yes", "no"]
    tokenizer = tokenizers.train(texts, 300)
    picture = torch.randint(256, (side, side, 3), dtype=torch.uint8).numpy()
    rows: list[Row] = []
    for place in ("decoder", "encoder"):
        torch.manual_seed(0)
        predictor = Predictor(build(Network(question=place), tokenizer), tokenizer)
        predictor.ask(picture[:300, :300], texts[0], 1)  # libraries load now
        first = predictor.ask(picture, texts[0], 1)
        encoded = predictor.encode(picture)
        second = min((predictor.ask(encoded, texts[1], 1) for _ in range(5)), key=_seconds)
        row: Row = {"question": place, "tokens": first.tokens, "first": first.seconds}
        row |= {"second": second.seconds, "share": second.seconds / first.seconds}
        rows.append({**row, "encoded_bytes": encoded.nbytes})
        print(f"question in the {place}: {first.tokens:,} tokens, first {first.seconds:.2f} s,")
        share = f"{second.seconds:.3f} s = {second.seconds / first.seconds:.1%}"
        print(f"    second {share}, kept {encoded.nbytes:,} bytes")
    out.mkdir(parents=True, exist_ok=True)
    (out / "resolution_again.json").write_text(json.dumps(rows, indent=1) + "\n")


def _seconds(answer: Answer) -> float:
    return answer.seconds


if __name__ == "__main__":
    app = typer.Typer(add_completion=False)
    for command in (cost, again, curves, receipts):
        app.command()(command)
    app()
