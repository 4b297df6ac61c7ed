"""The retrieval benchmark: its pictures and answers are right, and its training trains."""

import json
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

sys.path.insert(0, str(Path(__file__).parents[1] / "benchmarks"))  # scripts, not a package

import retrieval  # noqa: E402
from retrieval_data import (  # noqa: E402
    ARROW,
    DIGITS,
    KINDS,
    Scene,
    colours,
    generator,
    scenes,
)

ALL = list(range(len(KINDS)))


def answered(scene: Scene, grid: int, row: int, number: int) -> int:
    """The answer to one question, patch by patch."""
    colour = scene.colour[row].view(grid, grid).tolist()
    symbol = scene.symbol[row].view(grid, grid).tolist()
    asked = int(scene.asked[row, number])
    places = [(r, c) for r in range(grid) for c in range(grid) if colour[r][c] == asked]
    (digit,) = [place for place in places if 0 < symbol[place[0]][place[1]] < ARROW]
    ((r, c),) = [place for place in places if symbol[place[0]][place[1]] >= ARROW]
    kind = KINDS[int(scene.kind[row])]
    if kind == "count":
        corners = [(r + dr, c + dc) for dr in (-1, 1) for dc in (-1, 1)]
        return DIGITS + sum(symbol[i][j] != 0 for i, j in corners)
    towards = [(0, 1), (-1, 0), (0, -1), (1, 0)][symbol[r][c] - ARROW]
    dr, dc = {"right": (0, 1), "above": (-1, 0), "pointed": towards}.get(kind, (0, 0))
    i, j = digit if kind == "digit" else (r + dr, c + dc)
    return symbol[i][j] - 1


@pytest.mark.parametrize("grid", (4, 5, 8, 16))
@pytest.mark.parametrize("kind", ALL)
def test_answers_are_those_of_the_picture(grid: int, kind: int) -> None:
    scene = scenes(grid, 20, generator(0, grid, True), [kind])
    for row in range(20):
        for number in range(colours(grid)):
            assert scene.answer[row, number] == answered(scene, grid, row, number)


@pytest.mark.parametrize("grid", (4, 8, 32))
def test_groups_lie_inside_and_each_colour_is_asked_once(grid: int) -> None:
    scene = scenes(grid, 50, generator(0, 1, True), ALL)
    arrows = (scene.symbol >= ARROW).view(-1, grid, grid)
    assert (arrows.sum((1, 2)) == colours(grid)).all()
    assert not arrows[:, [0, -1]].any() and not arrows[:, :, [0, -1]].any()
    for row in range(50):
        asked = sorted(scene.asked[row].tolist())
        assert sorted(scene.colour[row][scene.colour[row] > 0].tolist()) == sorted(2 * asked)
        assert len(set(asked)) == colours(grid)


def test_arrows_stand_on_both_halves_and_everywhere_inside() -> None:
    scene = scenes(5, 500, generator(0, 2, True), ALL)
    places = (scene.symbol >= ARROW).float().mean(0).view(5, 5)
    assert (places[1:-1, 1:-1] > 0.1).all()


@pytest.mark.parametrize("kind", range(4))
def test_digits_are_equally_often_the_answer(kind: int) -> None:
    scene = scenes(8, 1000, generator(0, 3, True), [kind])
    share = torch.bincount(scene.answer.flatten(), minlength=DIGITS) / scene.answer.numel()
    assert len(share) == DIGITS
    assert (share - 1 / DIGITS).abs().max() < 0.02  # five standard deviations of 8,000 draws


def test_no_count_is_most_of_the_answers() -> None:
    scene = scenes(32, 1000, generator(0, 4, True), [KINDS.index("count")])
    share = torch.bincount(scene.answer.flatten() - DIGITS, minlength=5) / scene.answer.numel()
    assert torch.allclose(share, torch.tensor([1, 4, 6, 4, 1]) / 16, atol=0.03)


def test_kinds_are_equally_frequent() -> None:
    kinds = torch.bincount(scenes(4, 5000, generator(0, 5, True), ALL).kind) / 5000
    assert (kinds - 0.2).abs().max() < 0.03


def test_only_the_kinds_wanted_are_drawn() -> None:
    assert set(scenes(4, 50, generator(0, 6, True), [1, 4]).kind.tolist()) == {1, 4}


def test_batches_are_a_function_of_seed_and_number() -> None:
    def picture(seed: int, index: int, train: bool) -> Scene:
        return scenes(8, 2, generator(seed, index, train), ALL)

    for first, second in zip(picture(3, 7, True), picture(3, 7, True), strict=True):
        assert torch.equal(first, second)
    others = [picture(3, 7, False), picture(3, 8, True), picture(4, 7, True), picture(3, 6, True)]
    assert not any(torch.equal(other.symbol, picture(3, 7, True).symbol) for other in others)


def test_training_and_evaluation_never_share_a_seed() -> None:
    seeds = [
        torch.randint(2**62, (), generator=generator(seed, index, train)).item()
        for seed in range(3)
        for index in range(50)
        for train in (True, False)
    ]
    assert len(set(seeds)) == len(seeds)
    with pytest.raises(ValueError, match="index 1048576"):
        generator(0, 2**20, True)


def test_too_small_a_grid_is_refused() -> None:
    with pytest.raises(ValueError, match="got 3"):
        scenes(3, 1, generator(0, 0, True), ALL)


def test_larger_grids_unlock_over_the_first_half() -> None:
    grids = [retrieval.unlocked(step, 600, [4, 8, 16]) for step in range(600)]
    assert grids == [[4]] * 100 + [[4, 8]] * 100 + [[4, 8, 16]] * 400


def test_a_batch_keeps_to_its_tokens() -> None:
    sizes = [len(retrieval.batch(g, 1024, generator(0, 0, True), ALL).kind) for g in (4, 8, 16, 64)]
    assert sizes == [64, 16, 4, 1]


def test_a_short_training_lowers_the_loss_and_writes_its_results(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "results" / "r.jsonl"
    words: dict[str, Any] = {"grids": "4,8", "unseen": "9", "tokens": 512, "images": 2}
    retrieval.train("latte+conv", steps=40, every=20, width=16, depth=1, out=out, **words)
    first, last = map(json.loads, out.read_text().splitlines())
    assert (first["step"], last["step"]) == (20, 40) and last["loss"] < first["loss"]
    assert set(first["accuracy"]) == {"4", "8"} and set(last["accuracy"]) == {"4", "8", "9"}
    assert set(last["accuracy"]["9"]) == set(KINDS)
    capsys.readouterr()
    retrieval.table(out)
    assert capsys.readouterr().out.count("latte+conv") == 3


def test_table_names_the_step_that_first_reached_97_percent(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "r.jsonl"
    with out.open("w") as file:
        for step, share in enumerate((0.96, 31 / 32, 0.5, 1.0), 1):
            right = {"8": {kind: share if kind == "right" else 0.9 for kind in KINDS}}
            told = {"step": step, "cpu_s": 1, "loss": 1, "accuracy": right}
            line = {"variant": "x", "width": 64, "grids": "8", "steps": 4, **told}
            file.write(json.dumps(line) + "\n")
    retrieval.table(out)
    row = [cell.strip() for cell in capsys.readouterr().out.splitlines()[-1].split("|")]
    assert row[4:9] == ["-", "2", "-", "-", "-"]


def test_an_unknown_variant_is_named_with_the_list() -> None:
    with pytest.raises(ValueError, match="'nope'.*softmax"):
        retrieval.train("nope")
