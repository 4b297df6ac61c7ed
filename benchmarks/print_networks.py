"""The detector and the recogniser of PP-OCRv6 (small) as their ONNX files have them, in torch.

Only to turn their weights into those of encoders/vision/line_finder.py and line_reader.py: the
layers of both are defined in the order in which the files apply them.
"""

from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from encoders.vision.line_finder import LineFinder
from encoders.vision.line_reader import LETTERS, LineReader

Weights = list[tuple[Tensor, Tensor | None]]
"""Weight and bias of layers."""
_EPS = 1e-5
"""Added to the variance of batch norms."""


class Graph:
    """The nodes of an ONNX file, and its tensors by name."""

    def __init__(self, path: Path) -> None:
        import onnx
        from onnx import numpy_helper

        model = onnx.load(str(path))
        self.metadata = {each.key: each.value for each in model.metadata_props}
        tensors = {each.name: numpy_helper.to_array(each) for each in model.graph.initializer}
        same = {
            node.output[0]: node.input[0] for node in model.graph.node if node.op_type == "Identity"
        }
        self.nodes = [node for node in model.graph.node if node.op_type != "Identity"]
        for node in self.nodes:
            for place, name in enumerate(node.input):
                while name in same:
                    name = same[name]
                node.input[place] = name
        self.tensors = {name: torch.from_numpy(value.copy()) for name, value in tensors.items()}

    def constants(self, node: Any) -> list[Tensor]:
        """The inputs of a node that are weights."""
        return [self.tensors[name] for name in node.input if name in self.tensors]

    def convolutions(self) -> Weights:
        """All, with the batch norm after each in them."""
        found: Weights = []
        for node in self.nodes:
            if node.op_type not in ("Conv", "ConvTranspose"):
                continue
            weight, bias = self.tensors[node.input[1]], None
            after = [other for other in self.nodes if node.output[0] in other.input]
            if len(after) == 1 and after[0].op_type == "Add":
                bias = next((each.flatten() for each in self.constants(after[0])), None)
            elif len(after) == 1 and after[0].op_type == "BatchNormalization":
                scale, shift, mean, variance = self.constants(after[0])
                factor = scale / (variance + _EPS).sqrt()
                weight, bias = weight * factor.view(-1, 1, 1, 1), shift - mean * factor
            found.append((weight, bias))
        return found

    def followed(self, first: str, last: str) -> Weights:
        """Of each `first` with a weight whose result goes on to a `last` with one: these two."""
        pairs = zip(self.nodes, self.nodes[1:], strict=False)
        found: Weights = []
        for one, other in pairs:
            if (one.op_type, other.op_type) == (first, last):
                weights, biases = self.constants(one), self.constants(other)
                if weights and biases and biases[0].dim():
                    found.append((weights[0], biases[0]))
        return found


def finder(path: Path) -> LineFinder:
    """The detector in an ONNX file. Raises SystemExit where it is another network."""
    model = LineFinder()
    _put(model, (nn.Conv2d, nn.ConvTranspose2d), Graph(path).convolutions(), path)
    return model.eval()


def reader(path: Path) -> LineReader:
    """The recogniser in an ONNX file. Raises SystemExit where it is another network."""
    graph, model = Graph(path), LineReader()
    _put(model, (nn.Conv2d,), graph.convolutions(), path)
    # Of the letters those that are kept; the file's list lacks "none" at its start and " " last.
    known = ["", *graph.metadata.get("character", "").split("\n"), " "]
    linear = [(weight.T, bias) for weight, bias in graph.followed("MatMul", "Add")]
    if linear and len(linear[-1][0]) == len(known) and set(LETTERS) <= set(known):
        place = {letter: number for number, letter in enumerate(known)}
        kept = [0, *(place[letter] for letter in LETTERS)]
        linear[-1] = linear[-1][0][kept], linear[-1][1][kept]
    _put(model, (nn.Linear,), linear, path)
    _put(model, (nn.LayerNorm,), graph.followed("Mul", "Add"), path)
    return model.eval()


def _put(model: nn.Module, kinds: tuple[type, ...], weights: Weights, path: Path) -> None:
    layers: list[Any] = [layer for layer in model.modules() if isinstance(layer, kinds)]
    shapes = [(layer.weight.shape, layer.bias is not None) for layer in layers]
    if shapes != [(weight.shape, bias is not None) for weight, bias in weights]:
        raise SystemExit(f"{path} is not the small network of PP-OCRv6 that is wanted here")
    for layer, (weight, bias) in zip(layers, weights, strict=True):
        layer.weight.data.copy_(weight)
        if bias is not None:
            layer.bias.data.copy_(bias)
