"""Generated pages of print at any size: receipts, invoices, tables, forms, charts, panels, lines.

Nothing is read from files but fonts. Every question, answer and pixel is a function of (seed,
split, index, size) alone. A page is composed for its size: of 64 pixels it holds a word, of 128 a
few rows, of 512 a whole receipt in small print, of 1,536 more rows and larger letters. So the
question of an index depends on the size: `render(index, size)` gives the one of that size, and
`data[index]` that of the data set's own. `questions` that follow each other are about one page, at
every size; a page with fewer questions than that repeats them.

Splits have seeds of their own. `test` also has words, fonts and arrangements that neither `train`
nor `val` show; fonts "builtin" are the same for every split. Receipts are asked about in the words
of sroie_vqa, and answered in capitals as there.
"""

import random
from collections import OrderedDict, defaultdict
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from encoders.vision.sheet import ImageTokens
from vqa.datasets import DataError, Example
from vqa.datasets._generated import check_options, chosen
from vqa.metrics import exact_match
from vqa.pages import asking, setting
from vqa.pages import fonts as faces
from vqa.pages import layouts as arrangements
from vqa.pages.content import Content, Fact
from vqa.pages.degrade import draw
from vqa.pages.letters import letters, runs
from vqa.pages.scene import Scene
from vqa.pages.setting import Print
from vqa.pages.type_case import TypeCase
from vqa.pages.words import Words

COUNTS = {"train": 20_000, "val": 1_000, "test": 1_000}
SIZES = (64, 4_096)
MOST_QUESTIONS = 16

_TRIES = 100
_KEPT = 4
"""Pages held, as the questions about one follow each other."""
_KIND_WEIGHTS = {"row": 3.0, "total": 3.0, "date": 2.0, "company": 2.0, "address": 1.5, "time": 1.5}


class _Page:
    """One page at one size; set and drawn when first asked for."""

    def __init__(
        self, layout: str, content: Content, facts: list[Fact], em: float, seed: str
    ) -> None:
        self.layout = layout
        self.content = content
        self.facts = facts
        self.em = em
        self.seed = seed
        self.print: Print | None = None
        self.pixels: Tensor | None = None
        self.letters: Tensor | None = None
        self.tokens: ImageTokens | None = None


