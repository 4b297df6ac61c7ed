"""How far a model's confidence is to be trusted: the temperature fitted to a validation split.

    python benchmarks/temperature.py MODEL --dataset jsonl --root ROOT --split val

Writes `confidence_temperature` into MODEL/config.json. The temperature (Guo et al. 2017) is the one
at which the probabilities of the answers that the model writes tell best which are right (least
log loss). What it answers stays the same.
"""

import json
from collections import defaultdict
from pathlib import Path
from typing import Annotated, Any

import torch
import typer
from typer import Argument, Option

from encoders.vision.sheet import ImageTokens
from vqa import datasets, images
from vqa import tokenizer as tokenizers
from vqa.dataset_options import parse_options
from vqa.evaluation.confidence import calibration
from vqa.features import Features, of_vision
from vqa.predictor import Predictor
from vqa.questions import collator

GRID = torch.logspace(-0.7, 0.7, 141).tolist()
"""Temperatures that are tried: 0.2 to 5."""


def written(
    predictor: Predictor, data: datasets.Dataset, features: Features | None
) -> tuple[list[tuple[torch.Tensor, torch.Tensor]], list[float]]:
    """Logits and tokens of the answers about each image, and the scores of all, in that order."""
    model, found, scores = predictor.model, [], []
    of_image = defaultdict(list)
    for index in range(len(data)):
        of_image[data[index].image].append(data[index])
    for path, examples in of_image.items():
        image = _tokens(predictor, path, features)
        batch = collator(predictor.tokenizer)([(example, image) for example in examples])
        seen = model.vision.map(image)
        cache = model.read(
            seen.with_room(0), batch.question, batch.question_mask, batch.image_index
        )
        answers = model.generate(cache)
        found.append((model(answers[:, :-1], cache=cache).logits.float(), answers))
        for example, row in zip(examples, answers.tolist(), strict=True):
            said = tokenizers.decode(predictor.tokenizer, row)
            scores.append(data.score(said, example.answers))
    return found, scores


def _tokens(predictor: Predictor, path: str, features: Features | None) -> ImageTokens:
    key = None if features is None else features.key(path, None)
    kept = None if features is None or key is None else features.get(key)
    if kept is not None:
        return kept
    with images.open(path, images.MAX_PIXELS) as picture:
        found: ImageTokens = predictor.model.vision.features([picture.within(None)[:, :, :]])
    if features is not None and key is not None:
        features.put(key, found)
    return found


def chances(model: Any, found: list[Any], temperature: float) -> torch.Tensor:
    """The probability of each answer at `temperature`."""
    scores = [model.weighed(logits / temperature, tokens) for logits, tokens in found]
    return torch.cat(scores).exp()


def log_loss(chance: torch.Tensor, right: torch.Tensor) -> float:
    """The mean surprise of learning which answers are right."""
    chance = chance.clamp(1e-6, 1 - 1e-6)
    return -float((right * chance.log() + (1 - right) * (1 - chance).log()).mean())


def main(
    model: Annotated[Path, Argument(help="Model folder, of a network with a frozen encoder.")],
    dataset: str = "jsonl",
    root: str | None = None,
    split: str = "val",
    option: list[str] | None = None,
    features: Annotated[Path | None, Option(help="Folder of kept features.")] = None,
) -> None:
    """Fit the temperature, write it, and print the calibration error before and after."""
    predictor = Predictor.from_pretrained(model)
    data = datasets.create(dataset, root, split, **parse_options(option))
    network = predictor.model.network
    kept = None
    if features is not None:
        weights = of_vision(network, predictor.model.vision.trunk, "32-true")
        kept = Features(features, weights)
    with torch.inference_mode():
        found, scores = written(predictor, data, kept)
    right = torch.tensor(scores)
    best = min(GRID, key=lambda t: log_loss(chances(predictor.model, found, t), right))
    config = model / "config.json"
    words = json.loads(config.read_text(encoding="utf-8"))
    words["confidence_temperature"] = round(best, 3)
    config.write_text(json.dumps(words, indent=2) + "\n", encoding="utf-8")
    for name, temperature in (("before", 1.0), ("after", best)):
        chance = chances(predictor.model, found, temperature)
        error = 100 * calibration(chance.tolist(), scores)["ece"]
        loss = log_loss(chance, right)
        print(f"{name}: temperature {temperature:.3f}, ECE {error:.1f} points, log loss {loss:.3f}")


if __name__ == "__main__":
    typer.run(main)
