"""`vqa models`: which models come with the package."""

from dataclasses import asdict
from json import dumps
from typing import Annotated

from typer import Option


def models(
    json: Annotated[bool, Option("--json", help="Print everything as JSON.")] = False,
) -> None:
    """List the models that come with the package: --model NAME of the other commands."""
    from vqa import models

    cards = [card for card in map(models.card, models.names()) if card is not None]
    if json:
        print(dumps([asdict(card) for card in cards], indent=1))
        return
    for card in cards:
        default = " (the default)" if card.name == models.DEFAULT else ""
        print(f"{card.name}{default}, {card.size / 1e6:.1f} MB")
        print(f"  trained for: {card.trained_for}")
        print(f"  cannot: {card.cannot}")
        print(f"  score: {card.score}")
