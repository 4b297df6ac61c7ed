"""From a Lightning checkpoint to a model folder that needs neither Lightning nor data."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from vqa import tokenizer as tokenizers
from vqa.checkpoint import save_quantized
from vqa.config import Network
from vqa.model import LatteVQA, build
from vqa.quantization import weight_bits
from vqa.tagger_folder import tagger_groups, tagger_weights

CARD = """---
library_name: latte-vqa
pipeline_tag: visual-question-answering
---
# {name}

A Latte VQA model, exported from a training checkpoint.

    vqa ask IMAGE "QUESTION" --model {name}

## Network
```json
{network}
```
"""


def export(
    checkpoint: str | Path,
    folder: str | Path,
    dtype: str = "float32",
    tagger: str | Path | None = None,
    bits: int | None = None,
) -> LatteVQA:
    """Writes the model of `checkpoint` (of `vqa fit`) into `folder`: config, safetensors,
    tokenizer files.

    `dtype`: float32, bfloat16 or float16, of the weights; `tagger`: folder of `vqa fit-tagger`
    whose tags stand in the text of photos (data.tags of the training); `bits`: 4 to 8, of the
    decoder's weights in place of `dtype` (vqa/quantization.py). Raises ValueError, in one
    sentence, for a file that is no such checkpoint.
    """
    path = Path(checkpoint)
    if not path.is_file():
        raise ValueError(f"there is no checkpoint {path}")
    if dtype not in ("float32", "bfloat16", "float16"):
        raise ValueError(f"dtype must be float32, bfloat16 or float16, not {dtype!r}")
    saved = _load(path)
    tokenizer = tokenizers.from_json(saved["tokenizer"])
    network = Network.of(saved["hyper_parameters"]["network"])
    if tagger is not None:
        network = replace(network, tags=tagger_groups(tagger))
    model = build(network, tokenizer)
    if tagger is not None:
        saved["state_dict"] |= {f"model.tagger.{k}": w for k, w in tagger_weights(tagger).items()}
    prefix = "model."
    weights = {
        name.removeprefix(prefix): weight
        for name, weight in saved["state_dict"].items()
        if name.startswith(prefix)
    }
    try:
        model.load_state_dict(weights)
    except RuntimeError as error:
        reason = str(error).splitlines()[0]
        raise ValueError(f"{path} is of another version of the network: {reason}") from None
    if bits is None:
        model.to(getattr(torch, dtype)).save_pretrained(str(folder))
    else:
        save_quantized(model, Path(folder), weight_bits(bits))
    tokenizer.save_pretrained(str(folder))
    card = CARD.format(name=Path(folder).name, network=json.dumps(model.config.network, indent=1))
    (Path(folder) / "README.md").write_text(card, encoding="utf-8")
    return model


def _load(path: Path) -> dict[str, Any]:
    try:
        saved = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # pickle raises a dozen kinds; to the user they are one
        raise ValueError(f"{path} is not a checkpoint: {str(error).splitlines()[0]}") from None
    wanted = ("tokenizer", "hyper_parameters", "state_dict")
    if not isinstance(saved, dict) or any(key not in saved for key in wanted):
        raise ValueError(f"{path} is a torch file but not a checkpoint of `vqa fit`")
    return saved
