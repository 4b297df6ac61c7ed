"""`vqa fit-tagger`: what frozen features of photos show, as words for a language model."""

from pathlib import Path
from typing import Annotated

from typer import Argument, Option


def fit_tagger(
    train: Annotated[Path, Argument(help="JSON lines: image, and its tags by group.")],
    out: Annotated[Path, Argument(help="New folder for the tagger and the tags of its photos.")],
    config: Annotated[Path, Option(help="Training configuration whose image encoder is used.")],
    features: Annotated[Path, Option(help="Folder that keeps features: data.features.")],
    val: Annotated[Path | None, Option(help="Photos to measure it on, and to tag.")] = None,
    shown: Annotated[
        str, Option(help='Groups told of each kind of picture, JSON: {"scene": ["place"]}.')
    ] = "{}",
    epochs: Annotated[int, Option(min=1, help="Passes over the photos.")] = 8,
    folds: Annotated[int, Option(min=2, help="Taggers that tag each other's photos.")] = 4,
    seed: Annotated[int, Option(help="Another seed is another order.")] = 0,
) -> None:
    """Train a tagger, and tag its photos by taggers that have not seen them (data.tags)."""
    from vqa.training.fit_tagger import fit

    fit(train, out, config, features, val, shown, epochs=epochs, folds=folds, seed=seed)
