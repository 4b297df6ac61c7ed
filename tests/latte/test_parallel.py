"""A sequence split over processes is the sequence in one: outputs, end states and gradients."""

import multiprocessing
from typing import Any

import parallel_worker as worker
import pytest
import torch
from torch import Tensor
from torch.multiprocessing import start_processes

from encoders import latte
from encoders.latte import State, parallel

close = torch.testing.assert_close
Ranks = list[worker.Results]


@pytest.fixture(scope="module", params=worker.PARTS, ids="ranks{}".format)
def ranks(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Ranks:
    """All that each of 1, 2 or 4 processes has computed."""
    folder = tmp_path_factory.mktemp("ranks")
    if request.param == 1:
        worker.run(0, 1, folder)
    else:
        # Torch is imported once, by the server that the processes are forked from.
        multiprocessing.get_context("forkserver").set_forkserver_preload(["torch"])
        words: dict[str, Any] = {"args": (request.param, folder), "nprocs": request.param}
        start_processes(worker.run, **words, start_method="forkserver")
    return [torch.load(folder / f"{rank}.pt") for rank in range(request.param)]


def joined(shares: Ranks, name: str, axis: int, pieces: tuple[int, ...]) -> list[Tensor]:
    """The ranks' results of that name: `pieces` are joined along the tokens, others are summed."""
    columns = zip(*(share[name] for share in shares), strict=True)
    return [
        torch.cat(column, axis) if index in pieces else torch.stack(column).sum(0)
        for index, column in enumerate(columns)
    ]


@pytest.mark.parametrize("case", worker.CASES, ids=str)
def test_split_is_whole(ranks: Ranks, case: worker.Case) -> None:
    parts = worker.PARTS[len(ranks)]
    leaves, mask = worker.inputs(case, parts)
    exact = torch.float32 if case.dtype == torch.bfloat16 else torch.float64
    leaves = {name: tensor.to(exact) for name, tensor in leaves.items()}
    asking = worker.asking(case, len(parts))
    expected = worker.results(case, worker.ONE_PROCESS, leaves, mask, asking)
    ends = () if case.way == "bidirectional" else (1, 2)
    for index in ends:
        for share in ranks:
            assert torch.equal(share[str(case)][index], ranks[0][str(case)][index])
    first = len(ends) + 1  # of the gradients
    got = joined(ranks, str(case), 2, (0, first, first + 1, first + 2))
    rtol, atol = {
        torch.float64: (1e-12, 1e-10),
        torch.float32: (1e-4, 1e-5 if case.scale == 1 else 2e-3),
        torch.bfloat16: (0.03, 0.02),
    }[case.dtype]
    for index, (one, other) in enumerate(zip(got, expected, strict=True)):
        if index in ends:
            one = one / len(ranks)  # each has the whole
        else:
            assert one.dtype == case.dtype
        assert one.isfinite().all()
        close(one.to(exact), other, rtol=rtol, atol=atol)


@pytest.mark.parametrize("causal", (False, True), ids=("bidirectional", "causal"))
def test_a_split_stack_is_whole(ranks: Ranks, causal: bool) -> None:
    got = joined(ranks, f"stack, {causal}", 1, (0, 1))
    expected = worker.stack(causal, worker.PARTS[len(ranks)])
    for one, other in zip(got, expected, strict=True):
        close(one, other, rtol=0, atol=1e-10)


def test_messages_do_not_grow_with_the_tokens(ranks: Ranks) -> None:
    latents, width, size = 256, 64, 4
    state = latents * (width + 1) * size
    sent = {"bidirectional": [latents * size, state, state], "causal": [state, len(ranks) * state]}
    for share in ranks:
        for way, expected in sent.items():
            for messages in share[f"messages, {way}"]:
                assert messages.tolist() == expected


@pytest.mark.parametrize("ranks", (4,), indirect=True, ids=("ranks4",))
def test_groups_do_not_mix(ranks: Ranks) -> None:
    leaves, _ = worker.inputs(worker.Case("causal"), worker.PARTS[2])
    for group in (0, 1):
        q, k, v = (leaves[name][group] for name in "qkv")
        first, second = (ranks[rank]["pairs"] for rank in (group, group + 2))
        y, end = latte.causal(q, k, v)
        close(torch.cat([first[0], second[0]], 1), y, rtol=0, atol=1e-12)
        close(torch.cat([first[3], second[3]], 1), latte.bidirectional(q, k, v), rtol=0, atol=1e-12)
        for share in (first, second):
            close(State(*share[1:3]), end, rtol=0, atol=1e-12)


def test_without_a_process_group_is_an_error(draw) -> None:
    q, k, v = draw(5)
    calls = (
        lambda: parallel.bidirectional(q, k, v),
        lambda: parallel.causal(q, k, v),
        lambda: parallel.merge(State.of(k, v)),
    )
    for call in calls:
        with pytest.raises(RuntimeError, match="call init_process_group first"):
            call()


def test_bad_inputs_are_refused_before_anything_is_sent(draw) -> None:
    q, k, v = draw(5)
    for operator in (parallel.bidirectional, parallel.causal):
        with pytest.raises(ValueError, match=r"k \[2, 4, 2, 4\]"):
            operator(q, k[:, :4], v)
