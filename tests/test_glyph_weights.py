"""From ONNX files to a trunk, and from pages that are read with it to letters' features."""

import math
import random
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from encoders.vision.glyphs import Encoder, Letters
from encoders.vision.line_finder import LineFinder
from encoders.vision.line_reader import LETTERS, WIDTH, LineReader
from encoders.vision.page_view import View
from encoders.vision.text_lines import Line
from vqa import datasets
from vqa.pages.letters import runs
from vqa.pages.type_case import GHOST, TypeCase

LEVEL = Line(50.0, 20.0, 0.0, 80.0, 20.0)


@pytest.fixture
def weights(script: Callable[[str], Any]) -> Any:
    return script("glyph_weights")


@pytest.fixture
def networks(script: Callable[[str], Any]) -> Any:
    return script("print_networks")


# What is read, and what is there


def reading(said: str, line: Line = LEVEL) -> Letters:
    which = [1 + LETTERS.index(letter) for letter in said]
    features = torch.randn(len(said), WIDTH + 2, generator=torch.Generator().manual_seed(0))
    start = [True, *(len(said) - 1) * [False]][: len(said)]
    return Letters(line, features, torch.zeros(len(said), 2), which, len(said) * [1.0], start)


def told(weights: Any, shown: str, read: str) -> tuple[str, int]:
    """The letters that each one read is told to be, _ for none, and how many were missed."""
    codes, missed = weights.aligned([ord(letter) for letter in shown], reading(read))
    return "".join("_" if code == GHOST else chr(code) for code in codes), missed


def test_a_letter_read_is_the_one_that_is_there(weights: Any) -> None:
    assert told(weights, "TOTAL", "TOTAL") == ("TOTAL", 0)
    assert told(weights, "TOTAL", "T0TAI") == ("TOTAL", 0), "whatever it is read as"
    assert told(weights, "TOTAL", "TO.TAL") == ("TO_TAL", 0)
    assert told(weights, "TOTAL", "TTAL") == ("TTAL", 1)
    assert told(weights, "TOTAL", ":OTA") == ("TOTA", 1)
    assert told(weights, "", "ab") == ("__", 0)
    assert told(weights, "ab", "") == ("", 2)


def distance(one: str, other: str) -> int:
    """Of Levenshtein, by its definition."""
    row = list(range(len(other) + 1))
    for i, a in enumerate(one, 1):
        before, row[0] = row[0], i
        for j, b in enumerate(other, 1):
            before, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, before + (a != b))
    return row[-1]


def test_as_few_are_wrong_as_can_be(weights: Any) -> None:
    rng = random.Random(0)
    for _ in range(200):
        shown, read = ("".join(rng.choices("abc", k=rng.randint(0, 9))) for _ in "xx")
        found, missed = told(weights, shown, read)
        assert len(found) == len(read)
        wrong = sum(a != b for a, b in zip(found, read, strict=True))  # ghosts too
        assert wrong + missed == distance(shown, read)
        rest = iter(shown)
        assert all(letter in rest for letter in found if letter != "_"), "in their order"
        assert missed == len(shown) - len(found.replace("_", ""))


@pytest.mark.parametrize("angle", (0.0, 0.3, -math.pi / 2, -2.5))
@pytest.mark.parametrize("scale", (1.0, 0.6, 2.5))
def test_letters_on_a_line_are_told_along_it(weights: Any, angle: float, scale: float) -> None:
    """Of a part of the page, at its scale; not those of lines above, below, before and behind."""
    view = View(scale, 32, 64, 10_000, 10_000)
    cos, sin = math.cos(angle), math.sin(angle)
    x, y, high = 500.0, 400.0, 20.0  # in pixels of the page

    def at(along: float, beside: float) -> tuple[int, int]:
        """Row and column of the pixel that lies there."""
        across, down = x + along * cos - beside * sin, y + along * sin + beside * cos
        return math.floor(down), math.floor(across)

    on = [(ord(letter), *at(20.0 * n - 50, (-1) ** n * 2)) for n, letter in enumerate("LETTER")]
    off = [(ord("x"), *at(along, beside)) for along in (-60.0, 0.0, 60.0) for beside in (-20, 20)]
    off += [(ord("y"), *at(along, 0.0)) for along in (-80.0, 80.0)]
    shown = random.Random(0).sample([*on, *off], len(on) + len(off))
    line = Line(x * scale - 64, y * scale - 32, angle, 130 * scale, high * scale)
    codes = weights.shown_on(line, torch.tensor(shown, dtype=torch.int32), view)
    assert codes == [*b"LETTER"]
    assert weights.shown_on(line, torch.empty(0, 3, dtype=torch.int32), view) == []


