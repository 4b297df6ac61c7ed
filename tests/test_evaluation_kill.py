"""An evaluation that is killed, again and again, ends in the files of one that was left alone."""

import json
import os
import random
import subprocess
import sys
from pathlib import Path

import pytest

from vqa import datasets
from vqa.evaluation.batches import batches
from vqa.evaluation.identity import identity
from vqa.evaluation.journal import Journal
from vqa.evaluation.run import evaluate
from vqa.evaluation.settings import Settings
from vqa.predictor import Predictor
from vqa.questions import Sizes

FILES = ("predictions.jsonl", "results.json", "scores.json")

# Imports once, then kills one child after another: a start of Python takes seconds.
KILLER = """
import os, random, signal, sys, time
import torch
torch.set_num_threads(1)
from pathlib import Path
from vqa import datasets
from vqa.evaluation.run import evaluate
from vqa.evaluation.settings import Settings
from vqa.predictor import Predictor
model, root, out, kills, seed = *sys.argv[1:4], int(sys.argv[4]), int(sys.argv[5])
predictor = Predictor.from_pretrained(model, device="cpu")
data = datasets.create("jsonl", root, "train")
rng, killed = random.Random(seed), 0
while True:
    child = os.fork()
    if child == 0:
        answer = predictor.answer
        predictor.answer = lambda *a, **w: (time.sleep(0.02), answer(*a, **w))[1]
        evaluate(predictor, data, Path(out), Settings(batch_size=2))
        os._exit(0)
    if killed < kills:
        time.sleep(rng.uniform(0.02, 0.25))
        os.kill(child, signal.SIGKILL)
    _, status = os.waitpid(child, 0)
    if os.WIFSIGNALED(status):
        killed += 1
    else:
        sys.exit(0 if status == 0 else 1) if killed >= min(kills, 3) else sys.exit("too fast")
"""


def contents(folder: Path) -> list[bytes]:
    return [(folder / name).read_bytes() for name in FILES]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="forks")
@pytest.mark.parametrize("kills", [4, pytest.param(20, marks=pytest.mark.slow)])
def test_killed_and_started_again(
    kills: int, squares: Path, tiny: Path, predictor: Predictor, tmp_path: Path
) -> None:
    data = datasets.create("jsonl", str(squares), "train")
    evaluate(predictor, data, tmp_path / "calm", Settings(batch_size=2))
    words = [str(tiny), str(squares), str(tmp_path / "killed"), str(kills), "0"]
    run = subprocess.run([sys.executable, "-c", KILLER, *words], capture_output=True, timeout=280)
    assert run.returncode == 0, run.stderr.decode()[-2000:]
    assert contents(tmp_path / "killed") == contents(tmp_path / "calm")
    assert sorted(path.name for path in (tmp_path / "killed").iterdir()) == sorted(
        [*FILES, "cost.json", "run.json"]
    )


