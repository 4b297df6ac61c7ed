"""What the photo packs tell of each photo, as tags for `vqa fit-tagger`."""

import json
import re
from collections import defaultdict
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

from vqa import datasets
from vqa.datasets import Example

CAPTION_GROUPS = ("place", "sport", "activity", "who", "animal", "holding", "side", "colour")
"""Kinds of questions of photo_captions whose answers are tags of a group of that name."""
GROCERY = ("variety", "brand", "flavour", "colour")
"""What is told of a kind of grocery besides its name."""
SHAPES = ("circle", "rectangle", "triangle")
SHOWN = {
    "scene": ["sees", "place", "sport", "activity", "who", "animal", "people", "side", "colour",
              "holding"],
    "object": ["thing", "category"],
    "grocery": ["grocery"],
    "shape": ["shape", "shape colour"],
    "page": [],
}  # fmt: skip
"""What `vqa fit-tagger --shown` was given for configs/general.yaml."""


def read_rows(path: Path) -> Iterator[dict[str, Any]]:
    """Yield the rows of a pack's jsonl file without those about grids of several photos."""
    with path.open(encoding="utf-8") as lines:
        rows = map(json.loads, lines)
        yield from (row for row in rows if not row["meta"]["kind"].startswith("grid_"))


def tags_of_photos(data: Path, split: str) -> dict[Path, dict[str, Any]]:
    """The tags of each photo of a split, by its path."""
    found: defaultdict[Path, dict[str, Any]] = defaultdict(dict)
    kinds = {
        "photo_captions": ("scene", _caption),
        "photo_vqa": ("scene", _person),
        "photo_objects": ("object", _thing),
    }
    for pack, (kind, of) in kinds.items():
        for row in read_rows(data / pack / f"{split}.jsonl"):
            known = of(row["meta"], row["question"].lower(), _plain(row["answers"][0]))
            tags = found[(data / pack / row["image"]).absolute()]
            sees = {**tags.get("sees", {}), **known.pop("sees", {})}
            tags |= known | {"kind": kind} | ({"sees": sees} if sees else {})
    names = _groceries(data)
    for row in read_rows(data / "photo_grocery" / f"{split}.jsonl"):
        path = (data / "photo_grocery" / row["image"]).absolute()
        found[path] = {"kind": "grocery", "grocery": names[row["meta"]["fine"]]}
    return {path: found[path] for path in sorted(found)}


@cache
def examples_of_shapes(split: str, count: int) -> dict[str, list[Example]]:
    """Questions of easy-VQA about the first `count` images of which shape and colour are told."""
    found: defaultdict[str, list[Example]] = defaultdict(list)
    data = datasets.create("easy_vqa", None, split)
    for index in range(len(data)):
        found[data[index].image].append(data[index])
    complete = [image for image, examples in found.items() if len(tags_of_shape(examples)) == 3]
    return {image: found[image] for image in complete[:count]}


def tags_of_shape(examples: list[Example]) -> dict[str, str]:
    """The tags of an image of easy-VQA, as far as its questions tell them."""
    tags = {"kind": "shape"}
    for example in examples:
        answer = example.answers[0]
        if answer not in ("yes", "no"):
            tags["shape" if answer in SHAPES else "shape colour"] = answer
    return tags


def _caption(meta: dict[str, Any], question: str, answer: str) -> dict[str, Any]:
    kind = meta["kind"]
    if kind == "yesno":
        return {"sees": {meta["concept"].split(":")[-1]: answer == "yes"}}
    if kind in CAPTION_GROUPS:
        return {kind: answer}
    if kind == "riding":
        return {"activity": "riding"}
    return {"people": answer} if kind == "count" and "people" in question else {}


def _person(meta: dict[str, Any], question: str, answer: str) -> dict[str, Any]:
    kind, yes = meta["kind"], answer == "yes"
    if kind == "person":
        return {"sees": {"person": yes}}
    if kind in ("face", "feet"):
        return {"sees": {f"{kind} visible": yes}}
    if kind == "presence":
        named = re.fullmatch(r"is there an? (.*) in the image\?", question)
        return {"sees": {named[1]: yes}} if named else {}
    group = {"count_people": "people", "person_side": "side"}.get(kind)
    return {group: answer} if group else {}


def _thing(meta: dict[str, Any], question: str, answer: str) -> dict[str, Any]:
    kind = meta["kind"]
    if kind in ("name", "either_or"):
        return {"thing": answer}
    return {"category": answer} if kind == "category" else {}


def _groceries(data: Path) -> dict[str, str]:
    """Each fine class in words: apples (variety granny smith, colour green, fruit)."""
    told: defaultdict[str, dict[str, str]] = defaultdict(dict)
    for row in read_rows(data / "photo_grocery" / "train.jsonl"):
        meta, of = row["meta"], told[row["meta"]["fine"]]
        of.setdefault("name", meta["coarse"].replace("-", " ").lower())
        of["group"] = meta["group"]
        if meta["kind"] in ("name", *GROCERY):
            of[meta["kind"]] = row["answers"][0].lower()
    return {fine: f"{of['name']} ({', '.join(_more(of))})" for fine, of in told.items()}


def _more(of: dict[str, str]) -> list[str]:
    return [f"{kind} {of[kind]}" for kind in GROCERY if kind in of] + [of["group"]]


def _plain(answer: str) -> str:
    return re.sub(r"^(a|an|the) ", "", answer.lower().strip())
