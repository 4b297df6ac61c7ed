"""What a pretrained ViT costs on a whole large image, and how far latent attention is from its own.

    python benchmarks/vit_context.py --weights dinov2_vits14/model.safetensors

One square image through a DINOv2 ViT-S/14 in three ways: its own softmax attention over the whole
image, the same over tiles of 224 px and an overview (the default of encoders/vision/vit.py), and
converted to Latte-Macchiato, without training. Seconds (of the thread, where there is one, so that
other programs do not count) and the peak of memory, each in a process of its own. With weights also
the mean cosine between patch features at 448 px and those of softmax over the whole image; with
--fit FOLDER besides after encoders/vision/transfer_vit.py on pictures of that folder. Prints
Markdown tables and writes benchmarks/results/vit_context.json.
"""

import ctypes
import json
import os
import platform
import subprocess
import sys
import time
from contextlib import suppress
from datetime import date
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
import typer
from PIL import Image, ImageOps
from torch import Tensor
from typer import Option

RESULTS = Path(__file__).parent / "results" / "vit_context.json"
EXAMPLE = Path(__file__).parents[1] / "app" / "examples" / "receipt.png"
VIT = "vit_small_patch14_dinov2"
SIDES = (224, 448, 896, 1344, 2044)
"""Pixels of a side, multiples of the patch: 256 to 21,316 patches."""

WHOLE, TILES, LATTE = "softmax, whole image", "softmax, tiles of 224 px", "Latte, radius 7"
WAYS = (WHOLE, TILES, LATTE)
RADII, COMPARED = (3, 7, 15), 448

SECONDS, MEMORY = 120, 8e9
"""What would take more seconds or bytes, as they grow with the squared patches, is left out."""

FITTED, PICTURES = 8, {".jpg", ".jpeg", ".png", ".webp"}
"""Pictures of each folder that latents are fitted to, and what files are pictures."""

REPEATS, LONG = 3, 5.0
"""The fastest of so many runs counts; what takes longer than so many seconds runs once."""

Row = dict[str, Any]
app = typer.Typer()


