"""What `vqa predict` leaves behind: answers on disk batch by batch, never all of them in memory."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import BasePredictionWriter


class ResultsWriter(BasePredictionWriter):
    """Writes `results.json` (the VQA order) into the log folder of `vqa predict`.

    Lines go to `results.RANK.jsonl` as they come; rank 0 joins them at the end, each question once,
    for a distributed sampler repeats some to make the ranks even.
    """

    def __init__(self) -> None:
        super().__init__(write_interval="batch")

    def on_predict_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        folder(trainer).mkdir(parents=True, exist_ok=True)
        part(trainer, trainer.global_rank).write_text("", encoding="utf-8")

    def write_on_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        prediction: Any,
        batch_indices: Sequence[int] | None,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int,
    ) -> None:
        with part(trainer, trainer.global_rank).open("a", encoding="utf-8") as lines:
            lines.writelines(json.dumps(row, ensure_ascii=False) + "\n" for row in prediction)

    def on_predict_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        trainer.strategy.barrier()
        if trainer.global_rank != 0:
            return
        rows: dict[str, Any] = {}
        for rank in range(trainer.world_size):
            for line in part(trainer, rank).read_text(encoding="utf-8").splitlines():
                row = json.loads(line)
                rows.setdefault(row["question_id"], row)
            part(trainer, rank).unlink()
        target = folder(trainer) / "results.json"
        text = json.dumps(list(rows.values()), ensure_ascii=False, indent=1)
        target.write_text(text + "\n", encoding="utf-8")


def folder(trainer: Trainer) -> Path:
    """Where the trainer logs."""
    return Path(trainer.log_dir or trainer.default_root_dir)


def part(trainer: Trainer, rank: int) -> Path:
    """The lines written by one process."""
    return folder(trainer) / f"results.{rank}.jsonl"
