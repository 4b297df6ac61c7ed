"""Long rows: the streamed halves of the bidirectional form, and the causal scan in many segments.

The sizes at which they begin are made small here, so that short sequences go through them.
"""

import importlib

import pytest
import torch
from torch import Tensor

from encoders.latte import State, bidirectional, causal, gentle, naive, steep, streams

# The package's name `causal` is the function, not its file.
scan = importlib.import_module("encoders.latte.causal")
LENGTHS = (1, 63, 64, 65, 257, 500)
close = torch.testing.assert_close


@pytest.fixture(autouse=True)
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(streams, "WHOLE", 0)
    monkeypatch.setattr(streams, "PIECE", 50)
    monkeypatch.setattr(scan, "SEGMENT", 128)


def outputs(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    return causal(q, k, v)[0]


@pytest.mark.parametrize("scale", (1, 300))
@pytest.mark.parametrize("tokens", LENGTHS)
@pytest.mark.parametrize(
    ("fast", "judge"),
    ((bidirectional, naive.bidirectional), (outputs, naive.causal)),
    ids=("bidirectional", "causal"),
)
def test_long_ways_are_naive(draw, gradients, fast, judge, tokens: int, scale: float) -> None:
    inputs = draw(tokens, scale, batch=3)
    for got, expected in zip(gradients(fast, inputs), gradients(judge, inputs), strict=True):
        close(got, expected, rtol=0, atol=1e-10)


@pytest.mark.parametrize("kind", ("left", "middle", "right", "row"))
@pytest.mark.parametrize("way", ("bidirectional", "causal"))
def test_pads_change_nothing(draw, gradients, way: str, kind: str) -> None:
    mask = torch.ones(2, 300, dtype=torch.bool)
    spans = {"left": slice(140), "middle": slice(100, 250), "right": slice(130, 300)}
    mask[0, spans.get(kind, slice(None))] = False
    q, k, v = draw(300)
    k = k.masked_fill(~mask[..., None, None], 500.0)

    def fast(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        y = bidirectional(q, k, v, mask) if way == "bidirectional" else causal(q, k, v, mask)[0]
        return y[mask]

    def judge(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        return getattr(naive, way)(q, k, v, mask)[mask]  # type: ignore[no-any-return]

    fast_, judged = gradients(fast, (q, k, v)), gradients(judge, (q, k, v))
    for got, expected in zip(fast_, judged, strict=True):
        close(got, expected, rtol=0, atol=1e-10)


def test_segments_of_either_form_join(draw, gradients, monkeypatch: pytest.MonkeyPatch) -> None:
    q, k, v = draw(500)
    k[:, 130:170] += torch.linspace(0, 400, 40, dtype=torch.float64)[:, None, None]
    taken = []
    for form in (gentle, steep):
        usual = form.forward

        def spy(*args: Tensor, usual=usual, form=form) -> tuple[Tensor, State]:
            taken.append(form.__name__.split(".")[-1])
            return usual(*args)

        monkeypatch.setattr(form, "forward", spy)
    fast, judged = gradients(outputs, (q, k, v)), gradients(naive.causal, (q, k, v))
    for got, expected in zip(fast, judged, strict=True):
        close(got, expected, rtol=0, atol=1e-10)
    assert taken == ["gentle"] * 2 + ["steep"] + ["gentle"] * 5  # of 64 tokens in two rows


@pytest.mark.parametrize("rise", (0, 59, 61, 400))
def test_either_form_bears_what_it_is_given(draw, gradients, rise: float) -> None:
    """In fp32: at the largest rise that one reference may serve, and beyond it."""
    q, k, v = (x.float() for x in draw(128))
    k += torch.linspace(0, rise, 128)[:, None, None]
    expected = gradients(naive.causal, [x.double() for x in (q, k, v)])
    for got, wanted in zip(gradients(outputs, (q, k, v)), expected, strict=True):
        # Logits of 400 are themselves only good to 3e-5.
        close(got.double(), wanted, rtol=1e-4, atol=2e-5 if rise < 400 else 1e-4)


@pytest.mark.parametrize("scale", (1, 100))
def test_derivatives_of_the_scan_by_finite_differences(draw, scale: float) -> None:
    q, k, v = draw(130, 1, batch=1)
    k[:, 66:] += scale - 1
    state = State.of(*draw(5, batch=1)[1:])
    leaves = [x.requires_grad_() for x in (q, k, v, *state)]

    def run(q: Tensor, k: Tensor, v: Tensor, u: Tensor, z: Tensor) -> tuple[Tensor, ...]:
        y, end = causal(q, k, v, None, State(u, z))
        return y[:, ::9], *end

    assert torch.autograd.gradcheck(run, leaves, fast_mode=True)


@pytest.mark.parametrize("way", ("bidirectional", "state"))
def test_derivatives_of_the_streams_by_finite_differences(draw, way: str) -> None:
    leaves = [x.requires_grad_() for x in draw(60, batch=1)]

    def run(q: Tensor, k: Tensor, v: Tensor) -> tuple[Tensor, ...]:
        return tuple(State.of(k, v)) if way == "state" else (bidirectional(q, k, v),)

    inputs = leaves if way == "bidirectional" else [leaves[0].detach(), *leaves[1:]]
    assert torch.autograd.gradcheck(run, inputs, fast_mode=True)


@pytest.mark.parametrize("function", (outputs, bidirectional), ids=("causal", "bidirectional"))
def test_a_second_derivative_is_refused(draw, function) -> None:
    inputs = [x.requires_grad_() for x in draw(70)]
    y = function(*inputs)
    (first,) = torch.autograd.grad(y.sum(), inputs[1], create_graph=True)
    with pytest.raises(RuntimeError):
        torch.autograd.grad(first.square().sum(), inputs[1])


def test_memory_of_training_does_not_hold_states_of_tokens(draw) -> None:
    """Kept for backward: q, k, v and a state a segment, nothing of T Lh Dh or C x C weights."""
    inputs = [x.requires_grad_() for x in draw(500, batch=1)]
    kept: dict[int, int] = {}

    def note(tensor: Tensor) -> Tensor:
        kept[tensor.data_ptr()] = tensor.numel()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
        outputs(*inputs)
    size = sum(x.numel() for x in inputs)
    states = 5 * (2 * 4 * 6 + 2 * 4)
    assert sum(kept.values()) <= size + states
    assert size < 500 * 2 * 4 * 6  # what one state a token would take


@pytest.mark.parametrize("function", (outputs, bidirectional), ids=("causal", "bidirectional"))
def test_torch_compile_takes_it_as_one_graph(draw, gradients, function) -> None:
    compiled = torch.compile(function, fullgraph=True, backend="aot_eager")
    inputs = draw(150)
    for got, expected in zip(gradients(compiled, inputs), gradients(function, inputs), strict=True):
        close(got, expected, rtol=0, atol=1e-12)
