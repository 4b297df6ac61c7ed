"""Training of a tagger on frozen features of photos, and tags for the photos it learned from.

A tagger knows its own training photos by heart. What it tells of them would teach a language model
to trust every tag; so each of them is tagged by a tagger trained on the other photos (out of fold).
"""

import hashlib
import json
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits, cross_entropy
from torch.optim import AdamW
from torch.optim.lr_scheduler import OneCycleLR

from encoders.vision.sheet import ImageTokens
from encoders.vision.tagger import Tagger
from vqa.datasets import DataError
from vqa.features import join_tokens

UNKNOWN = -1
"""Label of a photo of which a group is not known."""


@dataclass(frozen=True)
class Recipe:
    """How a tagger is trained: AdamW on batches of photos, a one-cycle learning rate."""

    epochs: int = 8
    batch_size: int = 64
    lr: float = 2e-3
    weight_decay: float = 0.1
    smoothing: float = 0.05
    folds: int = 4
    seed: int = 0


class Labels(NamedTuple):
    """Labels of photos by group: int `[n]`, the tag's number or UNKNOWN, of exclusive groups; fp32
    `[n, tags]`, 1, 0 or UNKNOWN, of the `several` whose tags may apply together."""

    groups: dict[str, tuple[str, ...]]
    several: tuple[str, ...]
    of: dict[str, Tensor]


def read_tags(path: str | Path) -> dict[str, dict[str, Any]]:
    """The tags of each image in a JSON-lines file, by the path of the image.

    A line has `image`, relative to the file's folder, and `tags`: of each group that is known the
    right tag, or an object of tags and whether they apply. Raises DataError.
    """
    file = Path(path)
    found: dict[str, dict[str, Any]] = {}
    number = 0
    try:
        for line in file.read_text(encoding="utf-8").splitlines():
            number += 1
            if line.strip():
                row = json.loads(line)
                found[str(file.parent / row["image"])] = dict(row["tags"])
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror}") from None
    except (ValueError, KeyError, TypeError):
        raise DataError(
            f'{path}, line {number}: expected {{"image": ..., "tags": {{group: tag}}}}'
        ) from None
    if not found:
        raise DataError(f"{path} has no images")
    return found


def labels_of(tags: Sequence[Mapping[str, Any]], least: int = 1) -> Labels:
    """Labels of photos with these `tags`; of tags that may apply together those that `least`
    photos show."""
    counts: defaultdict[str, Counter[str]] = defaultdict(Counter)
    several = set()
    for row in tags:
        for group, tag in row.items():
            if isinstance(tag, dict):
                several.add(group)
                counts[group].update({name: int(applies) for name, applies in tag.items()})
            else:
                counts[group][tag] += 1
    groups = {
        group: tuple(sorted(t for t, n in of.items() if group not in several or n >= least))
        for group, of in sorted(counts.items())
    }
    return numbered(tags, groups, tuple(sorted(several)))


def numbered(
    tags: Sequence[Mapping[str, Any]], groups: Mapping[str, Sequence[str]], several: Sequence[str]
) -> Labels:
    """Labels of photos with these `tags` as numbers in `groups`; unknown ones are UNKNOWN."""
    found: dict[str, Tensor] = {}
    for group, names in groups.items():
        place = {tag: number for number, tag in enumerate(names)}
        if group in several:
            known = torch.full((len(tags), len(names)), float(UNKNOWN))
            for row, of in enumerate(tags):
                for tag, applies in of.get(group, {}).items():
                    if tag in place:
                        known[row, place[tag]] = float(applies)
            found[group] = known
        else:
            found[group] = torch.tensor([place.get(of.get(group, ""), UNKNOWN) for of in tags])
    return Labels({name: tuple(of) for name, of in groups.items()}, tuple(several), found)