class Knowing:
    """In place of an encoder: reads what the generated pages show, a letter in ten not."""

    def __init__(self, split: str) -> None:
        self.data: Any = datasets.create("pages", None, split, seed=1, fonts="builtin")
        self.number = 0
        self.sizes = (128, 192, 256)
        self.shown: list[int] = []
        self.lost = 0
        self.features: list[Tensor] = []

    def view(self, image: Tensor) -> View:
        return View(1.0, 0, 0, *image.shape[1:])

    def lines(self, page: Tensor) -> list[Letters]:
        """The page's own lines, the wrong letter now and then, and a line that is none."""
        rng, found = random.Random(self.number), []
        for run in runs(self.data.scene(self.number, self.sizes[self.number])):
            if not all(chr(code) in LETTERS for code in run.codes):
                continue
            kept = [code for code in run.codes if rng.random() > 0.1]
            if len(kept) < 0.6 * len(run.codes):
                continue
            said = "".join("o" if rng.random() < 0.05 else chr(code) for code in kept)
            letters = reading(said, run.line)
            found.append(letters)
            self.shown += kept
            self.lost += len(run.codes) - len(kept)
            self.features.append(letters.features[:, :WIDTH])
        far = Line(-500.0, -500.0, 0.0, 50.0, 20.0)
        self.number += 1
        return [*found, reading("nothing", far)]


