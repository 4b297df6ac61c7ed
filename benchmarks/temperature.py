"""How far a model's confidence is to be trusted: the temperature fitted to a validation split.

    python benchmarks/temperature.py MODEL --dataset jsonl --root ROOT --split val

Writes `confidence_temperature` into MODEL/config.json. The temperature (Guo et al. 2017) is the one
at which the probabilities of the answers that the model writes tell best which are right (least
log loss). What it writes greedily stays the same.
"""

import json
from collections import defaultdict
from pathlib import Path
from typing import Annotated, Any

import torch
import typer
from typer import Argument, Option

from vqa import datasets
from vqa import tokenizer as tokenizers
from vqa.dataset_options import parse_options
from vqa.evaluation.confidence import calibration
from vqa.features import Features, encode_alone
from vqa.predictor import Predictor
from vqa.questions import Questions, collator

GRID = torch.logspace(-0.7, 0.7, 141).tolist()
"""Temperatures that are tried: 0.2 to 5."""


def written(
    predictor: Predictor, data: datasets.Dataset, features: Features | None
) -> tuple[list[tuple[torch.Tensor, torch.Tensor]], list[float]]:
    """Logits and tokens of the answers about each image, and the scores of all, in that order."""
    model, found, scores = predictor.model, [], []
    of_image, questions = defaultdict(list), Questions(data, features=features)
    for index in range(len(data)):
        of_image[data[index].image].append(index)
    for about in of_image.values():
        items = [questions[index, None] for index in about]
        batch = collator(predictor.tokenizer)(items).to(model.device)
        image, which = encode_alone(model.vision, batch, features)
        seen = model.vision.map(image)
        cache = model.read(seen, batch.question, batch.question_mask, which)
        answers = model.generate(cache)
        found.append((model(answers[:, :-1], cache=cache).logits.float(), answers))
        for example, row in zip(batch.examples, answers.tolist(), strict=True):
            said = tokenizers.decode(predictor.tokenizer, row)
            scores.append(data.score(said, example.answers))
    return found, scores


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
    kept = None if features is None else Features.of(predictor.model, features)
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
