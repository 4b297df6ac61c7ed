"""A tagger's folder: weights, groups, and the tags of the photos that it was trained and measured
on, which a language model's training reads."""

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
import yaml
from tqdm import tqdm

from encoders.vision.sheet import ImageTokens
from vqa import images
from vqa.config import Network
from vqa.data.tags import TagFile, tags_text
from vqa.datasets import DataError
from vqa.features import Features, of_vision
from vqa.model import build_vision
from vqa.tagger_folder import save_tagger
from vqa.training.tagging import (
    Recipe,
    labels_of,
    numbered,
    read_tags,
    tag,
    tag_out_of_fold,
    tagging_accuracy,
    train_tagger,
)

LEAST = 6
"""A tag that may apply beside others is learned where so many photos show it."""


def fit(
    train: Path, out: Path, config: Path, features: Path, val: Path | None, shown: str, **words: int
) -> None:
    """Train a tagger on the photos of `train`, measure it on those of `val`, write both's tags.

    `config`: a training configuration, whose frozen image encoder makes the `features`; `shown` as
    in vqa/data/tags.py, JSON; `words` of a `Recipe`. Prints the accuracy of each group.
    """
    if out.exists():
        raise DataError(f"{out} exists; choose another folder")
    tags = read_tags(train)
    recipe = replace(Recipe(), **words)
    kept = _KeptFeatures(config, features)
    seen = kept.of(list(tags))
    labels = labels_of(list(tags.values()), LEAST)
    tagger = train_tagger(seen, labels, recipe)
    found = tag_out_of_fold(seen, labels, recipe, [Path(name).name for name in tags])
    print(f"out of fold, {len(tags)} photos: {_told(tagging_accuracy(found, labels))}")
    told = dict(zip(tags, found, strict=True))
    if val is not None:
        asked = read_tags(val)
        shares = tag(tagger, kept.of(list(asked)))
        known = numbered(list(asked.values()), labels.groups, labels.several)
        print(f"{val.name}, {len(asked)} photos: {_told(tagging_accuracy(shares, known))}")
        told |= dict(zip(asked, shares, strict=True))
    groups = {"groups": labels.groups, "several": labels.several, "shown": json.loads(shown)}
    save_tagger(out, groups, tagger.state_dict())
    TagFile.write(out / "tags.jsonl", {name: tags_text(of, **groups) for name, of in told.items()})


class _KeptFeatures:
    """Features of image files in small, made by the image encoder of a configuration."""

    def __init__(self, config: Path, folder: Path) -> None:
        words: dict[str, Any] = yaml.safe_load(config.read_text(encoding="utf-8"))["model"]
        network = Network.of(words["network"])
        self.vision = build_vision(network.vision, network.dim).eval()
        self.vision.load_vit(words["vit_weights"])
        self.features = Features(folder, of_vision(network, self.vision.trunk, "32-true"))

    @torch.inference_mode()
    def of(self, paths: Sequence[str]) -> list[ImageTokens]:
        """The overview of each image in half precision; new features are kept on disk."""
        found = []
        for path in tqdm(paths, unit="image", desc="features"):
            key = self.features.key(path)
            seen = self.features.get(key)
            if seen is None:
                with images.open(path) as picture:
                    seen = self.vision.features([picture])
                self.features.put(key, seen)
            small = seen.overview()
            found.append(small._replace(tokens=small.tokens.half()))
        return found


def _told(shares: dict[str, float]) -> str:
    return ", ".join(f"{name} {100 * share:.1f}" for name, share in shares.items())
