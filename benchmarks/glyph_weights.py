"""Weights of encoders/vision/glyphs.py from a text recogniser, and letters as it sees them.

    pip install --no-deps rapidocr && pip install onnx
    python benchmarks/glyph_weights.py PP-OCRv6_rec_small.onnx --out runs/glyphs

The recogniser (Apache-2.0) comes with the package rapidocr. Its gates, averaged over lines of
generated pages, go into its convolutions; then two small convolutions learn on generated pages
where letters stand. Writes trunk.safetensors (`model.vit_weights`), case.safetensors and
case_val.safetensors (`type_case` of pages; the latter of fonts not trained on). 20 minutes on one
core.
"""

import random
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import glyph_recogniser
import torch
import typer
from glyph_recogniser import LINE, Recogniser
from safetensors.torch import save_file
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits, interpolate, max_pool2d
from tqdm import tqdm
from transformers import get_linear_schedule_with_warmup
from typer import Option

from encoders.vision.glyph_trunk import CELL, Trunk
from encoders.vision.glyphs import Encoder
from encoders.vision.page_view import look
from vqa import datasets
from vqa.pages.type_case import GHOST

SIZES = (128, 192, 224, 256, 288, 320)
NEAR = 0.4
"""How much a cell beside a letter's counts as having none: letters' middles are not that sharp."""
LETTERS = 4.0
"""How much a cell with a letter counts."""


class Page(NamedTuple):
    """What the trunk made of a page, and its letters: rows, columns (in cells) and code points."""

    convolved: Tensor
    rows: Tensor
    columns: Tensor
    codes: Tensor


