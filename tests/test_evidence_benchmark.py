"""benchmarks/evidence.py: its rollouts against whole matrices, and a run from end to end."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import evidence_judge as judge
import pytest
import torch
from networks import image_of, make, noise
from torch import Tensor

from encoders.tiling import Grid
from vqa import evidence_reading
from vqa.batch import Batch
from vqa.encoded import Source
from vqa.evidence import locate
from vqa.model import LatteVQA

FOLDER = Path(__file__).parents[1] / "benchmarks"
ASKED = Batch(
    [],
    torch.tensor([0]),
    torch.tensor([[4, 8, 3, 6]]),
    torch.ones(1, 4, dtype=torch.bool),
    torch.tensor([[1, 5, 7]]),
    torch.tensor([[5, 7, 2]]),
)
WAYS = [("latte", "decoder"), ("latte", "encoder"), ("attention", "decoder")]


def matrices(model: LatteVQA, image: Any) -> tuple[list[Tensor], list[Tensor]]:
    """Attention of the encoder's and the decoder's layers, mean over heads, `[T, T]` each."""
    x, of_encoder = image.tokens, []
    for block in model.encoder.blocks:
        x = block.local(x, image.grids)  # type: ignore[operator, union-attr]
        normed = block.norm1(x)  # type: ignore[operator]
        seen = judge.weights(block.mixer, normed, image.mask, image.places, causal=False)
        x = block._finish(x + judge.mix(block.mixer, normed, image.places, seen))  # type: ignore[operator]
        of_encoder.append(seen[0].mean(0))
    assert ASKED.answer is not None
    words = model._words(ASKED.answer, 1)
    if model.network.question == "decoder":
        words = torch.cat([model._words(ASKED.question, 0), words], 1)
    memory = image._replace(tokens=model.encoder.norm(x))
    real = torch.ones(words.shape[:2], dtype=torch.bool)
    of_decoder = judge.decode(model.decoder, memory, words, real, scanned=False)[2]
    return of_encoder, [seen[0].mean(0) for seen in of_decoder]


@pytest.mark.parametrize("way", WAYS, ids=str)
def test_rollout_is_the_product_of_matrices(
    way: tuple[str, str], script: Callable[[str], Any]
) -> None:
    model, pixels = make(*way).double(), noise(40, 90)
    methods = script("evidence_methods")
    with torch.no_grad():
        shown = model.vision([pixels])
        image = evidence_reading.sequence(model, shown, ASKED)
        of_encoder, of_decoder = matrices(model, image)
    count, total = image.mask.shape[1], len(of_decoder[0])
    weights = torch.zeros(total, dtype=torch.float64)
    weights[-3:] = 1 / 3
    direct = sum(weights @ seen for seen in of_decoder) / len(of_decoder)
    found = methods.attention(model, shown, ASKED)[0]
    torch.testing.assert_close(found, direct[:count], rtol=0, atol=1e-10)
    for seen in reversed(of_decoder):
        step = seen.clone()
        step[:count] = torch.eye(total)[:count]  # the memory passes through no layer
        step[count:] = (step[count:] + torch.eye(total)[count:]) / 2
        weights = weights @ step
    decoded, read = methods.decoder_rollout(model, shown, ASKED)
    torch.testing.assert_close(decoded, weights[:count], rtol=0, atol=1e-10)
    assert read.grids == image.grids
    expected = weights[:count]
    for seen in reversed(of_encoder):
        expected = expected @ (seen + torch.eye(count)) / 2
    found = methods.rollout(model, shown, ASKED)[0]
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-10)


def test_runs_on_canvas_and_on_files(
    script: Callable[[str], Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from vqa.datasets.canvas import Dataset
    from vqa.generate import generate

    benchmark = script("evidence")
    model = str(FOLDER / "models" / "canvas")
    benchmark.canvas(model, sizes="256", kinds="attribute", count=2, out=tmp_path)
    (found,) = json.loads((tmp_path / "evidence_canvas.json").read_text()).values()
    assert found["questions"] == 2 and 0 < found["chance"] < 0.7
    assert set(found["methods"]) == set(script("evidence_methods").METHODS)
    generate(Dataset(None, "test", size=256, count=4, kinds="attribute"), tmp_path / "set")
    benchmark.files(model, str(tmp_path / "set"), count=1, out=tmp_path)
    told = capsys.readouterr().out
    assert "| set test | gradient-weighted attention |" in told and "chance (1 answers)" in told


def test_a_stopped_run_goes_on(
    script: Callable[[str], Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is measured is not measured again, and is the same as in one go, features or none."""
    from vqa.datasets.canvas import Dataset
    from vqa.generate import generate

    benchmark, measures = script("evidence"), script("evidence_measure")
    model, root = str(FOLDER / "models" / "canvas"), str(tmp_path / "set")
    generate(Dataset(None, "test", size=256, count=6, kinds="attribute"), Path(root))
    asked: list[str] = []
    judged = measures._judged

    def watched(predictor: Any, item: Any, *words: Any) -> Any:
        asked.append(item.example.question_id)
        return judged(predictor, item, *words)

    monkeypatch.setattr(measures, "_judged", watched)
    benchmark.files(model, root, count=2, out=tmp_path / "once")
    whole, lines = [*asked], tmp_path / "parts" / "evidence_files.jsonl"
    words: dict[str, Any] = {"out": lines.parent, "features": tmp_path / "features"}
    benchmark.files(model, root, count=1, **words)
    first = lines.read_text(encoding="utf-8")
    lines.write_text(f'{{"run": "of another model"}}\n{first}{{"run', encoding="utf-8")
    asked.clear()
    benchmark.files(model, root, count=2, **words)
    assert len(asked) == len(whole) - first.count("\n") > 0 and set(asked) < set(whole)
    assert lines.read_text(encoding="utf-8").startswith(first)
    found = [tmp_path / name / "evidence_files.json" for name in ("once", "parts")]
    once, parts = (json.loads(path.read_text(encoding="utf-8"))["set test"] for path in found)
    assert once["questions"] == parts["questions"] == 2
    for name, scores in once["methods"].items():
        assert parts["methods"][name] == pytest.approx(scores, abs=1e-4)


def test_measures_see_what_they_should(script: Callable[[str], Any]) -> None:
    measures = script("evidence_measure")
    assert measures.overlap((0, 0, 10, 10), (5, 0, 15, 10)) == pytest.approx(1 / 3)
    assert measures.overlap((0, 0, 10, 10), (10, 0, 15, 10)) == 0
    near = measures.near([(32, 32, 64, 64)], Grid(5, 5), (32, 32))
    assert near.nonzero().tolist() == [[r, c] for r in (0, 1, 2) for c in (0, 1, 2)]
    heat = torch.zeros(25)
    heat[24] = 1
    found = locate(heat, image_of((Grid(5, 5),), 160, 160, 32), Source(160, 160, 1.0, 25))
    assert measures.points(found, [(64, 64, 120, 120)], (32, 32)) == 1
    assert measures.points(found, [(0, 0, 64, 64)], (32, 32)) == 0
