"""Training: what Lightning needs to know about the model."""

from dataclasses import asdict
from typing import Any

import torch
from lightning.pytorch import LightningModule
from lightning.pytorch.utilities.types import OptimizerLRSchedulerConfig
from torch import Tensor
from torch.optim import AdamW
from torch.optim.lr_scheduler import LRScheduler
from transformers import get_cosine_with_min_lr_schedule_with_warmup

from vqa import tokenizer as tokenizers
from vqa.batch import Batch
from vqa.config import Network
from vqa.model import LatteVQA, build
from vqa.questions import token_counts


class VQAModule(LightningModule):
    """Trains a `LatteVQA` to write the answer, and counts right answers as it would write them.

    The network is built when training starts, for its vocabulary is that of the data's tokenizer; a
    checkpoint carries the tokenizer, so it can be exported without the data.

    Args:
        network: sizes, mixer and image encoder of the network.
        lr: highest learning rate of AdamW, reached after the warm-up.
        min_lr_rate: learning rate at the end, as a share of lr.
        warmup_steps: optimiser steps from 0 to lr; a cosine leads down to the end of training.
        weight_decay: decay of weight matrices; norms, biases and embeddings have none.
        beta2: second-moment decay of AdamW.
        max_answer_tokens: longest answer written in validation and prediction.
        vit_weights: a file of pretrained weights for the ViT (timm's key names), or "pretrained"
            for those that timm downloads; none trains it from scratch.
        compile: compile the network with torch.compile (costs a minute at the start).
    """

    def __init__(
        self,
        network: Network = Network(),  # noqa: B008 - frozen
        lr: float = 1e-3,
        min_lr_rate: float = 0.01,
        warmup_steps: int = 150,
        weight_decay: float = 0.05,
        beta2: float = 0.98,
        max_answer_tokens: int = 32,
        vit_weights: str | None = None,
        compile: bool = False,
    ) -> None:
        super().__init__()
        # Plain types only: a checkpoint must load with weights_only=True.
        self.save_hyperparameters({"network": asdict(network)})
        self.network = network
        self.lr = lr
        self.min_lr_rate = min_lr_rate
        self.warmup_steps = warmup_steps
        self.weight_decay = weight_decay
        self.beta2 = beta2
        self.max_answer_tokens = max_answer_tokens
        self.vit_weights = vit_weights
        self.compile_network = compile
        self.model: LatteVQA | None = None
        self.tokenizer: Any = None
        self.forward_loss: Any = None

    def configure_model(self) -> None:
        """Called by Lightning, once the data module has its tokenizer."""
        if self.model is not None:
            return
        self.tokenizer = self.trainer.datamodule.tokenizer  # type: ignore[attr-defined]
        self.model = build(self.network, self.tokenizer)
        if self.vit_weights:
            self.model.vision.load_vit(self.vit_weights)
        self.forward_loss = torch.compile(self.model) if self.compile_network else self.model

    def training_step(self, batch: Batch, _: int) -> Tensor:
        loss: Tensor = self.forward_loss(batch.answer, labels=batch.labels, **batch.inputs()).loss
        self.log("train/loss", loss, prog_bar=True, batch_size=len(batch))
        real, padded = token_counts(batch, self.model.vision.count)  # type: ignore[union-attr]
        self.log("train/padding", 1 - real / padded, batch_size=len(batch))
        return loss

    def validation_step(self, batch: Batch, _: int) -> None:
        self._evaluate(batch, "val")

    def test_step(self, batch: Batch, _: int) -> None:
        self._evaluate(batch, "test")

    def predict_step(self, batch: Batch, _: int) -> list[dict[str, Any]]:
        """Results of the batch in the VQA order: question_id and answer."""
        answers = self._answers(batch, None)
        return [
            {"question_id": example.question_id, "answer": answer}
            for example, answer in zip(batch.examples, answers, strict=True)
        ]

    def _evaluate(self, batch: Batch, stage: str) -> None:
        assert self.model is not None
        cache = self.model.read(**batch.inputs())  # type: ignore[arg-type]
        if batch.answer is not None:
            loss = self.model(batch.answer, past_key_values=cache, labels=batch.labels).loss
            self.log(f"{stage}/loss", loss, batch_size=len(batch), sync_dist=True)
        score = self.trainer.datamodule.score  # type: ignore[attr-defined]
        pairs = zip(self._answers(batch, cache), batch.examples, strict=True)
        right = sum(score(answer, example.answers) for answer, example in pairs)
        name, share = f"{stage}/accuracy", right / len(batch)
        self.log(name, share, prog_bar=True, batch_size=len(batch), sync_dist=True)

    def _answers(self, batch: Batch, cache: Any) -> list[str]:
        assert self.model is not None
        if cache is None:
            cache = self.model.read(**batch.inputs())  # type: ignore[arg-type]
        written = self.model.generate(cache, max_new_tokens=self.max_answer_tokens)
        return [tokenizers.decode(self.tokenizer, row) for row in written.tolist()]

    def configure_optimizers(self) -> OptimizerLRSchedulerConfig:
        matrices: list[Tensor] = []
        others: list[Tensor] = []
        for name, weight in self.named_parameters():
            plain = weight.dim() < 2 or name.endswith(("table.weight", "kind", "token"))
            (others if plain else matrices).append(weight)
        groups = [
            {"params": matrices, "weight_decay": self.weight_decay},
            {"params": others, "weight_decay": 0.0},
        ]
        optimizer = AdamW(groups, lr=self.lr, betas=(0.9, self.beta2), fused=True)
        schedule: LRScheduler = get_cosine_with_min_lr_schedule_with_warmup(
            optimizer,
            self.warmup_steps,
            int(self.trainer.estimated_stepping_batches),
            min_lr_rate=self.min_lr_rate,
        )
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        checkpoint["tokenizer"] = self.tokenizer.backend_tokenizer.to_str()

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        if checkpoint["tokenizer"] != self.tokenizer.backend_tokenizer.to_str():
            raise ValueError(
                "the checkpoint was trained with another tokenizer than this data set gives; "
                "use the data and tokenizer it was trained with"
            )