class Dataset:
    """One split, `count` questions long.

    `size` is the longer side of a page in pixels. `kinds` and `layouts`, a list or one string with
    commas, are names of vqa.pages.asking.KINDS and vqa.pages.layouts.ALL. `fonts` is packages or
    builtin. `questions` that follow each other are about the same page. `type_case`: a file of
    letters' features; pages then come as tokens of a frozen image encoder, not as pixels.
    `root` and `skip_bad` mean nothing here. Raises DataError.
    """

    splits = tuple(COUNTS)

    def __init__(
        self,
        root: str | None,
        split: str,
        skip_bad: bool = False,
        *,
        size: int = 512,
        kinds: Sequence[str] | str | None = None,
        layouts: Sequence[str] | str | None = None,
        count: int | None = None,
        seed: int = 0,
        fonts: str = "packages",
        questions: int = 1,
        type_case: str | None = None,
    ) -> None:
        check_options("pages", split, COUNTS, count, size=size, seed=seed, questions=questions)
        if not 1 <= questions <= MOST_QUESTIONS:
            raise DataError(f"questions cannot be {questions}; choose 1 to {MOST_QUESTIONS}")
        self.skipped: list[str] = []
        self.split = split
        self.size = size
        self.seed = seed
        self.count = COUNTS[split] if count is None else count
        self.kinds = chosen("pages", "kind", kinds, tuple(asking.KINDS))
        self.layouts = chosen("pages", "layout", layouts, arrangements.ALL)
        self.families = faces.families(fonts, split == "test")
        self.together = questions
        self.case = TypeCase(type_case) if type_case else None
        self._pages: OrderedDict[tuple[int, int], _Page] = OrderedDict()
        self._weights(size)

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, index: int) -> Example:
        """The question and its answer; `image` is a name, not a file. Nothing is set or drawn."""
        return self._example(index, self.size)

    def render(self, index: int, size: int | None = None) -> tuple[Example, Tensor | ImageTokens]:
        """Example `index` on a page of `size` pixels: uint8 [3, H, W], or of the type case tokens.

        Raises DataError.
        """
        size = size or self.size
        example = self._example(index, size)
        page, scene = self._page(index, size), self.scene(index, size)
        width, height = scene.width, scene.height
        boxes = ((x / width, y / height, u / width, v / height) for x, y, u, v in scene.evidence)
        example = replace(example, evidence=tuple(boxes))
        if self.case is not None:
            if page.tokens is None:
                rng = random.Random(f"{page.seed}/case")
                page.tokens = self.case.set(runs(scene), height, width, scene.em, rng)
            return example, page.tokens
        if page.pixels is None:
            page.pixels = torch.from_numpy(np.ascontiguousarray(draw(scene)))
            page.letters = letters(scene)
        return replace(example, letters=page.letters), page.pixels

    def scene(self, index: int, size: int | None = None) -> Scene:
        """What `render` draws: texts and lines with their places, and the boxes of the evidence."""
        size = size or self.size
        page = self._page(index, size)
        rng = random.Random(f"{page.seed}/set")
        if page.print is None:
            page.print = setting.set_page(rng, page.content, self.families, page.em, size)
        fact = self._fact(page, index)
        return Scene(
            page.print.width,
            page.print.height,
            page.layout,
            fact,
            page.print.boxes(fact),
            page.print.values,
            page.print.matrix,
            page.print.em,
            page.content.flat,
            random.Random(f"{page.seed}/wear").getrandbits(32),
        )

    def score(self, prediction: str, answers: Sequence[str]) -> float:
        """Exact match with an accepted answer."""
        return exact_match(prediction, answers)

    def _example(self, index: int, size: int) -> Example:
        page = self._page(index, size)
        fact = self._fact(page, index)
        return Example(
            f"pages-{self.split}-{index}",
            f"pages:{self.split}:{index // self.together}:{size}",
            fact.question,
            fact.answers,
            fact.kind,
            page.layout,
        )

    def _fact(self, page: _Page, index: int) -> Fact:
        return page.facts[index % self.together % len(page.facts)]

    def _page(self, index: int, size: int) -> _Page:
        """The page of a question, from memory if it was one of the last."""
        if not 0 <= index < self.count:
            raise IndexError(f"pages has {self.count} examples; there is no number {index}")
        key = index // self.together, size
        page = self._pages.get(key)
        if page is None:
            page = self._pages[key] = self._compose(*key)
            if len(self._pages) > _KEPT:
                self._pages.popitem(last=False)
        return page

    def _compose(self, number: int, size: int) -> _Page:
        """A page on which something can be asked and letters are large enough."""
        weights = self._weights(size)
        for attempt in range(_TRIES):
            seed = f"pages/{self.seed}/{self.split}/{number}/{size}/{attempt}"
            rng = random.Random(seed)
            name = rng.choices([*weights], [*weights.values()])[0]
            layout = arrangements.get(name)
            em, room = setting.room(rng, size)
            test = self.split == "test"
            variant = rng.choice(layout.held_out if test else layout.learn)
            content = layout.compose(Words(rng, test), room, variant)
            if not setting.fits(content, em, size):
                continue
            if facts := _chosen(rng, content.asked(self.kinds), self.together):
                return _Page(name, content, facts, em, seed)
        raise DataError(
            f"pages of {size} pixels hold no question of the kinds {', '.join(self.kinds)}; choose "
            "larger pages or other kinds"
        )

    def _weights(self, size: int) -> dict[str, float]:
        """How often each layout is drawn at a size. Raises DataError where none can be."""
        if not SIZES[0] <= size <= SIZES[1]:
            raise DataError(
                f"a page of {size} pixels cannot be drawn; choose {SIZES[0]} to {SIZES[1]}"
            )
        able = [name for name in self.layouts if {*arrangements.get(name).kinds} & {*self.kinds}]
        if not able:
            raise DataError(
                f"the layouts {', '.join(self.layouts)} have no question of the kinds "
                f"{', '.join(self.kinds)}; choose other layouts or kinds"
            )
        weights = {name: arrangements.weight(name, size) for name in able}
        if not any(weights.values()):
            least = min(arrangements.get(name).smallest for name in able)
            if size >= least:  # a line on a large page: only where it is asked for by name
                return dict.fromkeys(able, 1.0)
            raise DataError(
                f"a page of {size} pixels is too small for {', '.join(able)}; "
                f"choose at least {least}"
            )
        return weights


def _chosen(rng: random.Random, facts: list[Fact], count: int) -> list[Fact]:
    """Up to `count` facts, of as many kinds as there are before any comes twice."""
    by_kind: defaultdict[str, list[Fact]] = defaultdict(list)
    for fact in rng.sample(facts, len(facts)):
        by_kind[fact.kind].append(fact)
    chosen: list[Fact] = []
    while by_kind and len(chosen) < count:
        # Weighted order without replacement: the smallest of exponential times.
        times = {kind: rng.expovariate(_KIND_WEIGHTS.get(kind, 1.0)) for kind in by_kind}
        for kind in sorted(times, key=times.__getitem__):
            chosen.append(by_kind[kind].pop())
            if not by_kind[kind]:
                del by_kind[kind]
    return chosen[:count]
