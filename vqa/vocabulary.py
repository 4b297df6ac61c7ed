"""Prune the vocabulary of a model folder to the tokens that its texts need.

A byte-level BPE stays one: a kept token keeps the merges that lead to it, so any text can still be
written, and a text of kept tokens is split as before. The embedding and the head keep their rows.
"""

import json
import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from tokenizers import Tokenizer

from vqa import checkpoint

_ROWS = ("embed_tokens.weight", "lm_head.weight")
"""Ends of the names of weights with a row for each token."""
_BATCH = 1000


def prune_vocabulary(
    folder: str | Path, out: str | Path, texts: Iterable[str], common: int
) -> tuple[int, int]:
    """Write the model in `folder` to `out` without the tokens that it does not need.

    Needed are the first `common` merges, all tokens of `texts`, single bytes and special tokens.
    `folder`: of a language model or of a `LatteVQA` with one. Returns the sizes of the vocabulary
    before and after. Raises ValueError for a folder without a byte-level BPE or a model of it, and
    where `out` exists.
    """
    source, target = Path(folder), Path(out)
    tokenizer = _tokenizer(source)
    config = checkpoint.language_config(source)
    weights = _weights(source)
    if target.exists():
        raise ValueError(f"{target} exists already")
    size = int(config["vocab_size"])
    kept = kept_tokens(tokenizer, texts, common)
    pruned, ids = prune_tokenizer(tokenizer, kept)
    target.mkdir(parents=True)
    for file in source.iterdir():
        if file.is_file() and ".safetensors" not in file.name:
            shutil.copy(file, target / file.name)
    _write(target / "tokenizer.json", pruned)
    _write(target / "config.json", _renumbered(config, ids))
    generation = target / "generation_config.json"
    if generation.is_file():
        _write(generation, _renumbered(json.loads(generation.read_text(encoding="utf-8")), ids))
    rows = torch.tensor(sorted(ids, key=ids.__getitem__))
    for name in weights:
        if name.endswith(_ROWS):
            weights[name] = weights[name][rows]
    save_file(weights, target / checkpoint.WEIGHTS, {"format": "pt"})
    return size, len(ids)


def kept_tokens(tokenizer: dict[str, Any], texts: Iterable[str], common: int) -> set[str]:
    """Tokens to keep: the first `common` merges, those of `texts` and all that these are made of.

    `tokenizer`: a tokenizer.json.
    """
    whole = Tokenizer.from_str(json.dumps(tokenizer))
    used: set[str] = set()
    pending: list[str] = []
    for text in texts:
        pending.append(text)
        if len(pending) == _BATCH:
            used.update(*(found.tokens for found in whole.encode_batch(pending)))
            pending = []
    used.update(*(found.tokens for found in whole.encode_batch(pending)))
    merges = [tuple(pair) for pair in tokenizer["model"]["merges"]]
    used.update("".join(pair) for pair in merges[:common])
    origin = {"".join(pair): pair for pair in merges}
    waiting = list(used)
    while waiting:
        for half in origin.get(waiting.pop(), ()):
            if half not in used:
                used.add(half)
                waiting.append(half)
    return used


def prune_tokenizer(
    tokenizer: dict[str, Any], kept: set[str]
) -> tuple[dict[str, Any], dict[int, int]]:
    """The tokenizer.json with the tokens `kept`, bytes and special tokens; new ids by old ones."""
    model = tokenizer["model"]
    merged = {"".join(pair) for pair in model["merges"]}
    old = {
        token: id for token, id in model["vocab"].items() if token in kept or token not in merged
    }
    old |= {token["content"]: token["id"] for token in tokenizer["added_tokens"]}
    order = sorted(set(old.values()))
    ids = {id: number for number, id in enumerate(order)}
    merges = [pair for pair in model["merges"] if "".join(pair) in kept]
    vocab = {token: ids[id] for token, id in old.items() if token in model["vocab"]}
    more = [token | {"id": ids[token["id"]]} for token in tokenizer["added_tokens"]]
    return {
        **tokenizer,
        "added_tokens": more,
        "model": {**model, "vocab": vocab, "merges": merges},
    }, ids


def _renumbered(config: dict[str, Any], ids: dict[int, int]) -> dict[str, Any]:
    """`config` with the new size of the vocabulary and new ids of special tokens, nested too."""
    found: dict[str, Any] = {}
    for name, value in config.items():
        if isinstance(value, dict):
            value = _renumbered(value, ids)
        elif name == "vocab_size":
            value = len(ids)
        elif name.endswith("_token_id") and value is not None:
            value = [ids[id] for id in value] if isinstance(value, list) else ids[value]
        found[name] = value
    return found


def _tokenizer(folder: Path) -> dict[str, Any]:
    path = folder / "tokenizer.json"
    try:
        tokenizer: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        kind, letters = tokenizer["model"]["type"], json.dumps(tokenizer["pre_tokenizer"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{path} cannot be read: {error}") from None
    if kind != "BPE" or "ByteLevel" not in letters or tokenizer["model"].get("byte_fallback"):
        raise ValueError(f"{path} is no byte-level BPE, whose vocabulary alone can be pruned")
    return tokenizer


def _weights(folder: Path) -> dict[str, torch.Tensor]:
    weights = checkpoint.read_tensors(folder)
    if not any(name.endswith(_ROWS) for name in weights):
        raise ValueError(
            f"{folder} holds no language model's whole weights, no {' or '.join(_ROWS)}: "
            "prune before quantizing"
        )
    return weights


def _write(path: Path, content: dict[str, Any]) -> None:
    path.write_text(json.dumps(content, ensure_ascii=False, indent=1), encoding="utf-8")
