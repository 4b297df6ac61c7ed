"""The text recogniser PP-OCRv6 (small) up to its head, as its ONNX file has it.

Only to turn its weights into those of encoders/vision/glyph_trunk.py, which has no gates.
"""

from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn.functional import hardsigmoid, relu

from encoders.vision.glyph_trunk import Trunk

LINE = 48
"""Height in pixels of the lines that it was trained on."""
GATED = (0, 4, 6, 8, 11)
"""Blocks with a gate after their first convolution."""


class Gate(nn.Module):
    """Squeeze and excitation (arXiv 1709.01507): how much of each channel a line lets through."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.squeeze = nn.Conv2d(dim, dim // 4, 1)
        self.excite = nn.Conv2d(dim // 4, dim, 1)

    def forward(self, x: Tensor) -> Tensor:
        mean = x.mean((2, 3), keepdim=True)
        return hardsigmoid(self.excite(relu(self.squeeze(mean))))


class Recogniser(nn.Module):
    """The trunk with its gates."""

    def __init__(self) -> None:
        super().__init__()
        self.trunk = Trunk()
        dims = [self.trunk.blocks[at].near.in_channels for at in GATED]
        gates = (Gate(dim) for dim in dims)
        self.gates = nn.ModuleDict(dict(zip(map(str, GATED), gates, strict=True)))

    def convolutions(self) -> list[nn.Conv2d]:
        """All, in the order in which they are applied."""
        trunk = self.trunk
        found = [trunk.first, trunk.narrow, trunk.again, trunk.second, trunk.out]
        for at, block in enumerate(trunk.blocks):
            gate = self.gates[str(at)] if at in GATED else None
            found += [block.near, *([gate.squeeze, gate.excite] if gate else [])]
            found += [block.wide, block.back]
        return found

    def gates_of(self, line: Tensor) -> list[Tensor]:
        """What each gate lets through, `[channels]`, of a line RGB `[3, 48, W]` in [0, 255]."""
        found: list[Tensor] = []

        def let_through(gate: nn.Module, x: Tensor) -> Tensor:
            found.append(gate(x))
            return x * found[-1]

        handles = [
            self.trunk.blocks[at].near.register_forward_hook(
                lambda _, __, x, gate=self.gates[str(at)]: let_through(gate, x)
            )
            for at in GATED
        ]
        self.trunk.convolved(line)
        for handle in handles:
            handle.remove()
        return [gate.flatten() for gate in found]

    def folded(self, gates: list[Tensor]) -> Trunk:
        """The trunk with these gates in the convolutions before them."""
        for at, gate in zip(GATED, gates, strict=True):
            near = self.trunk.blocks[at].near
            near.weight.data *= gate.view(-1, 1, 1, 1)
            near.bias.data *= gate
        return self.trunk


def load(path: Path) -> Recogniser:
    """The recogniser in an ONNX file. Raises SystemExit where it is another network."""
    import onnx
    from onnx import numpy_helper

    graph = onnx.load(str(path)).graph
    tensors = {each.name: numpy_helper.to_array(each) for each in graph.initializer}
    nodes, model = list(graph.node), Recogniser()
    # A convolution is followed by the addition of its bias; those of the head by a batch norm.
    pairs = [
        (tensors[node.input[1]], tensors[next(name for name in after.input if name in tensors)])
        for node, after in zip(nodes, nodes[1:], strict=False)
        if node.op_type == "Conv" and after.op_type == "Add"
    ]
    layers = model.convolutions()
    if [layer.weight.shape for layer in layers] != [weight.shape for weight, _ in pairs]:
        raise SystemExit(f"{path} is not the small recogniser of PP-OCRv6")
    for layer, (weight, bias) in zip(layers, pairs, strict=True):
        layer.weight.data = torch.from_numpy(weight.copy())
        layer.bias.data = torch.from_numpy(bias.copy()).flatten()
    return model.eval()
