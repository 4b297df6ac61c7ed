"""Which blocks learn to find things in a picture, in how many steps, up to which grid?

    python benchmarks/retrieval.py train latte+conv
    python benchmarks/retrieval.py table

Trains a `Stack` on the pictures of `retrieval_data` with a curriculum of resolutions: each batch's
grid is drawn from 4, 8, 16, 32 and 64 patches a side, and larger grids unlock over the first half
of training. All variants see the same batches in the same order. Every evaluation appends a line
to benchmarks/results/retrieval.jsonl.
"""

import json
import random
import time
from pathlib import Path
from typing import Annotated, Any

import torch
import typer
from retrieval_data import ANSWERS, COLOURS, KINDS, SYMBOLS, Scene, generator, scenes
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from typer import Argument, Option

from encoders.position import sine_grid
from encoders.stack import Stack
from encoders.tiling import Grid, positions

RESULTS = Path(__file__).parent / "results" / "retrieval.jsonl"
IMAGES = 64  # a batch, at most
SOFTMAX = {"mixer": "attention", "heads": 4, "gain": 4.0}
LATTE = {"mixer": "latte", "heads": 2, "latents": 128, "gain": 8.0}
MACCHIATO = {**LATTE, "mixer": "macchiato"}
VARIANTS: dict[str, dict[str, Any]] = {
    "softmax": SOFTMAX,
    "softmax+conv": {**SOFTMAX, "grid_conv": True},
    "softmax+conv, gain 1": {**SOFTMAX, "gain": 1.0, "grid_conv": True},
    "latte": LATTE,
    "latte+conv": {**LATTE, "grid_conv": True},
    "latte+conv, 4 heads": {**LATTE, "heads": 4, "latents": 256, "grid_conv": True},
    "latte+conv, 4 heads, 64 latents, gain 1": {
        **LATTE,
        "heads": 4,
        "latents": 64,
        "gain": 1.0,
        "grid_conv": True,
    },
    "latte+vapor": {**LATTE, "vapor": True},
    "latte+short conv": {**LATTE, "recurrence": "conv"},
    "latte+rglru": {**LATTE, "recurrence": "rglru"},
    "macchiato": MACCHIATO,
    "macchiato+conv": {**MACCHIATO, "grid_conv": True},
}


class Reader(nn.Module):
    """Embedded patches and question tokens through a `Stack`; answers at the colour tokens."""

    def __init__(self, width: int, depth: int, **words: Any) -> None:
        super().__init__()
        self.colour = nn.Embedding(1 + COLOURS, width)
        self.symbol = nn.Embedding(SYMBOLS, width)
        self.question = nn.Embedding(len(KINDS) + 1 + COLOURS, width)
        self.stack = Stack(width, depth, **words)
        self.head = nn.Linear(width, ANSWERS)

    def forward(self, scene: Scene) -> Tensor:
        """Logits of the answers, `[B, n, ANSWERS]`."""
        side = round(scene.symbol.shape[1] ** 0.5)
        grid = Grid(side, side)
        patches = self.colour(scene.colour) + self.symbol(scene.symbol)
        words = torch.cat([scene.kind[:, None], len(KINDS) + scene.asked], 1)
        place = positions(grid).to(patches.device)
        after = place.new_tensor([(side, column) for column in range(words.shape[1])])
        patches = patches + sine_grid(place, patches.shape[-1])
        tokens = torch.cat([patches, self.question(words)], 1)
        places = torch.cat([place, after]).expand(len(tokens), -1, -1)
        read = self.stack(tokens, None, [(grid,)] * len(tokens), places)
        logits: Tensor = self.head(read[:, -scene.asked.shape[1] :])
        return logits


