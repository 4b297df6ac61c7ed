"""The language tasks of the Latte paper, from scratch and small: four mixers, two tokenizations.

    python benchmarks/language.py --text TRAIN.txt ... --val OTHER.txt ...

Every run has as many weights, steps and tokens as the others, in the same order. A point of a
learning curve is a line of benchmarks/results/language.jsonl; a finished run is not run again.
The table and language.svg beside it are written anew each time, from that file alone.
"""

import argparse
import json
import time
from pathlib import Path
from typing import Any

import torch
from language_report import curves_picture, table
from lightning.pytorch import Callback, LightningModule, Trainer, seed_everything
from torch.nn.functional import cross_entropy

from encoders.language.causal_lm import parameter_count
from vqa.training.language import LanguageModule, LanguageNetwork
from vqa.training.text_data import TextData

OUT = Path(__file__).parent / "results" / "language.jsonl"
POINTS = 12
"""Points of a learning curve."""
CURVE_BLOCKS, FINAL_BLOCKS = 16, 96
"""Validation blocks of 1,024 tokens at a point of the curve and at the end; half of 2,048."""

DEPTH = 2
MIXERS = {
    "softmax": LanguageNetwork("attention", depth=DEPTH, mixer_args={"rotary": True}),
    "Latte": LanguageNetwork("latte", depth=DEPTH, mixer_args={"latents": 128}),
    "Latte + VAPOR": LanguageNetwork(
        "latte", depth=DEPTH, mixer_args={"latents": 128, "vapor": True}
    ),
    # Its window has queries and keys of its own; the MLP pays for them.
    "Latte-Macchiato": LanguageNetwork(
        "macchiato", depth=DEPTH, mlp_ratio=3.0, mixer_args={"latents": 128, "window": 128}
    ),
}
TOKENIZATIONS: dict[str, dict[str, Any]] = {
    "characters": {"tokenizer": "characters", "length": 2048},
    "tokens": {"tokenizer": "bpe", "vocab_size": 2048, "length": 1024},
}
STEPS = {"characters": 800, "tokens": 1000}
"""Of one block each."""


class CurveWriter(Callback):
    """Appends a line to a file at every validation."""

    def __init__(self, path: Path, head: dict[str, Any]) -> None:
        self.path, self.head, self.start = path, head, time.process_time()

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        values = {name: float(value) for name, value in trainer.callback_metrics.items()}
        self.write(trainer.global_step, values)

    def write(self, step: int, values: dict[str, Any]) -> None:
        row = {**self.head, "step": step, "cpu_seconds": round(time.process_time() - self.start, 1)}
        with self.path.open("a", encoding="utf-8") as lines:
            lines.write(json.dumps(row | values) + "\n")


def run(data: TextData, tokenization: str, mixer: str, lr: float, path: Path) -> None:
    """Train one model and append its learning curve and its final score to `path`."""
    seed_everything(data.seed, verbose=False)
    module = LanguageModule(MIXERS[mixer], lr)
    head = {"tokenization": tokenization, "mixer": mixer, "lr": lr, "seed": data.seed}
    writer = CurveWriter(path, head | {"tokens_per_step": data.length * data.batch_size})
    steps = STEPS[tokenization]
    trainer = Trainer(
        accelerator="cpu",
        max_steps=steps,
        val_check_interval=max(1, steps // POINTS),
        num_sanity_val_steps=0,
        gradient_clip_val=1.0,
        callbacks=[writer],
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    trainer.fit(module, datamodule=data)
    model: Any = module.model
    counts = {"parameters": parameter_count(model), "vocab_size": len(data.tokenizer)}
    counts["characters_per_token"] = data.characters_per_token
    losses = block_losses(model, data, FINAL_BLOCKS * 1024 // data.length)
    writer.write(steps, {"final": True, "block_losses": losses} | counts)


@torch.no_grad()
def block_losses(model: torch.nn.Module, data: TextData, count: int) -> list[float]:
    """Mean nats a token of each of `count` blocks, spread evenly over the validation text."""
    model.eval()
    data.val_blocks = count
    blocks = torch.cat(list(data.val_dataloader()))
    return [
        round(float(cross_entropy(model(block[None, :-1])[0], block[1:])), 5) for block in blocks
    ]


def rows_of(path: Path) -> list[dict[str, Any]]:
    """The lines of `path`, none if there is no such file."""
    if not path.is_file():
        return []
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def drop_unfinished(path: Path) -> set[tuple[str, str, int]]:
    """The finished runs of `path`; the lines of others are removed."""
    rows = rows_of(path)
    finished = {_key(row) for row in rows if row.get("final")}
    kept = [row for row in rows if _key(row) in finished]
    if len(kept) < len(rows):
        path.write_text("".join(json.dumps(row) + "\n" for row in kept), encoding="utf-8")
    return finished


def _key(row: dict[str, Any]) -> tuple[str, str, int]:
    return row["tokenization"], row["mixer"], row["seed"]


def run_all(args: argparse.Namespace) -> None:
    """Run what is not finished yet."""
    finished = drop_unfinished(args.out)
    for tokenization, words in TOKENIZATIONS.items():
        missing = [m for m in MIXERS if (tokenization, m, args.seed) not in finished]
        data = TextData(args.text, args.val, batch_size=1, seed=args.seed, **words)
        for mixer in missing:
            data.val_blocks = CURVE_BLOCKS * 1024 // data.length
            run(data, tokenization, mixer, args.lr, args.out)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--text", nargs="+", required=True, help="training text, UTF-8 files")
    parser.add_argument("--val", nargs="+", required=True, help="validation text, other files")
    parser.add_argument("--lr", type=float, default=2e-3, help="learning rate of all runs")
    parser.add_argument("--seed", type=int, default=0, help="of weights and blocks")
    parser.add_argument("--out", type=Path, default=OUT, help="learning curves, a jsonl file")
    args = parser.parse_args()
    torch.set_num_threads(1)
    run_all(args)
    rows = rows_of(args.out)
    curves_picture(rows, args.out.with_suffix(".svg"))
    print(table(rows))


if __name__ == "__main__":
    main()
