"""From a Hugging Face folder and some text to a trained Latte model, resumable at any moment."""

import json
import logging
import shutil
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from importlib.util import find_spec
from math import inf
from pathlib import Path
from typing import Any, get_args

import torch
from lightning.pytorch import Trainer, seed_everything
from lightning.pytorch.callbacks import ModelCheckpoint
from lightning.pytorch.loggers import CSVLogger
from safetensors import SafetensorError
from torch import Tensor
from torch.utils.data import DataLoader, Dataset
from transformers import AutoModelForCausalLM, AutoTokenizer
from transformers.utils import logging as transformers_logging

from encoders.language import convert, latte_layers
from encoders.language.convert import FAMILIES, LatteConverted
from encoders.language.initialize import Method, initialize_latents
from vqa.data.recall import ConversionSequences, RecallSequences
from vqa.data.text import RandomBlocks, ResumableSampler, encode_documents, read_documents
from vqa.training.conversion import (
    PEFT_MISSING,
    AttentionTransfer,
    ConversionStage,
    NextTokenTuning,
)
from vqa.training.text_data import TrainingLoader

PRECISIONS = ("32-true", "bf16-mixed", "16-mixed")
"""Lightning's precisions that keep weights in fp32: learning rates this small vanish in bf16."""
MAX_SEED = 2**32 - 1
"""Of the second stage, whose seed is one more."""
CHECKPOINT_STEPS = 10
"""Optimizer steps between checkpoints."""
INITIAL_BLOCKS = 8
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

    A model that is converted already is trained further, with its own latents to begin with.
    Raises ValueError, before anything is written, for bad settings or if `out` holds anything but
    an unfinished conversion of the same settings.
    """
    work = out / "training"
    _check(settings, out, work, precision)
    with _quiet():
        seed_everything(settings.seed, verbose=False)
        tokens, tokenizer, model = _load(settings)
        fresh = not isinstance(model, LatteConverted)
        if fresh:
            convert(model, **_options(settings))
        if not latte_layers(model):
            raise ValueError("softmax_layers names all layers: none is converted")
        blocks = RandomBlocks(tokens, settings.length, 10**9, settings.seed + 1)
        recalls: Dataset[Any] = blocks
        if settings.recall:
            recalls = RecallSequences(
                tokens, tokenizer, settings.length, settings.window, 10**9, settings.seed
            )
        _claim(settings, work)
        if fresh and not (work / "transfer" / "last.ckpt").exists():
            initialize_latents(
                model, (blocks[n].unsqueeze(0) for n in range(INITIAL_BLOCKS)), settings.init
            )
        mixed = ConversionSequences(blocks, recalls, settings.recall, settings.seed)
        transfer = AttentionTransfer(model, settings.latent_lr)
        _fit(transfer, mixed, settings.transfer_steps, settings, work / "transfer", precision)
        # The first stage draws random numbers, more or fewer if it was interrupted.
        seed_everything(settings.seed + 1, verbose=False)
        tuning = NextTokenTuning(model, settings.lora_rank, settings.lr, settings.latent_lr)
        _fit(tuning, mixed, settings.steps, settings, work / "tuning", precision)
        converted = tuning.merged()
        converted.save_pretrained(out)
        tokenizer.save_pretrained(out)
    shutil.rmtree(work)
    return out


def _check(settings: Conversion, out: Path, work: Path, precision: str) -> None:
    """Raise ValueError for settings that cannot work and an `out` that is not to be continued."""
    rates = {"lr": settings.lr, "latent-lr": settings.latent_lr, "gain": settings.gain}
    for name, value in rates.items():
        if not 0 < value < inf:
            raise ValueError(f"--{name} must be a finite number above 0, not {value}")
    if not 0 <= settings.seed < MAX_SEED:
        raise ValueError(f"--seed must be 0 to {MAX_SEED - 1}, not {settings.seed}")
    if precision not in PRECISIONS:
        raise ValueError(f"--precision must be {', '.join(PRECISIONS)}, not {precision!r}")
    file = work / "settings.json"
    if file.exists():
        mine, theirs = _as_json(settings), json.loads(file.read_text(encoding="utf-8"))
        changed = [name for name in mine if mine[name] != theirs.get(name)]
        if changed:
            pairs = ", ".join(f"{n} was {theirs.get(n)}, is {mine[n]}" for n in changed)
            raise ValueError(f"{out} holds a conversion with other settings: {pairs}")
    elif out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise ValueError(f"{out} exists already and is no unfinished conversion; name a new folder")
    if settings.init not in get_args(Method):
        raise ValueError(f"init must be {', '.join(get_args(Method))}, not {settings.init!r}")
    reach = settings.window + settings.sinks
    if settings.length <= reach:
        raise ValueError(
            f"sequences of {settings.length} tokens fit into window and sinks, {reach} tokens: "
            "latents would learn nothing; make length several times the window"
        )
    if settings.lora_rank and find_spec("peft") is None:
        raise ValueError(PEFT_MISSING)


def _claim(settings: Conversion, work: Path) -> None:
    """Make the folder of an unfinished conversion. Raises ValueError if that is impossible."""
    content = json.dumps(_as_json(settings), indent=1)
    try:
        work.mkdir(parents=True, exist_ok=True)
        (work / "settings.json").write_text(content, encoding="utf-8")
    except OSError as error:
        raise ValueError(f"cannot write to {work.parent}: {error.strerror}") from None


def _as_json(settings: Conversion) -> dict[str, Any]:
    values: dict[str, Any] = json.loads(json.dumps(asdict(settings)))
    return values


def _load(settings: Conversion) -> tuple[Tensor, Any, Any]:
    """Token ids of all texts, the tokenizer and the model. Raises ValueError, in one sentence."""
    documents = read_documents(settings.text)
    folder = Path(settings.model)
    if not (folder / "config.json").exists():
        raise ValueError(f"{folder} is no Hugging Face model folder: it has no config.json")
    _check_family(folder)
    try:
        tokenizer = AutoTokenizer.from_pretrained(settings.model)
    except (OSError, ValueError) as error:
        raise ValueError(f"{folder} has no tokenizer that loads: {_sentence(error)}") from None
    tokens = encode_documents(documents, tokenizer)
    try:
        model = AutoModelForCausalLM.from_pretrained(settings.model, dtype=torch.float32)
    except (OSError, SafetensorError) as error:
        raise ValueError(f"cannot load the weights of {folder}: {_sentence(error)}") from None
    if int(tokens.max()) >= model.config.vocab_size:
        raise ValueError(
            f"the tokenizer of {folder} makes ids up to {int(tokens.max())}, but the model has "
            f"{model.config.vocab_size} embeddings"
        )
    if isinstance(model, LatteConverted):
        _check_options(model.config.latte, settings)
    model.config.use_cache = True
    return tokens, tokenizer, model


def _options(settings: Conversion) -> dict[str, Any]:
    names = ("window", "latents", "sinks", "gain", "softmax_layers")
    return {name: getattr(settings, name) for name in names}


def _check_options(own: dict[str, Any], settings: Conversion) -> None:
    """Raise ValueError if a model that is converted already has other options."""
    asked = _as_json(settings)
    other = [f"{name} {own[name]}" for name in own if own[name] != asked[name]]
    if other:
        raise ValueError(
            f"{settings.model} is converted already, with {', '.join(other)}: give the same"
        )


def _check_family(folder: Path) -> None:
    try:
        name = json.loads((folder / "config.json").read_text(encoding="utf-8"))["model_type"]
    except (ValueError, KeyError, TypeError):
        raise ValueError(f"{folder / 'config.json'} is no configuration of a model") from None
    known = sorted(family.config_class.model_type for family in FAMILIES)
    if name not in [*known, *(family.config_class.model_type for family in FAMILIES.values())]:
        raise ValueError(f"cannot convert a {name} model; known are {', '.join(known)}")


def _sentence(error: Exception) -> str:
    return str(error).strip().splitlines()[0].rstrip(":")


@contextmanager
def _quiet() -> Iterator[None]:
    """Leave the terminal to the training's progress bar: no notes that concern no user."""
    ignored: list[tuple[str, type[Warning]]] = [
        (r".*LeafSpec.*is deprecated", Warning),
        (r"Found \d+ module\(s\) in eval mode", UserWarning),  # on purpose: no dropout
        (r"Checkpoint directory .* exists and is not empty", UserWarning),  # continued
        (r"Experiment logs directory .* exists and is not empty", UserWarning),
        (r".*does not have many workers", UserWarning),
    ]
    loggers = [logging.getLogger(name) for name in ("lightning.pytorch", "lightning.fabric")]
    levels = [logger.level for logger in loggers]
    bars = transformers_logging.is_progress_bar_enabled()
    with warnings.catch_warnings():
        for message, category in ignored:
            warnings.filterwarnings("ignore", message, category)
        for logger in loggers:
            logger.setLevel(logging.WARNING)
        transformers_logging.disable_progress_bar()
        try:
            yield
        finally:
            for logger, level in zip(loggers, levels, strict=True):
                logger.setLevel(level)
            if bars:
                transformers_logging.enable_progress_bar()


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
