"""Weights of encoders/vision/glyphs.py from an OCR package, and letters as they see them.

    pip install --no-deps rapidocr && pip install onnx
    python benchmarks/glyph_weights.py MODELS --out runs/glyphs

MODELS is the folder `models` of the installed package rapidocr: its small detector and recogniser
(PP-OCRv6; PaddleOCR, Apache-2.0) are written as trunk.safetensors (`model.vit_weights`). Then
generated pages are read with them, and what they make of each letter is collected in
case.safetensors and case_val.safetensors (`type_case` of pages; the latter of fonts not shown in
training).
"""

import math
from pathlib import Path
from typing import Annotated, Any

import print_networks
import torch
import typer
from rapidfuzz.distance import Levenshtein
from safetensors.torch import save_file
from torch import Tensor
from tqdm import tqdm
from typer import Option

from encoders.vision.glyphs import Encoder, Letters, Trunk
from encoders.vision.line_reader import LETTERS, WIDTH
from encoders.vision.page_view import View, look
from encoders.vision.text_lines import Line
from vqa import datasets
from vqa.pages.type_case import GHOST

SIZES = (128, 192, 256, 320, 384, 512, 768)


def main(
    models: Annotated[Path, typer.Argument(help="Folder with PP-OCRv6_{det,rec}_small.onnx.")],
    out: Annotated[Path, Option(help="Folder to write to.")] = Path("runs/glyphs"),
    pages: Annotated[int, Option(help="Pages to collect letters from.")] = 240,
    fonts: str = "packages",
    threads: int = 1,
) -> None:
    """Convert the networks, and collect letters."""
    torch.set_num_threads(threads)
    trunk = Trunk()
    trunk.finder = print_networks.finder(models / "PP-OCRv6_det_small.onnx")
    trunk.reader = print_networks.reader(models / "PP-OCRv6_rec_small.onnx")
    out.mkdir(parents=True, exist_ok=True)
    halves = {name: weight.contiguous().half() for name, weight in trunk.state_dict().items()}
    save_file(halves, out / "trunk.safetensors")
    encoder = Encoder(8, local=0).eval()
    encoder.load_vit(str(out / "trunk.safetensors"))
    for name, split, count in (("case", "train", pages), ("case_val", "test", pages // 5)):
        features, codes, missed = collect(encoder, split, count, fonts)
        save_file({"features": features.half(), "codes": codes}, out / f"{name}.safetensors")
        ghosts = (codes == GHOST).float().mean()
        print(f"{name}: {len(codes):,} letters, {missed:.1%} missed, {ghosts:.1%} besides")


@torch.no_grad()
def collect(
    encoder: Encoder, split: str, count: int, fonts: str = "packages"
) -> tuple[Tensor, Tensor, float]:
    """Features and code points of what the encoder reads of `count` generated pages, GHOST where it
    reads a letter that is none, and the share of letters on lines that it reads but misses."""
    data: Any = datasets.create("pages", None, split, seed=1, fonts=fonts)
    features, codes, missed = [], [], 0
    for number in tqdm(range(count), desc=split):
        example, pixels = data.render(number, SIZES[number % len(SIZES)])
        view = encoder.view(pixels)
        page = look(pixels, view)
        for letters in encoder.lines(page):
            shown = shown_on(letters.line, example.letters, view)
            told, lost = aligned(shown, letters)
            if len(told) - told.count(GHOST) < 0.5 * len(told):
                continue  # not a line of the page, or of two of its lines
            features.append(letters.features[:, :WIDTH])
            codes += told
            missed += lost
    return torch.cat(features), torch.tensor(codes).int(), missed / max(1, len(codes))


def shown_on(line: Line, letters: Tensor, view: View) -> list[int]:
    """Code points of the page's `letters` (code, row and column in its pixels) that lie on `line`,
    in their order along it."""
    codes, down, across = letters.double().unbind(1)
    x, y = (across + 0.5) * view.scale - view.left, (down + 0.5) * view.scale - view.top
    cos, sin = math.cos(line.angle), math.sin(line.angle)
    along = (x - line.x) * cos + (y - line.y) * sin
    beside = (y - line.y) * cos - (x - line.x) * sin
    on = (along.abs() < line.length / 2) & (beside.abs() < 0.35 * line.height)
    order = along[on].argsort()
    return [int(code) for code in codes[on][order]]


def aligned(shown: list[int], letters: Letters) -> tuple[list[int], int]:
    """The code point that each of `letters` shows, GHOST where none, and how many were missed."""
    read = [ord(LETTERS[each - 1]) for each in letters.which]
    found = [GHOST] * len(read)
    missed = 0
    for step in Levenshtein.opcodes(shown, read):
        if step.tag in ("equal", "replace"):
            found[step.dest_start : step.dest_end] = shown[step.src_start : step.src_end]
        elif step.tag == "delete":
            missed += step.src_end - step.src_start
    return found, missed


if __name__ == "__main__":
    typer.run(main)
