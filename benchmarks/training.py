"""What a training step of configs/easy_vqa.yaml costs: data, fp32 and bf16, Latte and softmax.

    python benchmarks/training.py

Prints milliseconds and ratios of this machine, measured in one run.
"""

import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import torch
import yaml

from vqa.batch import Batch
from vqa.config import Network
from vqa.datamodule import VQAData
from vqa.model import build

CONFIG = Path(__file__).parents[1] / "configs" / "easy_vqa.yaml"


def median_ms(work: Callable[[], object], repeats: int = 5) -> float:
    """Median milliseconds of `work`, after one run that is not counted."""
    work()
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        work()
        times.append(time.perf_counter() - start)
    return 1000 * sorted(times)[repeats // 2]


def loading_ms(data: VQAData, batches: int = 50) -> float:
    """Milliseconds a batch once the images are in memory, as from the second epoch on."""
    loader = data.train_dataloader()
    for index in range(len(data.questions("train"))):
        loader.loader.dataset[index, None]
    start = time.perf_counter()
    for count, _ in enumerate(loader, 1):
        if count == batches:
            break
    return 1000 * (time.perf_counter() - start) / batches


def step_ms(network: Network, data: VQAData, batch: Batch, dtype: torch.dtype) -> float:
    """Milliseconds of forward and backward in `dtype` by autocast."""
    model = build(network, data.tokenizer)

    def step() -> None:
        with torch.autocast("cpu", dtype, enabled=dtype != torch.float32):
            loss = model(batch.answer, labels=batch.labels, **batch.inputs()).loss
        loss.backward()

    return median_ms(step)


def main() -> None:
    config = yaml.safe_load(CONFIG.read_text())
    data = VQAData(**config["data"])
    network = Network.of(config["model"]["network"])
    batch = next(iter(data.train_dataloader()))
    fp32 = step_ms(network, data, batch, torch.float32)
    bf16 = step_ms(network, data, batch, torch.bfloat16)
    softmax = step_ms(replace(network, mixer="attention"), data, batch, torch.float32)
    loading = loading_ms(data)
    native = torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()
    print(f"threads {torch.get_num_threads()}, bf16 arithmetic in hardware: {native}")
    print(f"forward + backward, fp32   {fp32:8.1f} ms")
    print(f"forward + backward, bf16   {bf16:8.1f} ms   {fp32 / bf16:.2f}x as fast")
    print(f"the same with attention    {softmax:8.1f} ms   {softmax / fp32:.2f}x the time of Latte")
    print(f"a batch from memory        {loading:8.1f} ms   {loading / fp32:.1%} of an fp32 step")


if __name__ == "__main__":
    main()