def unlocked(step: int, steps: int, grids: list[int]) -> list[int]:
    """The grids that batches are drawn from: one more at equal parts of the first half."""
    return grids[: 1 + 2 * step * len(grids) // steps]


def batch(grid: int, tokens: int, source: torch.Generator, kinds: list[int]) -> Scene:
    """As many pictures as `tokens` patches allow, at most IMAGES and at least one."""
    return scenes(grid, max(1, min(IMAGES, tokens // grid**2)), source, kinds)


@torch.no_grad()
def accuracy(
    model: Reader, grid: int, tokens: int, seed: int, images: int, kinds: list[int]
) -> dict[str, float]:
    """Share of right answers of each kind, on at least `images` unseen pictures of one grid."""
    right = {}
    for kind in kinds:
        hits, pictures, index = [], 0, 0
        while pictures < images:
            scene = batch(grid, tokens, generator(seed, index, train=False), [kind])
            hits.append((model(scene).argmax(-1) == scene.answer).flatten())
            pictures, index = pictures + len(scene.kind), index + 1
        right[KINDS[kind]] = round(torch.cat(hits).float().mean().item(), 4)
    return right


def train(
    variant: Annotated[str, Argument(help=f"One of {', '.join(VARIANTS)}.")],
    steps: int = 2000,
    every: Annotated[int, Option(help="Steps between evaluations.")] = 100,
    grids: Annotated[str, Option(help="Patches a side, smallest first.")] = "4,8,16,32,64",
    unseen: Annotated[str, Option(help="Grids evaluated at the end only.")] = "96",
    kinds: Annotated[str, Option(help="Which kinds of questions.")] = ",".join(KINDS),
    tokens: Annotated[int, Option(help="Patches of a batch, at most.")] = 4096,
    images: Annotated[int, Option(help="Pictures of an evaluation, at least.")] = 4,
    width: int = 64,
    depth: int = 4,
    rate: float = 1e-3,
    seed: int = 0,
    precision: Annotated[str, Option(help="float32 or bfloat16 (autocast).")] = "float32",
    change: Annotated[str, Option(help="Words of the Stack to change, as JSON.")] = "{}",
    out: Path = RESULTS,
) -> None:
    """Train one variant, evaluating on the way."""
    settings = {key: value for key, value in locals().items() if key != "out"}
    if variant not in VARIANTS:
        raise ValueError(f"no variant {variant!r}; there are: {', '.join(VARIANTS)}")
    settings["words"] = words = {**VARIANTS[variant], **json.loads(settings.pop("change"))}
    seen, extra = _numbers(grids), _numbers(unseen)
    asked = [KINDS.index(kind) for kind in kinds.split(",")]
    torch.manual_seed(seed)
    model = Reader(width, depth, **words)
    optimizer = torch.optim.AdamW(model.parameters(), rate)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, rate, total_steps=steps)
    dtype, seconds, losses = getattr(torch, precision), 0.0, []
    for step in range(steps):
        start = time.process_time()
        grid = random.Random(f"{seed} {step}").choice(unlocked(step, steps, seen))
        scene = batch(grid, tokens, generator(seed, step, train=True), asked)
        with torch.autocast("cpu", dtype, enabled=dtype != torch.float32):
            loss = cross_entropy(model(scene).flatten(0, 1), scene.answer.flatten())
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        seconds += time.process_time() - start
        losses.append(loss.item())
        done = step + 1
        if done % every == 0 or done == steps:
            sizes = seen + extra if done == steps else unlocked(step, steps, seen)
            right = {size: accuracy(model, size, tokens, seed, images, asked) for size in sizes}
            mean = sum(losses) / len(losses)
            losses.clear()
            line = {**settings, "step": done, "cpu_s": round(seconds, 1), "loss": round(mean, 4)}
            out.parent.mkdir(parents=True, exist_ok=True)
            with out.open("a") as file:
                file.write(json.dumps({**line, "accuracy": right}) + "\n")
            print(f"{done:5} {seconds:7.0f} s  loss {mean:.3f}  {_short(right)}", flush=True)


def table(results: Annotated[Path, Argument()] = RESULTS) -> None:
    """Print the runs of a file of results as a markdown table."""
    runs: dict[str, list[dict[str, Any]]] = {}
    for text in results.read_text().splitlines():
        line = json.loads(text)
        told = ("step", "cpu_s", "loss", "accuracy")
        runs.setdefault(json.dumps([line[k] for k in line if k not in told]), []).append(line)
    print(
        "| variant | run | grid | steps to 97 %: " + " | ".join(KINDS) + " | at the end | CPU s |"
    )
    print("| --- | --- | --- |" + " --- |" * (len(KINDS) + 2))
    for lines in runs.values():
        last = lines[-1]
        run = (
            f"width {last['width']}, grids {last['grids']}, {last['step']} of {last['steps']} steps"
        )
        for grid, right in last["accuracy"].items():
            reached = [_reached(lines, grid, kind) if kind in right else "" for kind in KINDS]
            end = " ".join(f"{100 * share:.1f}" for share in right.values())
            cells = [last["variant"], run, grid, *reached, end, str(last["cpu_s"])]
            print("| " + " | ".join(cells) + " |")


def _reached(lines: list[dict[str, Any]], grid: str, kind: str) -> str:
    """The first evaluation with 97 % of `kind`, to the nearest percent: 31 of 32 count."""
    for line in lines:
        if line["accuracy"].get(grid, {}).get(kind, 0) >= 0.965:
            return str(line["step"])
    return "-"


def _numbers(text: str) -> list[int]:
    return [int(part) for part in text.split(",") if part]


def _short(right: dict[int, dict[str, float]]) -> str:
    return "  ".join(
        f"{size}: " + " ".join(f"{100 * share:.0f}" for share in kinds.values())
        for size, kinds in right.items()
    )


if __name__ == "__main__":
    app = typer.Typer(add_completion=False)
    app.command()(train)
    app.command()(table)
    app()
