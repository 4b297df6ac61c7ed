"""The Triton kernels against the formulas: on a GPU, else in Triton's interpreter.

Triton has to be told of the interpreter before it is imported, so without a GPU the checks run in
a process of their own. By hand: TRITON_INTERPRET=1 pytest tests/latte/test_triton_scan.py
"""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from scans import agree, flat, judge
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode

from encoders.latte import State, naive, triton_scan
from encoders.latte.state import EMPTY

pytest.importorskip("triton")

GPU = torch.cuda.is_available()
INTERPRETED = os.environ.get("TRITON_INTERPRET") == "1"
DEVICE = "cuda" if GPU else "cpu"
DATA = Path(__file__).parents[1] / "data" / "latte"


def scan(q: Tensor, k: Tensor, v: Tensor, u: Tensor, z: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    p, k, v, u, z = (x.to(DEVICE) for x in (q.softmax(-1), k, v, u, z))
    y, end = triton_scan.scan(p, k, v, State(u, z))
    return y.to(q.device), end.u.to(q.device), end.z.to(q.device)


def tokens(batch: int, length: int, heads: int, latents: int, width: int) -> list[Tensor]:
    """q, k, v and an initial u and z in float32."""
    generator = torch.Generator().manual_seed(length)
    shapes = [(batch, length, heads, n) for n in (latents, latents, width)]
    state = [(batch, heads, latents, width), (batch, heads, latents)]
    return [torch.randn(shape, generator=generator) for shape in [*shapes, *state]]


def golden_errors(name: str) -> list[float]:
    """Largest errors of y and its gradients against the authors' results, relative to the largest.

    One layer: X @ Wq and so on, heads side by side.
    """
    heads = int(name.split("_H")[1].split("_")[0])
    names = ("X", "Wq", "Wk", "Wv", "o_proj")
    with np.load(DATA / f"{name}.npz") as file:
        arrays = {key: torch.from_numpy(file[key]) for key in file.files}
    x, wq, wk, wv, wo = leaves = [arrays[key].float().requires_grad_() for key in names]
    q, k, v = ((x @ w).unflatten(-1, (heads, -1)) for w in (wq, wk, wv))
    start = State.empty(x.shape[0], heads, k.shape[-1], v.shape[-1])
    y = scan(q, k, v, *start)[0].flatten(2) @ wo
    got = [y.detach(), *torch.autograd.grad(y, leaves, arrays["cotangent"].float())]
    expected = [arrays["y"], *(arrays[f"grad_{key}"] for key in names)]
    return [
        float((one.double() - other).abs().max() / other.abs().max().clamp(min=1))
        for one, other in zip(got, expected, strict=True)
    ]


class TestKernels:
    __test__ = GPU or INTERPRETED

    @pytest.mark.parametrize(
        "shape",
        (
            (2, 1, 2, 4, 6),
            (1, 16, 2, 16, 16),
            (1, 65, 1, 20, 6),
            (1, 130, 1, 4, 16),
            pytest.param((2, 130, 2, 20, 16), marks=pytest.mark.slow),
            pytest.param((1, 257, 1, 64, 40), marks=pytest.mark.slow),
        ),
    )
    def test_they_are_the_formulas(self, shape: tuple[int, ...]) -> None:
        inputs = tokens(*shape)
        agree(flat(scan, inputs), flat(judge, [x.double() for x in inputs]), 2e-6)

    def test_extreme_logits(self) -> None:
        # One head of logits of +-1000, one of keys that rise by 400 within a chunk.
        q, k, v, u, z = tokens(1, 40, 2, 4, 6)
        k[:, :, 0] *= 1000
        k[:, :, 1] += torch.linspace(0, 400, 40)[:, None]
        inputs = [q, k, v, u, z]
        agree(flat(scan, inputs), flat(judge, [x.double() for x in inputs]), 3e-4)

    def test_pads_and_an_empty_state(self) -> None:
        mask = torch.ones(4, 20, dtype=torch.bool)
        mask[0, :8], mask[1, 5:17], mask[2, 9:], mask[3] = False, False, False, False
        hidden = ~mask[..., None, None]

        def masked(q: Tensor, k: Tensor, v: Tensor) -> tuple[Tensor, ...]:
            keys, values = k.masked_fill(hidden, EMPTY), v.masked_fill(hidden, 0)
            y, u, z = scan(q, keys, values, *State.empty(4, 1, 4, 6))
            assert (z[3] == EMPTY).all()
            return y, u, z[:3]

        def formulas(q: Tensor, k: Tensor, v: Tensor) -> tuple[Tensor, ...]:
            state = State.of(k, v, mask)
            return naive.causal(q, k, v, mask), state.u, state.z[:3]

        inputs = tokens(4, 20, 1, 4, 6)[:3]
        agree(flat(masked, inputs), flat(formulas, [x.double() for x in inputs]), 2e-6)

    def test_bfloat16_is_close_to_single(self, monkeypatch: pytest.MonkeyPatch) -> None:
        if INTERPRETED:  # which cannot multiply bfloat16: float16 stands in
            from triton import language

            from encoders.latte import triton_backward, triton_forward

            half = {
                **triton_forward.options(*tokens(1, 40, 1, 4, 6)[1:3]),
                "DTYPE": language.float16,
            }
            for file in (triton_forward, triton_backward):
                monkeypatch.setattr(file, "options", lambda p, v: half)
        q, k, v, u, z = tokens(1, 40, 1, 4, 6)
        inputs = [q, k, v.bfloat16(), u, z]
        got, expected = flat(scan, inputs), flat(judge, [x.double() for x in inputs])
        assert [x.dtype for x in got[:3]] == [torch.bfloat16, torch.float32, torch.float32]
        assert [x.dtype for x in got[3:]] == [x.dtype for x in inputs]
        agree(got, expected, 0.01)

    def test_any_strides(self) -> None:
        inputs = tokens(1, 5, 2, 4, 6)
        turned = [x.transpose(0, -1).contiguous().transpose(0, -1) for x in inputs]
        y, u, z = (x.sum() for x in scan(*(x.requires_grad_() for x in turned)))
        got = torch.autograd.grad(y + u + z, turned)  # of strides 0
        leaves = [x.double().requires_grad_() for x in inputs]
        total = sum((x.sum() for x in judge(*leaves)), torch.zeros(()))
        agree(got, torch.autograd.grad(total, leaves), 2e-6)

    @pytest.mark.parametrize(
        "name",
        (
            "causal_H1_L16_T1",
            "causal_H1_L8_T5",
            pytest.param("causal_H4_L16_T64", marks=pytest.mark.slow),
        ),
    )
    def test_goldens(self, name: str) -> None:
        assert max(golden_errors(name)) < 1e-5

    @pytest.mark.slow
    def test_the_extreme_golden(self) -> None:
        # Logits of +-1000 are themselves only good to about 1e-4 in float32.
        assert max(golden_errors("causal_extreme_H4_L16_T64")) < 2e-3


@pytest.mark.slow
@pytest.mark.skipif(GPU or INTERPRETED, reason="the checks run here")
@pytest.mark.parametrize("which", ("not slow", "slow"))
def test_the_checks_in_the_interpreter(which: str) -> None:
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "-p",
        "no:cacheprovider",
        "-m",
        which,
        __file__,
    ]
    environment = {**os.environ, "TRITON_INTERPRET": "1"}
    run = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert run.returncode == 0, run.stdout + run.stderr


