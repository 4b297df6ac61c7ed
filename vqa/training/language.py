"""Next-token training of language models with Lightning."""

import math
from dataclasses import asdict, dataclass, field
from typing import Any

from lightning.pytorch import LightningModule
from lightning.pytorch.utilities.types import OptimizerLRSchedulerConfig
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from torchmetrics import MeanMetric

from encoders.language.causal_lm import CausalLM
from vqa.data.text import serialize_tokenizer
from vqa.training.optimizer import adamw_with_cosine, decay_groups


@dataclass(frozen=True)
class LanguageNetwork:
    """Sizes of a causal language model (encoders/language/causal_lm.py)."""

    mixer: str = "latte"
    """A file of encoders/mixers."""
    dim: int = 128
    """Width."""
    depth: int = 4
    """Number of blocks."""
    heads: int = 2
    """Heads of the mixer."""
    mlp_ratio: float = 4.0
    """Width of the MLP over `dim`."""
    dropout: float = 0.0
    """Share of activations dropped in training."""
    mixer_args: dict[str, Any] = field(default_factory=dict)
    """Options of the mixer, such as latents."""

    def build(self, vocab_size: int) -> CausalLM:
        """The untrained model. Raises ValueError for options that the mixer does not have."""
        sizes = {name: value for name, value in asdict(self).items() if name != "mixer_args"}
        try:
            return CausalLM(vocab_size, **sizes, **self.mixer_args)
        except TypeError as error:
            reason = str(error).removeprefix("Mixer.__init__() ")
            raise ValueError(
                f"model.network.mixer_args {self.mixer_args} do not fit the mixer {self.mixer}: "
                f"{reason}; give its own, such as --model.network.mixer_args '{{latents: 128}}'"
            ) from None


def next_token_loss(logits: Tensor, ids: Tensor) -> Tensor:
    """Mean nats a token: `logits` `[B, T, V]` of `ids` `[B, T + 1]` without the last."""
    return cross_entropy(logits.flatten(0, 1).float(), ids[:, 1:].flatten())


class LanguageModule(LightningModule):
    """Trains a causal language model to predict the next token.

    Validation logs `val/loss` (nats a token), `val/perplexity` (its exponential) and
    `val/bits_per_character`: bits a token over the characters a token of the validation text has
    on average.

    Args:
        network: sizes and mixer of the model.
        lr: highest learning rate of AdamW, reached after the warm-up.
        min_lr_rate: learning rate at the end, as a share of lr.
        warmup_steps: optimizer steps from 0 to lr; a cosine leads down to the end of training.
        weight_decay: decay of weight matrices; norms, biases and embeddings have none.
        beta2: second-moment decay of AdamW.
    """

    def __init__(
        self,
        network: LanguageNetwork = LanguageNetwork(),  # noqa: B008 - frozen
        lr: float = 2e-3,
        min_lr_rate: float = 0.01,
        warmup_steps: int = 50,
        weight_decay: float = 0.05,
        beta2: float = 0.98,
    ) -> None:
        super().__init__()
        # Plain types only: a checkpoint must load with weights_only=True.
        self.save_hyperparameters({"network": asdict(network)})
        self.network = network
        self.lr, self.min_lr_rate, self.warmup_steps = lr, min_lr_rate, warmup_steps
        self.weight_decay, self.beta2 = weight_decay, beta2
        self.model: nn.Module | None = None
        self.val_loss = MeanMetric()

    @property
    def data(self) -> Any:
        """The data module of this training."""
        return self.trainer.datamodule  # type: ignore[attr-defined]

    def configure_model(self) -> None:
        """Build the model, once the data module has its vocabulary."""
        if self.model is None:
            self.model = self.network.build(len(self.data.tokenizer))

    def training_step(self, batch: Tensor, _: int) -> Tensor:
        loss = self._loss(batch)
        self.log("train/loss", loss, prog_bar=True, batch_size=len(batch))
        return loss

    def validation_step(self, batch: Tensor, _: int) -> None:
        self.val_loss.update(self._loss(batch), weight=batch[:, 1:].numel())

    def on_validation_epoch_end(self) -> None:
        loss = self.val_loss.compute()
        self.val_loss.reset()
        bits = loss / math.log(2) / self.data.characters_per_token
        self.log("val/loss", loss)
        self.log("val/perplexity", loss.exp(), prog_bar=True)
        self.log("val/bits_per_character", bits, prog_bar=True)

    def _loss(self, batch: Tensor) -> Tensor:
        assert self.model is not None
        return next_token_loss(self.model(batch[:, :-1]), batch)

    def configure_optimizers(self) -> OptimizerLRSchedulerConfig:
        groups = decay_groups(self.named_parameters(), self.weight_decay, ("table.weight",))
        return adamw_with_cosine(
            self, groups, self.lr, self.beta2, self.warmup_steps, self.min_lr_rate
        )

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        checkpoint["tokenizer"] = serialize_tokenizer(self.data.tokenizer)

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        if checkpoint["tokenizer"] != serialize_tokenizer(self.data.tokenizer):
            raise ValueError(
                "the checkpoint was trained with another tokenizer than this text gives; "
                "use the data.train and data.tokenizer it was trained with"
            )
