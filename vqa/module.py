"""Training: what Lightning needs to know about the model."""

import warnings
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import LightningModule
from lightning.pytorch.utilities.types import OptimizerLRSchedulerConfig
from torch import Tensor, nn

from encoders.vision.sheet import ImageTokens
from vqa import checkpoint
from vqa import tokenizer as tokenizers
from vqa.batch import IGNORE, Batch
from vqa.config import Network
from vqa.features import Features, encode_alone, of_vision
from vqa.marking import marks_of
from vqa.model import LatteVQA, build
from vqa.questions import token_counts
from vqa.reading import LetterReader
from vqa.sharding import shard
from vqa.tallying import known_of
from vqa.training.optimizer import adamw_with_cosine, decay_groups


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
        init_from: a model folder (of `vqa export`) whose weights training begins with; its network
            and tokenizer (data.tokenizer) must be those of this training.
        vit_weights: a file of pretrained weights for the ViT (timm's key names), or "pretrained"
            for those that timm downloads; none trains it from scratch.
        language_model: folder of a converted language model (of `vqa convert`) that reads the
            question and writes the answer; data.tokenizer must be the same folder.
        language_lr: highest learning rate of the language model's own weights, which know language
            already; lr is for all that is new. Its embedding of words stays as it is.
        language_frozen: so many of its first layers stay as they are, too: less to compute.
        freeze_vision: leave the image encoder as it is at the start, for vit_weights or a
            checkpoint; its map to the network's width learns. Images are encoded one by one, so
            that neither a batch nor data.features, which keeps features on disk, changes a bit.
        reading_weight: how much naming the letters on the image counts beside answering, for a data
            set that tells where they stand (pages).
        images_at_once: training reads so many images of a batch together, those of similar size:
            less padding where sizes differ, the same questions a step. None: all of them.
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
        init_from: str | None = None,
        vit_weights: str | None = None,
        language_model: str | None = None,
        language_lr: float = 1e-4,
        language_frozen: int = 0,
        freeze_vision: bool = False,
        reading_weight: float = 0.0,
        images_at_once: int | None = None,
        compile: bool = False,
    ) -> None:
        super().__init__()
        if reading_weight and (freeze_vision or network.vision.encoder == "glyphs"):
            raise ValueError(
                "model.reading_weight teaches the image encoder to name letters: set it to 0 for "
                "one that is frozen (model.freeze_vision) or that keeps letters alone (glyphs)"
            )
        if network.transcript and language_model is None:
            raise ValueError(
                "model.network.transcript is for a language model to read: set "
                "model.language_model, or transcript to false"
            )
        if language_model is not None:
            config = checkpoint.language_config(language_model)
            network = replace(network, language_model=config)
        # Plain types only: a checkpoint must load with weights_only=True.
        self.save_hyperparameters({"network": asdict(network)})
        self.network = network
        self.lr = lr
        self.min_lr_rate = min_lr_rate
        self.warmup_steps = warmup_steps
        self.weight_decay = weight_decay
        self.beta2 = beta2
        self.max_answer_tokens = max_answer_tokens
        self.init_from = init_from
        self.vit_weights = vit_weights
        self.language_model = language_model
        self.language_lr = language_lr
        self.language_frozen = language_frozen
        self.freeze_vision = freeze_vision
        self.named_at = 0
        self.reading_weight = reading_weight
        self.images_at_once = images_at_once
        self.compile_network = compile
        self.model: LatteVQA | None = None
        self.reader = LetterReader(network.dim) if reading_weight else None
        self.tokenizer: Any = None
        self.forward_loss: Any = None

    def configure_model(self) -> None:
        """Called by Lightning, once the data module has its tokenizer."""
        if self.model is not None:
            return
        self.tokenizer = self.trainer.datamodule.tokenizer  # type: ignore[attr-defined]
        self.model = build(self.network, self.tokenizer)
        transcribes = getattr(self.trainer.datamodule, "transcripts", None) is not None  # type: ignore[attr-defined]
        if transcribes != self.network.transcript:
            raise ValueError(
                "the text of images is read with model.network.transcript true and kept in the "
                "folder data.transcripts: give both or neither"
            )
        if self.language_model:
            self._check_tokenizer("language_model", Path(self.language_model))
            self.model.decoder.load(self.language_model)
            self.model.decoder.freeze(self.language_frozen)
        if self.init_from:
            self._begin(checkpoint.find(self.init_from))
        if self.vit_weights:
            self.model.vision.load_vit(self.vit_weights)
        if self.freeze_vision:
            self.model.vision.trunk.requires_grad_(False).eval()
            warnings.filterwarnings("ignore", r"Found \d+ module\(s\) in eval mode")
        mesh = getattr(self.trainer.strategy, "device_mesh", None)
        if mesh is not None:
            shard(self.model, mesh)
        self.forward_loss = torch.compile(self.model) if self.compile_network else self.model

    def _begin(self, folder: Path) -> None:
        """Takes over the weights of `folder`, whose words must mean what they mean here."""
        assert self.model is not None
        self._check_tokenizer("init_from", folder)
        checkpoint.fill(self.model, folder)

    def _check_tokenizer(self, option: str, folder: Path) -> None:
        theirs = tokenizers.to_json(tokenizers.load(str(folder)))
        if theirs != tokenizers.to_json(self.tokenizer):
            raise ValueError(
                f"model.{option} {folder} has another tokenizer than this training; "
                f"set data.tokenizer to {folder}"
            )

    def train(self, mode: bool = True) -> "VQAModule":
        """A frozen image encoder stays in eval mode."""
        super().train(mode)
        if self.freeze_vision and self.model is not None:
            self.model.vision.trunk.eval()
        return self

    def on_fit_start(self) -> None:
        self.name_features()

    def on_train_start(self) -> None:
        """Counts the epoch that begins here after a checkpoint of the last batch of another.

        Lightning (2.6) goes on with it as if in mid-epoch and does not count it as begun: a second
        resumption, from a checkpoint of this epoch, would begin it anew.
        """
        loop = self.trainer.fit_loop
        if not loop.restarted_mid_epoch:
            return
        progress: Any
        for progress in (loop.epoch_progress.total, loop.epoch_progress.current):
            if progress.ready == progress.processed:
                progress.ready += 1
                progress.started += 1

    def name_features(self) -> None:
        """Tells the data of which image encoder its features are, before any worker asks."""
        features = self._features()
        if features is not None:
            assert self.model is not None
            trunk = self.model.vision.trunk
            features.weights = of_vision(self.network, trunk, str(self.trainer.precision))
            self.named_at = _version(trunk)

    def training_step(self, batch: Batch, _: int) -> Tensor:
        parts = batch.parts(self.images_at_once) if self.images_at_once else [batch]
        losses = [self._losses(part) for part in parts]
        share = [len(part) / len(batch) for part in parts]
        means = {
            name: torch.stack([w * each[name] for w, each in zip(share, losses, strict=True)]).sum()
            for name in losses[0]
        }
        shown = ("train/loss", "train/letters")
        for name, value in means.items():
            self.log(name, value, prog_bar=name in shown, batch_size=len(batch))
        assert self.model is not None
        counts = [token_counts(part, self.model.vision.count) for part in parts]
        real, padded = map(sum, zip(*counts, strict=True))
        self.log("train/padding", 1 - real / padded, batch_size=len(batch))
        loss: Tensor = means["train/loss"]
        if self.reader is not None:
            loss = loss + self.reading_weight * means["train/reading"]
        return loss

    def _losses(self, batch: Batch) -> dict[str, Tensor]:
        """The loss of answering; where letters are to be named, that loss and the share named
        right."""
        inputs = self._inputs(batch)
        losses: dict[str, Tensor] = {}
        if self.reader is not None:
            assert self.model is not None
            # The images become the tokens that letters were read from.
            read = self.reader(self._seen(inputs), batch.letters, self.model.vision.patch)
            losses["train/reading"], losses["train/letters"] = read
        self._mark(batch, inputs)
        losses["train/loss"] = self.forward_loss(batch.answer, labels=batch.labels, **inputs).loss
        return losses

    def _mark(self, batch: Batch, inputs: dict[str, Any]) -> None:
        """Adds which image tokens a network is to find or to count, as far as it is known."""
        assert self.model is not None
        if self.model.tally is not None:
            image, index = self._seen(inputs), inputs["image_index"]
            inputs["marks"], inputs["numbers"] = known_of(batch.examples, image, index)
        if self.model.finder is None:
            return
        assert batch.labels is not None
        image, index = self._seen(inputs), inputs["image_index"]
        with torch.no_grad():
            names = self.model.finder.name(image.tokens).log_softmax(-1)
        told = batch.labels.clamp(min=0)
        printed = self.model.letters[told] & (batch.labels != IGNORE)
        answers = [row[real] for row, real in zip(told, printed, strict=True)]
        inputs["marks"] = marks_of(batch.examples, image, index, answers, names)

    def _seen(self, inputs: dict[str, Any]) -> ImageTokens:
        """The image tokens in `inputs`, put there in place of pixels where there are none yet."""
        assert self.model is not None
        if not isinstance(inputs["images"], ImageTokens):
            inputs["images"] = self.model.vision(inputs["images"])
        image: ImageTokens = inputs["images"]
        return image

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
        cache = self.model.read(**self._inputs(batch))
        if batch.answer is not None:
            loss = self.model(batch.answer, cache=cache, labels=batch.labels).loss
            self.log(f"{stage}/loss", loss, batch_size=len(batch), sync_dist=True)
        score = self.trainer.datamodule.score  # type: ignore[attr-defined]
        pairs = zip(self._answers(batch, cache), batch.examples, strict=True)
        right = sum(score(answer, example.answers) for answer, example in pairs)
        name, share = f"{stage}/accuracy", right / len(batch)
        self.log(name, share, prog_bar=True, batch_size=len(batch), sync_dist=True)

    def _answers(self, batch: Batch, cache: Any) -> list[str]:
        assert self.model is not None
        if cache is None:
            cache = self.model.read(**self._inputs(batch))
        written = self.model.generate(cache, max_new_tokens=self.max_answer_tokens)
        return [tokenizers.decode(self.tokenizer, row) for row in written.tolist()]

    def _inputs(self, batch: Batch) -> dict[str, Any]:
        """What the model reads of `batch`: of a frozen image encoder its features, no pixels."""
        assert self.model is not None
        inputs: dict[str, Any] = batch.inputs()
        if not self.freeze_vision:
            return inputs
        features = self._features()
        if features is not None and _version(self.model.vision.trunk) != self.named_at:
            raise ValueError(
                f"the weights of the frozen image encoder changed under the features in "
                f"{features.folder}; leave data.features out for this training"
            )
        image, inputs["image_index"] = encode_alone(self.model.vision, batch, features)
        inputs["images"] = self.model.vision.map(image)
        return inputs

    def _features(self) -> Features | None:
        return getattr(self.trainer.datamodule, "features", None)  # type: ignore[attr-defined]

    def configure_optimizers(self) -> OptimizerLRSchedulerConfig:
        plain = ("table.weight", "kind", "token")
        learned = "model.decoder.model."
        new = [pair for pair in self.named_parameters() if not pair[0].startswith(learned)]
        groups = decay_groups(
            new if self.language_model else self.named_parameters(), self.weight_decay, plain
        )
        if self.language_model:
            assert self.model is not None
            known = [w for w in self.model.decoder.model.parameters() if w.requires_grad]
            groups.append({"params": known, "lr": self.language_lr, "weight_decay": 0.0})
        return adamw_with_cosine(
            self, groups, self.lr, self.beta2, self.warmup_steps, self.min_lr_rate
        )

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        checkpoint["tokenizer"] = tokenizers.to_json(self.tokenizer)

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        # Checkpoints of older versions have the plain tokenizer.json.
        theirs = tokenizers.to_json(tokenizers.from_json(checkpoint["tokenizer"]))
        if theirs != tokenizers.to_json(self.tokenizer):
            raise ValueError(
                "the checkpoint was trained with another tokenizer than this data set gives; "
                "use the data and tokenizer it was trained with"
            )


def _version(module: nn.Module) -> int:
    """How often parameters were written to, counted by torch."""
    return sum(weight._version for weight in module.parameters())