def main(
    recogniser: Annotated[Path, typer.Argument(help="PP-OCRv6_rec_small.onnx")],
    out: Annotated[Path, Option(help="Folder to write to.")] = Path("runs/glyphs"),
    pages: Annotated[int, Option(help="Pages to learn from.")] = 110,
    epochs: int = 8,
    fonts: str = "packages",
    threads: int = 1,
) -> None:
    """Convert, learn where letters are, and collect them."""
    torch.set_num_threads(threads)
    torch.manual_seed(0)
    trunk = fold(glyph_recogniser.load(recogniser), fonts)
    seen, unseen = collect(trunk, "train", pages, fonts), collect(trunk, "test", pages // 5, fonts)
    standardise(trunk, seen)
    learn(trunk, seen, epochs)
    out.mkdir(parents=True, exist_ok=True)
    halves = {name: weight.contiguous().half() for name, weight in trunk.state_dict().items()}
    save_file(halves, out / "trunk.safetensors")
    for name, split in (("case", seen), ("case_val", unseen)):
        features, codes, missed, extra = letters_of(trunk, split)
        save_file({"features": features.half(), "codes": codes}, out / f"{name}.safetensors")
        print(f"{name}: {len(codes):,} letters, {missed:.1%} missed, {extra:.1%} besides")


@torch.no_grad()
def fold(model: Recogniser, fonts: str = "packages", lines: int = 180) -> Trunk:
    """The trunk, with its gates' mean over printed lines in its convolutions."""
    data: Any = datasets.create("pages", None, "train", fonts=fonts)
    rng, found = random.Random(0), []
    while len(found) < lines:
        example, page = data.render(rng.randrange(len(data)), 256)
        scale = rng.choice((2, 3))
        large = interpolate(page[None].float(), scale_factor=scale, mode="bicubic")[0].clamp(0, 255)
        _, down, across = (scale * rng.choice(example.letters)).tolist()
        top = min(max(0, down - LINE // 2), max(0, large.shape[1] - LINE))
        line = large[:, top : top + LINE, max(0, across - 160) : across + 160]
        if line.shape[1] == LINE:
            found.append(model.gates_of(line))
    return model.folded([torch.stack(each).mean(0) for each in zip(*found, strict=True)])


@torch.no_grad()
def collect(trunk: Trunk, split: str, count: int, fonts: str = "packages") -> list[Page]:
    """Generated pages as the trunk sees them at the size at which it is shown them."""
    data: Any = datasets.create("pages", None, split, seed=1, fonts=fonts)
    encoder, found = Encoder(8, local=0), []
    for number in tqdm(range(count), desc=split):
        example, pixels = data.render(number, SIZES[number % len(SIZES)])
        view = encoder.view(pixels)
        convolved = trunk.convolved(look(pixels, view))
        codes, down, across = example.letters.long().unbind(1)
        rows = (((down + 0.5) * view.scale - view.top) / CELL).floor().long()
        columns = (((across + 0.5) * view.scale - view.left) / CELL).floor().long()
        inside = (rows >= 0) & (columns >= 0)
        inside &= (rows < 2 * convolved.shape[1]) & (columns < convolved.shape[2] // 2)
        found.append(Page(convolved.half(), rows[inside], columns[inside], codes[inside]))
    return found


@torch.no_grad()
def standardise(trunk: Trunk, pages: list[Page]) -> None:
    """Features of letters get mean 0 and variance 1."""
    cells = (trunk.cells(page.convolved.float())[page.rows, page.columns] for page in pages)
    found = torch.cat(list(cells))
    trunk.shift.copy_(found.mean(0))
    trunk.scale.copy_(1 / (found.std(0) + 1e-3))


def learn(trunk: Trunk, pages: list[Page], epochs: int) -> None:
    """Trains what tells where letters are."""
    learned = [*trunk.seen.parameters(), *trunk.around.parameters(), *trunk.letter.parameters()]
    optimizer = torch.optim.AdamW(learned, 2e-3, weight_decay=0.01)
    steps = epochs * len(pages)
    schedule = get_linear_schedule_with_warmup(optimizer, steps // 20, steps)
    for _ in tqdm(range(epochs), desc="learn"):
        for number in torch.randperm(len(pages)).tolist():
            page = pages[number]
            logits = trunk.letters(page.convolved.float())
            target = torch.zeros_like(logits)
            target[page.rows, page.columns] = 1
            beside = max_pool2d(target[None], 3, 1, 1)[0] - target
            each = binary_cross_entropy_with_logits(logits, target, reduction="none")
            weight = (1 - (1 - NEAR) * beside) * (1 + (LETTERS - 1) * target)
            optimizer.zero_grad()
            ((each * weight).sum() / target.sum().clamp(min=1)).backward()
            torch.nn.utils.clip_grad_norm_(learned, 1.0)
            optimizer.step()
            schedule.step()


@torch.no_grad()
def letters_of(trunk: Trunk, pages: list[Page]) -> tuple[Tensor, Tensor, float, float]:
    """Features and code points of what the encoder keeps of `pages`; the shares of letters that it
    misses, and of cells that it keeps besides, which are GHOSTs."""
    encoder, features, codes, count, missed = Encoder(8, local=0), [], [], 0, 0
    for page in pages:
        places = zip(page.rows.tolist(), page.columns.tolist(), strict=True)
        at = {place: number for number, place in enumerate(places)}
        chance = trunk.letters(page.convolved.float()).sigmoid()
        cells = trunk.cells(page.convolved.float())
        kept = encoder.kept(chance)
        count += len(at)
        for row, column in kept:
            around = ((row + down, column + across) for down, across in _AROUND)
            number = at.pop(next((place for place in around if place in at), (-1, -1)), None)
            features.append(cells[row, column])
            codes.append(GHOST if number is None else int(page.codes[number]))
        missed += len(at)
    ghosts = codes.count(GHOST)
    return torch.stack(features), torch.tensor(codes).int(), missed / count, ghosts / count


_AROUND = sorted(
    ((down, across) for down in (-1, 0, 1) for across in (-1, 0, 1)),
    key=lambda place: abs(place[0]) + abs(place[1]),
)

if __name__ == "__main__":
    typer.run(main)
