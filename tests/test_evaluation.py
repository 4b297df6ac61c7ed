"""Candidates, baselines, options and the report of `vqa evaluate`."""

import json
import re
from collections import Counter
from pathlib import Path

import pytest
import torch

from vqa import datasets
from vqa.__main__ import main
from vqa.batch import collate
from vqa.evaluation.baselines import ImageOnly, QuestionOnly, frequent
from vqa.evaluation.report_page import write_report
from vqa.evaluation.run import evaluate
from vqa.evaluation.settings import Settings
from vqa.predictor import Predictor
from vqa.search import rank


def lines(path: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


# --- candidates


def test_candidates_are_ranked_by_the_likelihood_of_the_whole_answer(
    predictor: Predictor, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Against one candidate at a time, from the logits of the model itself."""
    monkeypatch.setattr("vqa.search.AT_ONCE", 3)  # pieces that cut through questions
    model, tokenizer = predictor.model, predictor.tokenizer
    lists = [["red", "green", "no square", "yes"], ["no", "green green red"]]
    image = torch.randint(256, (3, 40, 30), dtype=torch.uint8)
    batch = collate([image], [0, 0], ["what color?", "is there?"], tokenizer)
    with torch.no_grad():
        read = model.read(**batch.inputs())
        found = rank(model, tokenizer, read, lists, 3)
        for question, texts in enumerate(lists):
            likelihood = []
            for text in texts:
                tokens = tokenizer(text, add_special_tokens=False).input_ids
                target = torch.tensor([*tokens, model.config.eos_token_id])
                inputs = torch.tensor([[model.config.bos_token_id, *tokens]])
                one = read.select(torch.tensor([question]))
                logits = model(inputs, cache=one).logits[0].log_softmax(-1)
                likelihood.append(float(logits[range(len(target)), target].sum().exp()))
            best = sorted(zip(texts, likelihood, strict=True), key=lambda pair: -pair[1])[:3]
            assert [c.answer for c in found[question]] == [text for text, _ in best]
            for candidate, (_, value) in zip(found[question], best, strict=True):
                assert candidate.score == pytest.approx(value / sum(likelihood), rel=1e-4)


def test_a_question_without_candidates(predictor: Predictor) -> None:
    with pytest.raises(ValueError, match="no candidates; give at least one"):
        rank(predictor.model, predictor.tokenizer, None, [["a"], []], 1)  # type: ignore[arg-type]


@pytest.mark.parametrize("source", ("file", "train"))
def test_answers_are_candidates(source: str, squares: Path, tiny: Path, tmp_path: Path) -> None:
    known = ["maybe", "certainly not"] if source == "file" else ["red", "green", "yes", "no"]
    file = tmp_path / "answers.txt"
    file.write_text("\n".join(known) + "\n\n", encoding="utf-8")
    words = ["--dataset", "jsonl", "--root", str(squares), "--model", str(tiny), "--limit", "4"]
    words += ["--candidates", str(file) if source == "file" else "train", "--top-k", "2"]
    assert main(["evaluate", *words, "--out", str(tmp_path / "out")]) == 0
    for row in lines(tmp_path / "out" / "predictions.jsonl"):
        assert row["answer"] in known and len(row["top_k"]) == 2  # type: ignore[arg-type]


def test_choices_of_each_question(predictor: Predictor, squares: Path, tmp_path: Path) -> None:
    class Chosen:
        def __init__(self) -> None:
            self.inner = datasets.create("jsonl", str(squares), "test")
            self.splits, self.skipped, self.score = (), [], self.inner.score

        def __len__(self) -> int:
            return 6

        def __getitem__(self, index: int) -> datasets.Example:
            from dataclasses import replace

            return replace(self.inner[index], choices=(f"a{index}", f"b{index}"))

    evaluate(predictor, Chosen(), tmp_path, Settings(choices=True))  # type: ignore[arg-type]
    for index, row in enumerate(lines(tmp_path / "predictions.jsonl")):
        assert row["answer"] in (f"a{index}", f"b{index}")


# --- baselines


def test_question_only_sees_nothing(squares: Path, predictor: Predictor, tmp_path: Path) -> None:
    """The same question always gets the same answer."""
    data = datasets.create("jsonl", str(squares), "test")
    scores = evaluate(predictor, QuestionOnly(data), tmp_path)
    rows = lines(tmp_path / "predictions.jsonl")
    assert len({(row["question"], row["answer"]) for row in rows}) == 2
    assert len({(row["question"], round(float(str(row["probability"])), 12)) for row in rows}) == 2
    assert {row["width"] for row in rows} == {64} and len({row["image"] for row in rows}) == 8
    assert scores["interval"][0] <= scores["overall"] <= scores["interval"][1]
    assert [row["answers"] for row in rows] == [list(data[i].answers) for i in range(16)]


def test_image_only_asks_of_each_image_what_another_was_asked(squares: Path) -> None:
    data = datasets.create("jsonl", str(squares), "test")
    mixed = ImageOnly(data)
    for seed in range(5):
        asked = ImageOnly(data, seed).asked
        assert sorted(asked) == list(range(16))
        assert all(data[a].image != data[i].image for i, a in enumerate(asked))
    assert [mixed[i].image for i in range(16)] == [data[i].image for i in range(16)]
    assert [mixed[i].answers for i in range(16)] == [data[i].answers for i in range(16)]
    assert Counter(mixed[i].question for i in range(16)) == Counter(
        data[i].question for i in range(16)
    )
    assert mixed.asked == ImageOnly(data).asked


def test_image_only_draws_pictures_too() -> None:
    data = datasets.create("canvas", split="val", fonts="builtin", kinds="count", count=8, size=512)
    mixed = ImageOnly(data)
    assert isinstance(mixed, datasets.Rendered) and isinstance(data, datasets.Rendered)
    example, pixels = mixed.render(3)
    assert torch.equal(pixels, data.render(3)[1])
    assert example.question == data[mixed.asked[3]].question and example.answers == data[3].answers


def test_most_frequent(squares: Path, tmp_path: Path) -> None:
    train, test = (datasets.create("jsonl", str(squares), split) for split in ("train", "test"))
    scores = frequent(train, test, tmp_path)
    rows = lines(tmp_path / "predictions.jsonl")
    counts = {kind: Counter[str]() for kind in ("color", "yes/no")}
    for index in range(len(train)):
        counts[str(train[index].answer_type)].update(train[index].answers)
    for row in rows:
        known = counts[str(row["answer_type"])]
        assert known[str(row["answer"])] == max(known.values())
        assert row["probability"] == max(known.values()) / known.total()
    assert scores["overall"] == 50.0 and scores["n"] == 16
    assert frequent(train, test, tmp_path) == scores  # done already


def test_baselines_by_name(
    squares: Path, tiny: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["evaluate", "--dataset", "jsonl", "--root", str(squares), "--model", str(tiny)]
    for name in ("question-only", "most-frequent"):
        out = ["--out", str(tmp_path / name), "--baseline", name]
        assert main([*words, *out]) == 0
        run = json.loads((tmp_path / name / "run.json").read_text())
        assert run["baseline"] == name
    assert main([*words, "--out", str(tmp_path / "x"), "--baseline", "guess"]) == 2
    assert "choose one of question-only, image-only, most-frequent" in capsys.readouterr().err


# --- options of data sets, precision, the report


def test_options_of_the_data_set(
    tiny: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["evaluate", "--dataset", "canvas", "--model", str(tiny), "--limit", "3"]
    options = ["size=128", "object_size=64", "kinds=attribute", "fonts=builtin"]
    given = [word for option in options for word in ("--option", option)]
    assert main([*words, *given, "--out", str(tmp_path / "a"), "--report"]) == 0
    assert all(row["width"] == 128 for row in lines(tmp_path / "a" / "predictions.jsonl"))
    assert (tmp_path / "a" / "report.html").read_text(encoding="utf-8").count("<img") == 3
    for bad, told in (("size", "no NAME=VALUE"), ("sise=3", "has no option 'sise'")):
        assert main([*words, "--option", bad, "--out", str(tmp_path / "b")]) == 2
        assert told in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--dtype", "float8"], "no dtype 'float8'; choose one of float32"),
        (["--candidates", "nowhere.txt"], "candidates nowhere.txt cannot be read"),
    ],
)
def test_bad_words(
    words: list[str],
    told: str,
    squares: Path,
    tiny: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    known = ["--dataset", "jsonl", "--root", str(squares), "--model", str(tiny)]
    assert main(["evaluate", *known, "--out", str(tmp_path), *words]) == 2
    assert told in capsys.readouterr().err


def test_bfloat16(squares: Path, tiny: Path, tmp_path: Path) -> None:
    known = ["--dataset", "jsonl", "--root", str(squares), "--model", str(tiny)]
    assert main(["evaluate", *known, "--out", str(tmp_path), "--dtype", "bfloat16"]) == 0
    assert json.loads((tmp_path / "run.json").read_text())["dtype"] == "bfloat16"


def test_the_report_shows_mistakes_and_nothing_from_elsewhere(
    squares: Path, predictor: Predictor, tmp_path: Path
) -> None:
    root = tmp_path / "data"
    root.mkdir()
    (root / "images").symlink_to(squares / "images")
    rows = lines(squares / "test.jsonl")
    rows[0]["question"] = "<script>alert(1)</script>&\"'"
    rows[1]["answers"] = ["<b>bold</b>"]
    text = "".join(json.dumps(row) + "\n" for row in rows)
    (root / "test.jsonl").write_text(text, encoding="utf-8")
    data = datasets.create("jsonl", str(root), "test")
    scores = evaluate(predictor, data, tmp_path / "out", Settings(top_k=2))
    write_report(tmp_path / "out", data)
    page = (tmp_path / "out" / "report.html").read_text(encoding="utf-8")
    assert "<script" not in page and "<b>bold" not in page and "&lt;script&gt;" in page
    assert not re.search(r"https?://|src=\"(?!data:)", page)
    wrong = sum(row["score"] == 0 for row in lines(tmp_path / "out" / "predictions.jsonl"))
    assert page.count("<img") == wrong > 0
    assert f"{scores['overall']:.2f}" in page and "yes/no" in page and "polyline" in page


def test_a_split_without_answers_is_answered_and_not_scored(
    squares: Path, predictor: Predictor, tmp_path: Path
) -> None:
    class Hidden(QuestionOnly):
        def __getitem__(self, index: int) -> datasets.Example:
            from dataclasses import replace

            return replace(self.dataset[index], answers=())

        render = None  # type: ignore[assignment]

    data = Hidden(datasets.create("jsonl", str(squares), "test"))
    del Hidden.render
    scores = evaluate(predictor, data, tmp_path)  # type: ignore[arg-type]
    assert scores["n"] == 16 and scores["scored"] == 0 and "overall" not in scores
    write_report(tmp_path, data)  # type: ignore[arg-type]
    assert "not scored" in (tmp_path / "report.html").read_text(encoding="utf-8")