def test_what_is_available(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(triton_scan, "_installed", lambda: True)
    with FakeTensorMode():

        def on_gpu(width: int, dtype: torch.dtype = torch.float32) -> Tensor:
            return torch.empty(1, 1, 1, width, dtype=dtype, device="cuda")

        assert triton_scan.available(on_gpu(4), on_gpu(48, torch.bfloat16))
        assert triton_scan.available(on_gpu(64), on_gpu(128))
        assert not triton_scan.available(on_gpu(65), on_gpu(128))
        assert not triton_scan.available(on_gpu(4), on_gpu(600))
        assert not triton_scan.available(on_gpu(4), on_gpu(48, torch.float64))
        assert not triton_scan.available(torch.empty(1), torch.empty(1))
        monkeypatch.setattr(triton_scan, "_installed", lambda: False)
        assert not triton_scan.available(on_gpu(4), on_gpu(48))


@pytest.mark.slow
@pytest.mark.skipif(INTERPRETED, reason="the interpreter does not compile")
@pytest.mark.filterwarnings("ignore:TRITON_DEFAULT_FP_FUSION")
def test_they_compile_for_a_gpu() -> None:
    import triton
    from triton.backends.compiler import GPUTarget
    from triton.compiler import ASTSource

    from encoders.latte import triton_backward, triton_forward

    sizes = triton_forward.options(
        torch.empty(1, 100, 2, 16), torch.empty(1, 100, 2, 48).bfloat16()
    )
    warps = sizes.pop("num_warps")
    for file, names in (
        (triton_forward, ("summaries", "join", "outputs")),
        (triton_backward, ("reads", "join_from_right", "writes")),
    ):
        for name in names:
            kernel = getattr(file, name)
            constants = {
                key: sizes[key] for key in kernel.arg_names if key in sizes.keys() - set("TH")
            }
            kinds = {"T": "i32", "H": "i32", "chunks": "i32"} | dict.fromkeys("vyg", "*bf16")
            signature = {
                key: "constexpr" if key in constants else kinds.get(key, "*fp32")
                for key in kernel.arg_names
            }
            source = ASTSource(kernel, signature, constants)
            target = GPUTarget("cuda", 80, 32)
            compiled = triton.compile(source, target=target, options={"num_warps": warps})
            assert compiled.metadata.shared <= 48 * 1024  # what any GPU of that kind gives
