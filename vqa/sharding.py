"""Weights, gradients and the optimiser's state shared out among processes (PyTorch's FSDP)."""

from typing import Any

from torch.distributed.fsdp import fully_shard, register_fsdp_forward_method

from vqa.model import LatteVQA

WAYS_IN = ("read", "encode", "generate", "score")
"""What is called of a model beside `forward`; each needs its weights whole."""


def shard(model: LatteVQA, mesh: Any) -> None:
    """Gives each process of Lightning's ModelParallelStrategy (its `device_mesh`) its share."""
    fully_shard(model, mesh=mesh["data_parallel"])
    for name in WAYS_IN:
        register_fsdp_forward_method(model, name)
