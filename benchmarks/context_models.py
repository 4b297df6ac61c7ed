"""The models that benchmarks/context.py compares, and passes of tokens through them."""

import hashlib
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor
from transformers import AutoModelForCausalLM, DynamicCache

from encoders.language import convert
from vqa.data.text import encode_documents, read_documents

MODELS = ("original", "window", "sinks", "untrained", "trained")
CHUNK = 2048
"""Tokens of one forward pass in a chunked prefill."""
Row = dict[str, Any]


class ModelSpec(NamedTuple):
    """A Hugging Face folder, converted on loading where `window` is given."""

    name: str
    folder: Path
    window: int | None = None
    sinks: int = 0

    def load(self) -> Any:
        """The model in fp32; latents of one converted here have their gates shut."""
        model = AutoModelForCausalLM.from_pretrained(self.folder, dtype=torch.float32)
        if self.window is not None:
            convert(model, window=self.window, sinks=self.sinks)
        return model.eval()

    def fingerprint(self) -> str:
        """Identify the weights: rows of a model that was trained anew must not be taken for it."""
        digests = []
        for file in sorted(self.folder.glob("*.safetensors")):
            with file.open("rb") as data:
                digests.append(hashlib.file_digest(data, "sha256").hexdigest()[:12])
        if self.window is not None:
            digests.append(f"window {self.window}, sinks {self.sinks}")
        return " ".join(digests)


def model_specs(names: Sequence[str], folders: dict[str, Path | None], window: int) -> list[Any]:
    """Specs of the models `names`; `folders` has those of original, untrained and trained.

    Raises ValueError for a model whose folder is missing or whose window is another.
    """
    specs = []
    for name in names:
        converted = {"window": 0, "sinks": 4}.get(name)
        source = name if converted is None else "original"
        folder = folders.get(source)
        if folder is None or not (folder / "config.json").is_file():
            raise ValueError(f"{name} needs --{source} DIR, a Hugging Face model folder")
        if converted is None:
            _check_window(folder, window)
            specs.append(ModelSpec(name, folder))
        else:
            specs.append(ModelSpec(name, folder, window, converted))
    return specs


def _check_window(folder: Path, window: int) -> None:
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    own = config.get("latte", {}).get("window", window)
    if own != window:
        raise ValueError(f"{folder} has a window of {own}, not {window}; give --window {own}")


def load_documents(files: Sequence[Path], tokenizer: Any) -> dict[str, Tensor]:
    """Token ids `[N]` of each text file by its name."""
    texts = zip(files, read_documents(files), strict=True)
    return {file.name: encode_documents([text], tokenizer) for file, text in texts}


def new_cache(model: Any) -> Any:
    """An empty cache; converted layers make their own of constant size in it."""
    return DynamicCache(config=model.config)


@torch.no_grad()
def hidden_chunks(
    model: Any, ids: Tensor, cache: Any, chunk: int = CHUNK
) -> Iterator[tuple[int, Tensor]]:
    """Pass `ids` `[N]` through `cache`: start and last hidden states `[C, D]` of each chunk."""
    for start in range(0, len(ids), chunk):
        piece = ids[None, start : start + chunk]
        yield start, model.model(input_ids=piece, cache=cache, use_cache=True).last_hidden_state[0]


@torch.no_grad()
def prefill(model: Any, ids: Tensor, cache: Any, chunk: int = CHUNK) -> Tensor:
    """Next-token logits `[V]` after `ids` `[N]`; no other logits are computed."""
    last = ids.new_zeros(0)
    for _, hidden in hidden_chunks(model, ids, cache, chunk):
        last = hidden[-1].clone()  # a view would hold the states of all other tokens
    logits: Tensor = model.lm_head(last)
    return logits


def greedy(model: Any, logits: Tensor, cache: Any, count: int) -> list[int]:
    """The `count` most likely tokens one after another, the first from `logits` `[V]`."""
    tokens = [int(logits.argmax())]
    while len(tokens) < count:
        logits = prefill(model, torch.tensor(tokens[-1:]), cache)
        tokens.append(int(logits.argmax()))
    return tokens


class MeasurementLog:
    """A jsonl file with a row a measurement, so that none is made twice."""

    def __init__(self, path: Path) -> None:
        self.path = path
        text = path.read_text(encoding="utf-8") if path.is_file() else ""
        complete = text[: text.rfind("\n") + 1]
        if complete != text:  # a killed process left half a row
            path.write_text(complete, encoding="utf-8")
        self.rows: list[Row] = [json.loads(line) for line in complete.splitlines()]

    def has(self, key: Row) -> bool:
        """Whether a row agrees with `key` in all its fields."""
        return any(key.items() <= _scalars(row).items() for row in self.rows)

    def append(self, row: Row) -> None:
        """Add `row` to the file at once."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with self.path.open("a", encoding="utf-8") as lines:
            lines.write(json.dumps(row) + "\n")
        self.rows.append(row)


def _scalars(row: Row) -> Row:
    return {name: value for name, value in row.items() if isinstance(value, str | int | float)}