@app.command()
def run(
    weights: Annotated[Path | None, Option(help="Weights with timm's key names.")] = None,
    image: Annotated[list[Path] | None, Option(help="Pictures to compare features on.")] = None,
    fit: Annotated[list[Path] | None, Option(help="Folders of pictures to fit latents on.")] = None,
    threads: Annotated[int, Option(help="Threads of a measurement.")] = 1,
    largest: Annotated[int, Option(help="Leave out images with longer sides.")] = max(SIDES),
    out: Annotated[Path, Option(help="Where to write the figures.")] = RESULTS,
) -> None:
    """Measure everything and print the tables."""
    more = ["--threads", str(threads), *(["--weights", str(weights)] if weights else [])]
    rows: list[Row] = []
    for way in WAYS:
        for side in (side for side in SIDES if side <= largest):
            row = {"way": way, "side": side, "patches": (side // 14) ** 2}
            if way != WHOLE or not rows or _affordable(rows[-1], row):
                row |= _child("measure", way, str(side), *more)
            rows.append(row)
            print(row, flush=True)
    cosines: Row = {}
    if weights:
        folders = [word for folder in fit or [] for word in ("--fit", str(folder))]
        cosines = _child("compare", *map(str, image or [EXAMPLE]), *folders, *more)
    result = {
        "date": date.today().isoformat(),
        "machine": f"{os.cpu_count()} cores, {platform.machine()}, torch {torch.__version__}",
        "vit": VIT,
        "weights": weights.name if weights else "random",
        "threads": threads,
        "costs": rows,
        "cosines": cosines,
    }
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    print(costs_table(rows), cosine_table(cosines), sep="\n\n")


@app.command()
def measure(way: str, side: int, weights: Path | None = None, threads: int = 1) -> None:
    """Print seconds and peak memory of one image of noise as a line of JSON."""
    from vqa import memory

    torch.set_num_threads(threads)
    torch.manual_seed(0)
    encoder = _encoder(way, side, weights)
    clock = time.thread_time if threads == 1 else time.perf_counter
    image = torch.randint(256, (3, side, side), dtype=torch.uint8)
    _features(encoder, image[:, :28, :28])  # libraries load now
    _forget_peak()
    resident = memory.resident()
    seconds: list[float] = []
    while not seconds or (seconds[0] < LONG and len(seconds) < REPEATS):
        start = clock()
        _features(encoder, image)
        seconds.append(clock() - start)
    print(json.dumps({"seconds": min(seconds), "peak_bytes": memory.peak() - resident}))


@app.command()
def compare(
    images: list[Path],
    weights: Path | None = None,
    fit: Annotated[list[Path] | None, Option()] = None,
    threads: int = 1,
) -> None:
    """Print the mean cosine to softmax over the whole image, by way, as a line of JSON."""
    torch.set_num_threads(threads)
    pictures = [_open(path) for path in images]
    whole = _encoder(WHOLE, COMPARED, weights)
    expected = [_features(whole, picture) for picture in pictures]
    ways = {TILES: _encoder(TILES, COMPARED, weights)}
    for radius in RADII:
        ways[f"Latte, radius {radius}"] = _encoder(LATTE, COMPARED, weights, radius)
    cosines: Row = {"image": [path.name for path in images]}
    if fit:
        start = time.thread_time()
        ways[f"{LATTE}, fitted"] = _fitted(fit, weights)
        cosines["fit_seconds"] = time.thread_time() - start
    for way, encoder in ways.items():
        cosines[way] = [
            torch.cosine_similarity(_features(encoder, picture), features, dim=-1).mean().item()
            for picture, features in zip(pictures, expected, strict=True)
        ]
    print(json.dumps(cosines))


def costs_table(rows: list[Row]) -> str:
    """A Markdown table, a line a size: seconds and MiB of each way."""
    lines = ["| px | patches | " + " | ".join(WAYS) + " |", "| --- " * (2 + len(WAYS)) + "|"]
    for side in dict.fromkeys(row["side"] for row in rows):
        cells = []
        for row in (row for row in rows if row["side"] == side):
            cell = "not run"
            if "seconds" in row:
                cell = f"{row['seconds']:.2f} s, {row['peak_bytes'] / 2**20:.0f} MiB"
            cells.append(cell)
        lines.append(f"| {side} | {(side // 14) ** 2:,} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def cosine_table(cosines: Row) -> str:
    """A Markdown table, a line a way: the cosine on each picture and their mean."""
    lines = []
    for way, found in cosines.items():
        if not isinstance(found, list):
            continue
        if way == "image":
            cells = [*found, "mean"]
        else:
            cells = [f"{cosine:.3f}" for cosine in (*found, sum(found) / len(found))]
        lines.append(f"| {way} | " + " | ".join(cells) + " |")
        if way == "image":
            lines.append("| --- " * (1 + len(cells)) + "|")
    return "\n".join(lines)


def _forget_peak() -> None:
    """Give back what loading the weights has freed, and count the peak from here (Linux)."""
    if sys.platform == "linux":
        ctypes.CDLL(None).malloc_trim(0)
        with suppress(OSError):
            Path("/proc/self/clear_refs").write_text("5", encoding="ascii")


def _affordable(before: Row, row: Row) -> bool:
    """Whether the next size stays within SECONDS and MEMORY, from that before."""
    if "seconds" not in before:
        return False
    growth = (row["patches"] / before["patches"]) ** 2
    return before["seconds"] * growth < SECONDS and before["peak_bytes"] * growth < MEMORY


def _encoder(way: str, side: int, weights: Path | None, radius: int = 7) -> Any:
    from encoders.vision.vit import Encoder

    words: Row = {"attention": "latte", "attention_args": {"radius": radius}}
    if way != LATTE:
        words = {"tile": side, "overview": False} if way == WHOLE else {"tile": 224}
    encoder = Encoder(192, VIT, **words).eval()
    if weights is not None:
        encoder.load_vit(str(weights))
    return encoder


def _fitted(folders: list[Path], weights: Path | None) -> Any:
    """A converted encoder with its latents fitted to `FITTED` pictures of each folder."""
    from encoders.vision.transfer_vit import fit_latents

    encoder = _encoder(LATTE, COMPARED, weights)
    images = []
    for folder in folders:
        files = sorted(path for path in folder.rglob("*") if path.suffix.lower() in PICTURES)
        for path in files[:: max(1, len(files) // FITTED)][:FITTED]:
            images.append(((_open(path) / 255 - encoder.mean) / encoder.std).unsqueeze(0))
    for layer, errors in enumerate(fit_latents(encoder.vit, images)):
        print(layer, *(f"{error:.3f}" for error in errors), file=sys.stderr, flush=True)
    return encoder


@torch.inference_mode()
def _features(encoder: Any, image: Tensor) -> Tensor:
    """Of the patches of the image, without those of its overview."""
    out = encoder.features([image])
    features: Tensor = out.tokens[0, : out.grids[0][0].size]
    return features


def _open(path: Path) -> Tensor:
    """A square of `COMPARED` pixels, cut from the middle."""
    with Image.open(path) as opened:
        picture = ImageOps.fit(opened.convert("RGB"), (COMPARED, COMPARED))
    return torch.from_numpy(np.array(picture)).permute(2, 0, 1)


def _child(*arguments: str) -> Row:
    """A command of this file in a process of its own; what it prints, parsed."""
    command = [sys.executable, __file__, *arguments]
    environment = os.environ | {"OMP_NUM_THREADS": arguments[arguments.index("--threads") + 1]}
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, env=environment)
    if done.returncode:
        sys.exit(f"{' '.join(arguments)} failed")
    row: Row = json.loads(done.stdout.splitlines()[-1])
    return row


if __name__ == "__main__":
    app() if len(sys.argv) > 1 and sys.argv[1] in ("measure", "compare") else typer.run(run)
