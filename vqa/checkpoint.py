"""A model folder (config.json, model.safetensors, tokenizer), and what is wrong with others."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from huggingface_hub import save_torch_state_dict, snapshot_download
from safetensors import SafetensorError
from safetensors.torch import load_file

from vqa import models
from vqa.config import LatteVQAConfig
from vqa.quantization import dequantize_weights, quantize_weights

if TYPE_CHECKING:
    from vqa.model import LatteVQA

WEIGHTS = "model.safetensors"
INDEX = f"{WEIGHTS}.index.json"
"""Which of several files holds a tensor, as transformers writes it."""
FILES = ("config.json", "model.safetensors", "tokenizer.json")


def find(name: str | Path) -> Path:
    """The folder of a model: `name` itself, a bundled one, or a download of that name from the hub.

    Raises ValueError where there is neither.
    """
    folder = Path(name).expanduser()
    if folder.is_dir():
        return folder
    bundled = models.folder(name)
    if bundled is not None:
        return bundled
    if folder.exists():
        raise ValueError(f"{name} is a file; a model is a folder with {', '.join(FILES)}")
    if str(name).count("/") != 1 or str(name).startswith((".", "/", "~")):
        known = ", ".join(models.names())
        raise ValueError(f"there is no model folder {name}; bundled models: {known}")
    try:
        return Path(snapshot_download(str(name)))
    except Exception as error:  # the hub raises a dozen kinds; to the user they are one
        reason = str(error).strip().split("\n")[0]
        raise ValueError(
            f"there is no model folder {name}, and the hub gave none of that name ({reason})"
        ) from None


def load(
    kind: "type[LatteVQA]",
    name: str | Path,
    dtype: torch.dtype | str = torch.float32,
    device: torch.device | str = "cpu",
) -> "LatteVQA":
    """The model in folder `name`, in eval mode. Weights are converted to `dtype`.

    Raises ValueError, in one sentence, for a missing file, another model's folder or weights that
    do not fit.
    """
    folder = find(name)
    for file in FILES:
        if not (folder / file).is_file() and not (file == WEIGHTS and (folder / INDEX).is_file()):
            raise ValueError(f"{folder} has no {file}; a model folder has {', '.join(FILES)}")
    if isinstance(dtype, str):
        dtype = _dtype(dtype)
    words = _config(folder)
    try:
        model = kind(LatteVQAConfig(**words))
    except (TypeError, ValueError, RuntimeError) as error:
        reason = str(error).split("\n")[0]
        raise ValueError(f"{folder / 'config.json'} describes no model: {reason}") from error
    fill(model, folder)
    model.to(device=device, dtype=dtype)
    return model.eval()


def language_config(folder: str | Path) -> dict[str, Any]:
    """The config.json of a language model's folder.

    Raises ValueError, in one sentence, if there is none.
    """
    path = Path(folder) / "config.json"
    try:
        config: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ValueError(f"{folder} is no language model folder: {error}") from None
    return config


def fill(model: "LatteVQA", folder: Path) -> None:
    """Loads the weights in `folder` into `model`.

    Raises ValueError, in one sentence, for a file that cannot be read and weights that do not fit.
    """
    own = dict(model.state_dict())
    weights = dequantize_weights(read_tensors(folder), {name: own[name].shape for name in own})
    _check(folder, own, weights)
    model.load_state_dict(weights)


def save_quantized(
    model: "LatteVQA", folder: Path, bits: Mapping[str, int], shard: str = "45MB"
) -> None:
    """Write config.json and weights of a few `bits` (vqa/quantization.py) to `folder`.

    The files have at most `shard`.
    """
    folder.mkdir(parents=True, exist_ok=True)
    model.config.save_pretrained(folder)
    weights = quantize_weights(model.state_dict(), bits)
    save_torch_state_dict(weights, folder, max_shard_size=shard, metadata={"format": "pt"})


def read_tensors(folder: Path) -> dict[str, torch.Tensor]:
    """Read the tensors of `folder`, from one weight file or several.

    Raises ValueError for files that are missing or cannot be read.
    """
    files = [WEIGHTS]
    if not (folder / WEIGHTS).is_file():
        if not (folder / INDEX).is_file():
            raise ValueError(f"{folder} has no {WEIGHTS}")
        try:
            index = json.loads((folder / INDEX).read_text(encoding="utf-8"))
            files = sorted({Path(name).name for name in index["weight_map"].values()})
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise ValueError(f"{folder / INDEX} cannot be read: {error}") from None
    found: dict[str, torch.Tensor] = {}
    for file in files:
        try:
            found |= load_file(folder / file)
        except (SafetensorError, OSError) as error:
            raise ValueError(f"{folder / file} cannot be read: {error}") from None
    return found


def _dtype(name: str) -> torch.dtype:
    dtype = getattr(torch, name, None)
    if not isinstance(dtype, torch.dtype) or not dtype.is_floating_point:
        raise ValueError(f"dtype must be float32, bfloat16 or float16, not {name!r}")
    return dtype


def _config(folder: Path) -> dict[str, Any]:
    path = folder / "config.json"
    try:
        words: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{path} is not JSON: {error}") from None
    kind = words.get("model_type") if isinstance(words, dict) else None
    if kind != LatteVQAConfig.model_type:
        raise ValueError(
            f"{folder} holds a model of type {kind!r}, not {LatteVQAConfig.model_type!r}"
        )
    return words


def _check(folder: Path, own: dict[str, torch.Tensor], found: dict[str, torch.Tensor]) -> None:
    missing, foreign = sorted(own.keys() - found.keys()), sorted(found.keys() - own.keys())
    shapes = [key for key in own.keys() & found.keys() if own[key].shape != found[key].shape]
    faults = {"missing": missing, "unknown": foreign, "of another shape": sorted(shapes)}
    told = [f"{len(keys)} {word} (such as {keys[0]})" for word, keys in faults.items() if keys]
    if told:
        raise ValueError(
            f"the weights in {folder} do not fit the network: {', '.join(told)} tensors"
        )