def test_a_batch_is_answered_once_and_a_torn_one_again(
    squares: Path, predictor: Predictor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Stopped in the third batch, its first line torn by the kill."""
    data = datasets.create("jsonl", str(squares), "test")
    settings = Settings(batch_size=3)
    evaluate(predictor, data, tmp_path / "calm", settings)
    asked: list[list[object]] = []
    real = Predictor.answer

    def answer(self: Predictor, batch: object, *words: object, **more: object) -> object:
        asked.append([example.question_id for example in batch.examples])  # type: ignore[attr-defined]
        if len(asked) == 3:
            raise KeyboardInterrupt
        return real(self, batch, *words, **more)  # type: ignore[arg-type]

    monkeypatch.setattr(Predictor, "answer", answer)
    out = tmp_path / "torn"
    with pytest.raises(KeyboardInterrupt):
        evaluate(predictor, data, out, settings)
    part = out / "parts" / "0.jsonl"
    lines = part.read_bytes().splitlines(keepends=True)
    assert len(lines) == 6
    part.write_bytes(b"".join(lines[:-1]) + lines[-1][: random.Random(0).randrange(5, 50)])
    first = asked[:3]
    asked[:] = [[], [], []]  # no more interruption
    evaluate(predictor, data, out, settings)
    assert asked[3:5] == first[1:]  # the torn batch whole, then the one that was interrupted
    assert sum(map(len, asked[3:])) == 16 - 3
    assert contents(out) == contents(tmp_path / "calm")
    asked.clear()
    asked += [[], [], []]
    evaluate(predictor, data, out, settings)  # all is done
    assert len(asked) == 3 and contents(out) == contents(tmp_path / "calm")


def test_another_run_is_refused_and_says_what_changed(
    squares: Path, predictor: Predictor, tmp_path: Path
) -> None:
    test, train = (datasets.create("jsonl", str(squares), split) for split in ("test", "train"))
    evaluate(predictor, test, tmp_path, Settings(limit=4))
    before = contents(tmp_path)
    with pytest.raises(
        ValueError, match=r"batch_size was 64, is 32\); give another --out, or --ov"
    ):
        evaluate(predictor, test, tmp_path, Settings(limit=4, batch_size=32))
    with pytest.raises(ValueError, match="questions was .* images was .* limit was 4, is None"):
        evaluate(predictor, train, tmp_path, Settings())
    assert contents(tmp_path) == before
    assert evaluate(predictor, train, tmp_path, Settings(), overwrite=True)["n"] == 48


@pytest.mark.parametrize("what", ["weights", "code", "budget", "dtype"])
def test_what_a_run_is_known_by(
    what: str,
    squares: Path,
    tiny: Path,
    predictor: Predictor,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from vqa import fingerprint
    from vqa.budget import Budget

    data = datasets.create("jsonl", str(squares), "test")
    evaluate(predictor, data, tmp_path, Settings(limit=2))
    settings, other = Settings(limit=2), predictor
    if what == "weights":
        other = Predictor.from_pretrained(tiny, device="cpu")
        next(other.model.parameters()).data.add_(1e-3)
    elif what == "code":
        monkeypatch.setattr(fingerprint, "of_code", lambda: "another")
    elif what == "budget":
        settings = Settings(limit=2, budget=Budget(max_tokens=50))
    else:
        other = Predictor.from_pretrained(tiny, device="cpu", dtype="bfloat16")
    with pytest.raises(ValueError, match=f"{what} was"):
        evaluate(other, data, tmp_path, settings)


def test_answers_of_unknown_origin_are_not_touched(tmp_path: Path) -> None:
    (tmp_path / "predictions.jsonl").write_text("{}\n")
    with pytest.raises(ValueError, match="unknown run"):
        Journal(tmp_path).begin({"weights": "a"})


def test_answers_of_more_processes_count(
    squares: Path, predictor: Predictor, tmp_path: Path
) -> None:
    """Six processes were killed; one goes on. A whole batch and a third of one were answered."""
    data = datasets.create("jsonl", str(squares), "test")
    settings = Settings(batch_size=3)
    evaluate(predictor, data, tmp_path / "calm", settings)
    with (tmp_path / "calm" / "predictions.jsonl").open(encoding="utf-8") as lines:
        rows = {row["question_id"]: row for row in map(json.loads, lines)}
    examples = [data[index] for index in range(16)]
    planned = batches(predictor, examples, Sizes(data), 3)
    first = [rows[examples[index].question_id] for batch in planned[:2] for index, _ in batch]
    out = tmp_path / "killed"
    out.mkdir()
    Journal(out).begin(identity(predictor, data, examples, settings))
    Journal(out, 5).append(first[:3])
    Journal(out, 2).append(first[3:4])
    evaluate(predictor, data, out, settings)
    assert contents(out) == contents(tmp_path / "calm")
    assert json.loads((out / "cost.json").read_text())["questions"] == 13


@pytest.mark.slow
def test_two_processes_share_the_work(
    squares: Path, tiny: Path, predictor: Predictor, tmp_path: Path
) -> None:
    """Under torchrun: every question once, the same files as one process writes."""
    data = datasets.create("jsonl", str(squares), "test")
    evaluate(predictor, data, tmp_path / "one", Settings(batch_size=3))
    out = tmp_path / "two"
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    command = [*torchrun, "-m", "vqa", "evaluate", "--dataset", "jsonl", "--root", str(squares)]
    command += ["--model", str(tiny), "--out", str(out), "--batch-size", "3", "--device", "cpu"]
    run = subprocess.run(
        command, capture_output=True, timeout=280, env={**os.environ, "OMP_NUM_THREADS": "1"}
    )
    assert run.returncode == 0, run.stderr.decode()[-2000:]
    assert contents(out) == contents(tmp_path / "one")
    cost = json.loads((out / "cost.json").read_text())
    assert cost["processes"] == 2 and cost["questions"] == 16