def train_tagger(
    features: Sequence[ImageTokens], labels: Labels, recipe: Recipe, rows: Tensor | None = None
) -> Tagger:
    """A tagger that learned the `labels` of photos with these overview `features`.

    `rows`: of these photos alone.
    """
    rows = torch.arange(len(features)) if rows is None else rows
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(recipe.seed)
        tagger = Tagger(features[0].tokens.shape[-1], labels.groups, labels.several)
        optimizer = AdamW(
            tagger.parameters(), recipe.lr, betas=(0.9, 0.98), weight_decay=recipe.weight_decay
        )
        batches = -(-len(rows) // recipe.batch_size)
        schedule = OneCycleLR(optimizer, recipe.lr, recipe.epochs * batches, pct_start=0.1)
        for _ in range(recipe.epochs):
            for part in rows[torch.randperm(len(rows))].split(recipe.batch_size):
                loss = tagging_loss(tagger(_joined(features, part)), labels, part, recipe.smoothing)
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
                schedule.step()
    return tagger.eval()


def tagging_loss(
    logits: Mapping[str, Tensor], labels: Labels, rows: Tensor, smoothing: float
) -> Tensor:
    """The cross-entropies of all groups, each over the photos of `rows` it is known of, summed
    and divided by the number of photos; of a photo's several tags the mean."""
    total = next(iter(logits.values())).new_zeros(())
    for group, found in logits.items():
        known = labels.of[group][rows]
        if group in labels.several:
            told = known != UNKNOWN
            each = binary_cross_entropy_with_logits(found, known.clamp(min=0), reduction="none")
            total = total + ((each * told).sum(1) / told.sum(1).clamp(min=1)).sum()
        elif bool((known != UNKNOWN).any()):
            total = total + cross_entropy(
                found, known, ignore_index=UNKNOWN, label_smoothing=smoothing, reduction="sum"
            )
    return total / len(rows)


@torch.inference_mode()
def tag(tagger: Tagger, features: Sequence[ImageTokens]) -> list[dict[str, Tensor]]:
    """Probabilities of all tags of each photo with these overview `features`."""
    found = []
    for part in torch.arange(len(features)).split(64):
        shares = tagger.probabilities(_joined(features, part))
        found += [{name: of[row] for name, of in shares.items()} for row in range(len(part))]
    return found


def tag_out_of_fold(
    features: Sequence[ImageTokens], labels: Labels, recipe: Recipe, names: Sequence[str]
) -> list[dict[str, Tensor]]:
    """Probabilities of all tags of each photo, by a tagger that has not seen it.

    A photo's fold depends on its name in `names` alone.
    """
    fold = torch.tensor(
        [int(hashlib.sha256(name.encode()).hexdigest(), 16) % recipe.folds for name in names]
    )
    found: list[dict[str, Tensor]] = [{} for _ in features]
    for number in range(recipe.folds):
        inside = (fold == number).nonzero().flatten()
        if not len(inside):
            continue
        tagger = train_tagger(features, labels, recipe, (fold != number).nonzero().flatten())
        shares = tag(tagger, [features[row] for row in inside.tolist()])
        for row, each in zip(inside.tolist(), shares, strict=True):
            found[row] = each
    return found


def tagging_accuracy(found: Sequence[Mapping[str, Tensor]], labels: Labels) -> dict[str, float]:
    """Share of photos with the right tag, by group; of several tags, share of known ones right."""
    shares = {}
    for group, known in labels.of.items():
        told = known != UNKNOWN
        if not bool(told.any()):
            continue
        given = torch.stack([of[group] for of in found])
        right = (
            (given > 0.5) == (known > 0.5) if group in labels.several else given.argmax(1) == known
        )
        shares[group] = float(right[told].float().mean())
    return shares


def _joined(features: Sequence[ImageTokens], rows: Tensor) -> ImageTokens:
    joined = join_tokens([features[row] for row in rows.tolist()])
    return joined._replace(tokens=joined.tokens.float())
