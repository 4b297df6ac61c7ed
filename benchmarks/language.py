"""The language tasks of the Latte paper, from scratch and small: four mixers, two tokenizations.

    python benchmarks/language.py --text TRAIN.txt ... --val OTHER.txt ...

Every run has as many weights, steps and tokens as the others, in the same order. A point of a
learning curve is a line of benchmarks/results/language.jsonl; a finished run is not run again.
The table and language.svg beside it are written anew each time, from that file alone.
"""

import argparse
import json
import time
from itertools import product
from pathlib import Path
from typing import Any

import torch
from language_report import curves_picture, equal_steps_table, table
from lightning.pytorch import Callback, LightningModule, Trainer, seed_everything
from torch.nn.functional import cross_entropy

from encoders.language.causal_lm import parameter_count
from vqa.training.language import LanguageModule, LanguageNetwork
from vqa.training.text_data import TextData

OUT = Path(__file__).parent / "results" / "language.jsonl"
POINTS, SEGMENTS = 10, 5
"""Points of a learning curve, and parts of a run that are saved; both divide the steps."""
CURVE_BLOCKS, FINAL_BLOCKS = 16, 96
"""Validation blocks of 1,024 tokens at a point of the curve and at the end; half of 2,048."""

SIZES: dict[str, Any] = {"dim": 256, "depth": 3, "heads": 4}
LATENTS: dict[str, Any] = {"latents": 256}
MIXERS = {
    "softmax": LanguageNetwork("attention", **SIZES, mixer_args={"rotary": True}),
    "Latte": LanguageNetwork("latte", **SIZES, mixer_args=LATENTS),
    "Latte + VAPOR": LanguageNetwork("latte", **SIZES, mixer_args=LATENTS | {"vapor": True}),
    # Its window has queries and keys of its own; the MLP pays for them.
    "Latte-Macchiato": LanguageNetwork(
        "macchiato",
        **SIZES,
        mlp_ratio=3.0,
        mixer_args=LATENTS | {"window": 128, "vapor": True, "open_gate": True},
    ),
}
TOKENIZATIONS: dict[str, dict[str, Any]] = {
    "characters": {"tokenizer": "characters", "length": 2048, "batch_size": 1},
    "tokens": {"tokenizer": "bpe", "vocab_size": 2048, "length": 1024, "batch_size": 2},
}
STEPS = {"characters": 600, "tokens": 600}
"""Of 2,048 tokens each."""


class CurveWriter(Callback):
    """Appends a line to a file at every validation; stops at step `goal`, which it saves."""

    def __init__(self, path: Path, head: dict[str, Any], goal: int, checkpoint: Path) -> None:
        self.path, self.head, self.goal, self.checkpoint = path, head, goal, checkpoint
        self.start = time.process_time()

    def on_train_batch_end(self, trainer: Trainer, *_: Any) -> None:
        if trainer.global_step == self.goal:
            trainer.save_checkpoint(self.checkpoint)

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        values = {name: float(value) for name, value in trainer.callback_metrics.items()}
        self.write(trainer.global_step, values)
        if trainer.global_step >= self.goal:
            trainer.should_stop = True

    def write(self, step: int, values: dict[str, Any]) -> None:
        """Append a line; CPU seconds are those of this segment so far."""
        seconds = round(time.process_time() - self.start, 1)
        row = {**self.head, "step": step, "cpu_seconds": seconds}
        with self.path.open("a", encoding="utf-8") as lines:
            lines.write(json.dumps(row | values) + "\n")


def run(data: TextData, tokenization: str, mixer: str, lr: float, path: Path, goal: int) -> None:
    """Train one model on to step `goal`; append its learning curve to `path`."""
    seed_everything(data.seed, verbose=False)
    module = LanguageModule(MIXERS[mixer], lr)
    head = {"tokenization": tokenization, "mixer": mixer, "lr": lr, "seed": data.seed}
    head |= {"segment": goal, "tokens_per_step": data.length * data.batch_size}
    checkpoint = checkpoint_of(path, tokenization, mixer, data.seed)
    writer = CurveWriter(path, head, goal, checkpoint)
    trainer = Trainer(
        accelerator="cpu",
        max_steps=STEPS[tokenization],
        val_check_interval=STEPS[tokenization] // POINTS,
        num_sanity_val_steps=0,
        gradient_clip_val=1.0,
        callbacks=[writer],
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    data.val_blocks = CURVE_BLOCKS * 1024 // data.length
    trainer.fit(module, datamodule=data, ckpt_path=checkpoint if checkpoint.exists() else None)
    if goal == STEPS[tokenization]:
        model: Any = module.model
        counts = {"parameters": parameter_count(model), "vocab_size": len(data.tokenizer)}
        counts["characters_per_token"] = data.characters_per_token
        losses = block_losses(model, data, FINAL_BLOCKS * 1024 // data.length)
        writer.write(goal, {"final": True, "block_losses": losses} | counts)


def checkpoint_of(path: Path, tokenization: str, mixer: str, seed: int) -> Path:
    """Where a run that goes on later is saved."""
    name = f"{tokenization}_{mixer}_{seed}.ckpt".replace(" ", "")
    return path.with_name(f"{path.stem}_checkpoints") / name


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
    """The lines of `path`, none if there is no such file; of a segment run twice the later ones."""
    lines = path.read_text(encoding="utf-8").splitlines() if path.is_file() else []
    rows = map(json.loads, lines)
    return list({(*key_of(r), r["step"], bool(r.get("final"))): r for r in rows}.values())


def key_of(row: dict[str, Any]) -> tuple[str, str, int]:
    """Which run a line belongs to."""
    return row["tokenization"], row["mixer"], row["seed"]


def ends_segment(row: dict[str, Any]) -> bool:
    """Whether nothing of a segment is missing once it has this line."""
    last: bool = row["segment"] == STEPS[row["tokenization"]]
    return row["step"] == row["segment"] and (not last or bool(row.get("final")))


def run_all(args: argparse.Namespace) -> None:
    """Run what is not finished yet, all runs in turn segment by segment.

    So they can be compared at equal steps whenever this is stopped.
    """
    done = {key_of(row): row["step"] for row in rows_of(args.out) if ends_segment(row)}
    data = {
        name: TextData(args.text, args.val, seed=args.seed, **options)
        for name, options in TOKENIZATIONS.items()
    }
    for segment in range(1, SEGMENTS + 1):
        for tokenization, mixer in product(TOKENIZATIONS, MIXERS):
            goal = STEPS[tokenization] * segment // SEGMENTS
            if goal > done.get((tokenization, mixer, args.seed), 0):
                run(data[tokenization], tokenization, mixer, args.lr, args.out, goal)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--text", nargs="+", required=True, help="training text, UTF-8 files")
    parser.add_argument("--val", nargs="+", required=True, help="validation text, other files")
    parser.add_argument("--lr", type=float, default=1.5e-3, help="learning rate of all runs")
    parser.add_argument("--seed", type=int, default=0, help="of weights and blocks")
    parser.add_argument("--out", type=Path, default=OUT, help="learning curves, a jsonl file")
    args = parser.parse_args()
    torch.set_num_threads(1)
    run_all(args)
    rows = rows_of(args.out)
    curves_picture(rows, args.out.with_suffix(".svg"))
    print(equal_steps_table(rows), table(rows), sep="\n\n")


if __name__ == "__main__":
    main()
