"""VAPOR through the layer, against arrays of a naive reference (no code of the authors' has it)."""

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from encoders import mixers

FILES = sorted((Path(__file__).parents[1] / "data" / "latte").glob("vapor_*.npz"))
WEIGHTS = {"Wq": "query", "Wk": "key", "Wv": "value", "o_proj": "out"}
close = torch.testing.assert_close


def loaded(path: Path, dtype: torch.dtype) -> tuple[torch.nn.Module, dict[str, Tensor]]:
    """The layer with the weights of the file, and its arrays."""
    with np.load(path) as file:
        arrays = {name: torch.from_numpy(file[name]).to(dtype) for name in file.files}
    heads = int(path.stem.split("_H")[1].split("_")[0])
    width, latents = arrays["Wq"].shape
    mixer = mixers.create("latte", width, heads, latents=latents, vapor=True, gain=1).to(dtype)
    for name, layer in WEIGHTS.items():
        getattr(mixer, layer).weight.data.copy_(arrays[name].T)
    return mixer, arrays


def test_both_directions_are_here() -> None:
    assert len([path for path in FILES if "causal" in path.stem]) == len(FILES) / 2 > 5


@pytest.mark.parametrize("dtype", (torch.float64, torch.float32))
@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
@torch.no_grad()
def test_the_layer_is_the_reference(path: Path, dtype: torch.dtype) -> None:
    mixer, arrays = loaded(path, dtype)
    x = arrays["X"]
    y = mixer(x) if "bidirectional" in path.stem else mixer.causal(x)[0]  # type: ignore[operator]
    close(y, arrays["y"], rtol=0, atol=1e-10 if dtype == torch.float64 else 2e-5)


@pytest.mark.parametrize(
    "path", [path for path in FILES if "causal" in path.stem and "_T1" not in path.stem]
)
@torch.no_grad()
def test_positions_count_on_through_prefix_scan_and_step(path: Path) -> None:
    mixer, arrays = loaded(path, torch.float64)
    x, half = arrays["X"], arrays["X"].shape[1] // 2
    state = mixer.prefix(x[:, :half])  # type: ignore[operator]
    y, state = mixer.causal(x[:, half:-1], None, state)  # type: ignore[operator]
    last, _ = mixer.step(x[:, -1], state)  # type: ignore[operator]
    close(torch.cat([y, last[:, None]], 1), arrays["y"][:, half:], rtol=0, atol=1e-10)
