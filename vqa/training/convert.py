"""From a Hugging Face folder and some text to a trained Latte model, resumable at any moment."""

import json
import shutil
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import Trainer, seed_everything
from lightning.pytorch.callbacks import ModelCheckpoint
from lightning.pytorch.loggers import CSVLogger
from torch import Tensor
from torch.utils.data import DataLoader, Dataset
from transformers import AutoModelForCausalLM, AutoTokenizer

from encoders.language import convert
from encoders.language.initialize import Method, initialize_latents
from vqa.data.recall import ConversionSequences, RecallSequences
from vqa.data.text import RandomBlocks, ResumableSampler, encode_documents, read_documents
from vqa.training.conversion import AttentionTransfer, ConversionStage, NextTokenTuning
from vqa.training.text_data import TrainingLoader

CHECKPOINT_STEPS = 10
"""Optimizer steps between checkpoints."""
INITIAL_BLOCKS = 12
"""Blocks of text from which latents are initialised."""


@dataclass(frozen=True)
class Conversion:
    """Settings of one conversion; a run that is continued must have the same."""

    model: str
    text: tuple[str, ...]
    window: int = 256
    latents: int = 16
    sinks: int = 4
    gain: float = 8.0
    softmax_layers: tuple[int, ...] = ()
    init: Method = "kmeans"
    transfer_steps: int = 60
    steps: int = 200
    length: int = 1024
    accumulate: int = 1
    recall: float = 0.0
    lora_rank: int = 16
    lr: float = 3e-4
    latent_lr: float = 1e-3
    seed: int = 0


def train(settings: Conversion, out: Path, precision: str = "32-true") -> Path:
    """Convert, train in both stages and save to `out`; continue where an earlier call stopped.

    Raises ValueError if `out` holds anything but an unfinished conversion of the same settings.
    """
    work = out / "training"
    _claim(settings, out, work)
    seed_everything(settings.seed, verbose=False)
    tokens, tokenizer = _tokens(settings)
    model = AutoModelForCausalLM.from_pretrained(settings.model, dtype=torch.float32)
    model.config.use_cache = True
    convert(
        model,
        settings.window,
        settings.latents,
        settings.sinks,
        settings.gain,
        settings.softmax_layers,
    )
    blocks = RandomBlocks(tokens, settings.length, 10**9, settings.seed + 1)
    if not (work / "transfer" / "last.ckpt").exists():
        initialize_latents(
            model, (blocks[n].unsqueeze(0) for n in range(INITIAL_BLOCKS)), settings.init
        )
    text = ConversionSequences(blocks, blocks, 0.0, settings.seed)
    transfer = AttentionTransfer(model, settings.latent_lr)
    _fit(transfer, text, settings.transfer_steps, settings, work / "transfer", precision)
    recalls = RecallSequences(
        tokens, tokenizer, settings.length, settings.window, 10**9, settings.seed
    )
    mixed = ConversionSequences(blocks, recalls, settings.recall, settings.seed)
    tuning = NextTokenTuning(model, settings.lora_rank, settings.lr, settings.latent_lr)
    _fit(tuning, mixed, settings.steps, settings, work / "tuning", precision)
    converted = tuning.merged()
    converted.save_pretrained(out)
    tokenizer.save_pretrained(out)
    shutil.rmtree(work)
    return out


def _claim(settings: Conversion, out: Path, work: Path) -> None:
    """Make `out`, or check that it holds an unfinished conversion of the same settings."""
    file = work / "settings.json"
    mine = json.loads(json.dumps(asdict(settings)))
    if file.exists():
        theirs = json.loads(file.read_text(encoding="utf-8"))
        changed = [name for name in mine if mine[name] != theirs.get(name)]
        if changed:
            told = ", ".join(f"{n} was {theirs.get(n)}, is {mine[n]}" for n in changed)
            raise ValueError(f"{out} holds a conversion with other settings: {told}")
        return
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise ValueError(f"{out} exists already and is no unfinished conversion; name a new folder")
    work.mkdir(parents=True)
    file.write_text(json.dumps(mine, indent=1), encoding="utf-8")


def _tokens(settings: Conversion) -> tuple[Tensor, Any]:
    if settings.length <= settings.window:
        raise ValueError(
            f"sequences of {settings.length} tokens fit into the window of {settings.window}: "
            "latents would learn nothing; make length several times the window"
        )
    documents = read_documents(settings.text)
    folder = Path(settings.model)
    if not (folder / "config.json").exists():
        raise ValueError(f"{folder} is no Hugging Face model folder: it has no config.json")
    tokenizer = AutoTokenizer.from_pretrained(settings.model)
    return encode_documents(documents, tokenizer), tokenizer


def _fit(
    stage: ConversionStage,
    sequences: Dataset[Any],
    steps: int,
    settings: Conversion,
    folder: Path,
    precision: str,
) -> None:
    """Train one stage for `steps` optimizer steps, from its last checkpoint if there is one."""
    if not steps:
        return
    last = folder / "last.ckpt"
    done = _steps_done(last) if last.exists() else 0
    sampler = ResumableSampler(done * settings.accumulate, steps * settings.accumulate)
    trainer = Trainer(
        max_steps=steps,
        accumulate_grad_batches=settings.accumulate,
        gradient_clip_val=1.0,
        precision=precision,  # type: ignore[arg-type]
        logger=CSVLogger(folder, name="", version=""),
        log_every_n_steps=1,
        callbacks=[
            ModelCheckpoint(folder, "{step}", save_last=True, every_n_train_steps=CHECKPOINT_STEPS)
        ],
        enable_model_summary=False,
    )
    loader = DataLoader(sequences, batch_size=None, sampler=sampler, collate_fn=_as_batch)
    trainer.fit(
        stage,
        TrainingLoader(loader, steps * settings.accumulate),
        ckpt_path=last if done else None,
    )


def _as_batch(pair: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
    ids, labels = pair
    return ids.unsqueeze(0), labels.unsqueeze(0)


def _steps_done(checkpoint: Path) -> int:
    return int(torch.load(checkpoint, weights_only=True, map_location="cpu")["global_step"])