def test_letters_of_pages_are_collected(weights: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    encoder = Knowing("train")
    monkeypatch.setattr(weights, "SIZES", encoder.sizes)
    features, codes, missed = weights.collect(encoder, "train", 3, fonts="builtin")
    assert encoder.number == 3 and len(codes) == len(encoder.shown) > 30
    assert codes.dtype == torch.int32 and torch.equal(features, torch.cat(encoder.features))
    # Of two alike beside each other either may be the one that was missed: a few are ghosts.
    wrong = sum(a != b for a, b in zip(codes.tolist(), encoder.shown, strict=True))
    assert wrong <= 0.03 * len(codes)
    assert missed * len(codes) == pytest.approx(encoder.lost, abs=0.03 * len(codes))


def test_what_is_written_is_read_again(
    weights: Any, networks: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    torch.manual_seed(0)
    finder, reader = LineFinder(), LineReader()
    monkeypatch.setattr(networks, "finder", lambda path: finder)
    monkeypatch.setattr(networks, "reader", lambda path: reader)

    def collected(encoder: Encoder, split: str, count: int, fonts: str) -> Any:
        assert not encoder.training
        close = torch.testing.assert_close
        close(encoder.trunk.reader.letter.weight, reader.letter.weight, rtol=1e-3, atol=1e-3)
        return torch.full((count, WIDTH), float(count)), torch.full((count,), 65).int(), 0.0

    monkeypatch.setattr(weights, "collect", collected)
    threads = torch.get_num_threads()
    weights.main(tmp_path, tmp_path / "new" / "folder", pages=10, threads=threads)
    for name, count in (("case", 10), ("case_val", 2)):
        path = tmp_path / "new" / "folder" / f"{name}.safetensors"
        assert {value.dtype for value in load_file(path).values()} == {torch.half, torch.int32}
        case = TypeCase(str(path))
        assert case.of == {65: (0, count)} and (case.features == count).all()
    encoder = Encoder(8, local=0)
    encoder.load_vit(str(tmp_path / "new" / "folder" / "trunk.safetensors"))
    torch.testing.assert_close(
        encoder.trunk.finder.head.weight, finder.head.weight, rtol=1e-3, atol=1e-3
    )


# From ONNX files


class Nodes:
    """What an ONNX file holds, as far as it is asked: nodes in order, tensors by their names."""

    def __init__(self) -> None:
        self.nodes: list[Any] = []
        self.tensors: dict[str, Tensor] = {}
        self.character = ""

    def add(self, kind: str, *inputs: str | Tensor, out: str | None = None) -> str:
        """A node after the others; its weights get names. What it gives is named `out`."""
        names = []
        for value in inputs:
            name = value if isinstance(value, str) else f"w{len(self.tensors)}"
            if not isinstance(value, str):
                self.tensors[name] = value
            names.append(name)
        out = out or f"x{len(self.nodes)}"
        self.nodes.append(SimpleNamespace(op_type=kind, input=names, output=[out]))
        return out

    def installed(self, monkeypatch: pytest.MonkeyPatch) -> Path:
        """The path that a stand-in for onnx reads this from."""
        onnx, helper = ModuleType("onnx"), ModuleType("onnx.numpy_helper")
        graph = SimpleNamespace(
            node=self.nodes,
            initializer=[SimpleNamespace(name=n, value=v) for n, v in self.tensors.items()],
        )
        about = [SimpleNamespace(key="character", value=self.character)]
        model = SimpleNamespace(graph=graph, metadata_props=about)
        onnx.load = lambda path: model  # type: ignore[attr-defined]
        onnx.numpy_helper = helper  # type: ignore[attr-defined]
        helper.to_array = lambda each: np.asarray(each.value.detach())  # type: ignore[attr-defined]
        monkeypatch.setitem(sys.modules, "onnx", onnx)
        monkeypatch.setitem(sys.modules, "onnx.numpy_helper", helper)
        return Path("some/file.onnx")

    def convolution(self, layer: Any, x: str) -> str:
        """One as these files have them: its bias is added after it."""
        kind = "ConvTranspose" if isinstance(layer, nn.ConvTranspose2d) else "Conv"
        x = self.add(kind, x, layer.weight)
        return x if layer.bias is None else self.add("Add", x, layer.bias.view(1, -1, 1, 1))


def lively(model: nn.Module) -> nn.Module:
    """Every weight is another number than at the start."""
    for value in model.parameters():
        nn.init.normal_(value, 0.3)
    return model


def convolutions(model: nn.Module, graph: Nodes, x: str = "page") -> str:
    for layer in model.modules():
        if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d):
            x = graph.add("Relu", graph.convolution(layer, x))
    return x


@torch.no_grad()
def test_batch_norms_are_folded_into_what_they_follow(
    networks: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    torch.manual_seed(0)
    graph, conv, norm = Nodes(), nn.Conv2d(3, 5, 3, bias=False), nn.BatchNorm2d(5).eval()
    for value in (norm.weight, norm.bias, norm.running_mean, norm.running_var):
        assert value is not None
        value.uniform_(0.5, 2)
    parts = norm.weight, norm.bias, norm.running_mean, norm.running_var
    scale, *others = (part for part in parts if part is not None)
    # One of its weights comes by another name, as the files have it.
    graph.tensors["scale"] = scale
    named = graph.add("Identity", graph.add("Identity", "scale"))
    graph.add("BatchNormalization", graph.add("Conv", "page", conv.weight), named, *others)
    plain = nn.Conv2d(5, 2, 1)
    graph.convolution(plain, graph.nodes[-1].output[0])
    bare = nn.Conv2d(2, 2, 1, bias=False)
    x = graph.convolution(bare, graph.nodes[-1].output[0])
    graph.add("Relu", x), graph.add("Sigmoid", x)  # goes two ways
    found = networks.Graph(graph.installed(monkeypatch)).convolutions()
    assert len(found) == 3
    page = torch.randn(1, 3, 6, 7)
    weight, bias = found[0]
    folded = torch.nn.functional.conv2d(page, weight, bias)
    torch.testing.assert_close(folded, norm(conv(page)), rtol=1e-4, atol=1e-4)
    assert torch.equal(found[1][0], plain.weight) and plain.bias is not None
    assert torch.equal(found[1][1], plain.bias)
    assert torch.equal(found[2][0], bare.weight) and found[2][1] is None


def test_the_finder_is_read_from_its_file(networks: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    donor, graph = lively(LineFinder()), Nodes()
    convolutions(donor, graph)
    found = networks.finder(graph.installed(monkeypatch))
    assert not found.training
    for name, value in donor.state_dict().items():
        assert torch.equal(found.state_dict()[name], value), name


def reader_file(donor: LineReader, character: str) -> Nodes:
    """As the recogniser's: convolutions, then products and sums; more letters, in their order."""
    graph = Nodes()
    graph.character = character
    x = convolutions(donor, graph)
    known = ["", *character.split("\n"), " "]
    place = {letter: number for number, letter in enumerate(known)}
    for layer in donor.modules():
        if isinstance(layer, nn.LayerNorm):
            x = graph.add("Mul", x, torch.tensor(0.5))  # a number is no weight
            x = graph.add("Add", x, torch.tensor(1e-6))
            x = graph.add("Add", graph.add("Mul", x, layer.weight), layer.bias)
        elif isinstance(layer, nn.Linear):
            weight, bias = layer.weight.detach(), layer.bias.detach()
            if layer is donor.letter:
                weight, bias = torch.full((len(known), WIDTH), 7.0), torch.full((len(known),), 7.0)
                for number, letter in enumerate(["", *LETTERS]):
                    if letter in place:
                        weight[place[letter]] = layer.weight[number].detach()
                        bias[place[letter]] = layer.bias[number].detach()
            x = graph.add("Add", graph.add("MatMul", x, weight.T), bias)
    return graph


def test_the_reader_is_read_from_its_file_with_the_letters_that_are_kept(
    networks: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    donor = LineReader()
    lively(donor)
    letters = [*LETTERS[:-1], *"日本語абв"]
    random.Random(0).shuffle(letters)
    graph = reader_file(donor, "\n".join(letters))
    found = networks.reader(graph.installed(monkeypatch))
    assert not found.training
    for name, value in donor.state_dict().items():
        assert torch.equal(found.state_dict()[name], value), name


def refused(call: Callable[[Path], Any], path: Path) -> None:
    with pytest.raises(SystemExit) as stop:
        call(path)
    said = str(stop.value)
    assert said.startswith(str(path)) and "small network of PP-OCRv6" in said and "\n" not in said


def test_another_network_is_refused_in_a_sentence(
    networks: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    donor = LineReader()
    letters = "\n".join(LETTERS[:-1])
    few = reader_file(donor, letters[4:])  # lacks ! and "
    refused(networks.reader, few.installed(monkeypatch))
    refused(networks.finder, reader_file(donor, letters).installed(monkeypatch))
    refused(networks.finder, Nodes().installed(monkeypatch))
    path = Path("some/file.onnx")
    layer = nn.Conv2d(3, 4, 1)
    assert layer.bias is not None
    before = layer.weight.detach().clone()
    for wrong in (
        [],
        [(torch.zeros(4, 3, 1, 1), None)],
        [(torch.zeros(4, 3, 3, 3), torch.zeros(4))],
        [(torch.zeros(4, 3, 1, 1), torch.zeros(4))] * 2,
    ):
        refused(partial(networks._put, layer, (nn.Conv2d,), wrong), path)
    assert torch.equal(layer.weight, before)
    networks._put(layer, (nn.Conv2d,), [(torch.ones(4, 3, 1, 1), torch.ones(4))], path)
    assert (layer.weight == 1).all() and (layer.bias == 1).all()
