"""What decides the quality of attention transfer, layer by layer: a table of variants.

    python benchmarks/conversion.py --model DIR --train TEXT ... --val TEXT ... --out FILE.jsonl

Attention transfer has no gradient between layers, so a few layers tell as much as all of them: the
inputs of the chosen layers are recorded once with softmax attention, then each variant's latents
are trained on them. The figure is the squared error of the layer's output relative to softmax's, on
held-out text, over the tokens that have more context than any window here. Rows that the file has
already are not measured again.
"""

import argparse
import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from transformers import AutoModelForCausalLM, AutoTokenizer

from encoders import latte
from encoders.language import convert, latte_layers
from encoders.language.attention import MacchiatoAttention
from encoders.language.initialize import LayerSample, fit_layer
from encoders.latte import State
from encoders.local_attention.sink_window import SinkWindowState
from vqa.data.text import RandomBlocks, encode_documents, read_documents

LENGTH, BLOCKS, HELD_OUT, BEYOND = 1024, 14, 2, 640
DEFAULT = {"latents": 16, "window": 256, "init": "kmeans", "gain": 8.0, "lr": 1e-3, "steps": 60}
VARIANTS: tuple[dict[str, Any], ...] = (
    {},
    *({"latents": latents} for latents in (8, 32, 64)),
    *({"window": window} for window in (64, 512)),
    *({"init": init} for init in ("random", "pca")),
    *({"gain": gain} for gain in (1.0, 32.0)),
    *({"lr": lr} for lr in (3e-4, 3e-3)),
    *({"steps": steps} for steps in (0, 20, 180)),
)
"""Each changes one setting of the default."""


def record(model: Any, numbers: list[int], blocks: RandomBlocks) -> dict[int, list[Tensor]]:
    """Inputs `[1, T, D]` of the layers `numbers` while the model reads with softmax attention."""
    inputs: dict[int, list[Tensor]] = {number: [] for number in numbers}

    def softmax(layer: Any, _: Any, words: dict[str, Any], __: Any) -> tuple[Tensor, None]:
        x = words["hidden_states"]
        if layer.layer_idx in inputs:
            inputs[layer.layer_idx].append(x.clone())
        return layer.softmax(x, *words["position_embeddings"]), None

    layers = latte_layers(model)
    hooks = [layer.register_forward_hook(softmax, with_kwargs=True) for layer in layers]
    with torch.no_grad():
        for number in range(len(blocks)):
            model.model(input_ids=blocks[number].unsqueeze(0), use_cache=False)
    for hook in hooks:
        hook.remove()
    return inputs


class Trial:
    """One variant of one layer: new latents on the pretrained projections."""

    def __init__(self, layer: MacchiatoAttention, rotary: nn.Module, options: dict[str, Any]):
        torch.manual_seed(0)
        sizes = (options["window"], options["latents"], layer.sinks, options["gain"])
        self.layer, self.rotary, self.options = (
            MacchiatoAttention(layer, rotary, *sizes),
            rotary,
            options,
        )

    def positions(self, x: Tensor) -> tuple[Tensor, Tensor]:
        cos, sin = self.rotary(x, torch.arange(x.shape[1]).unsqueeze(0))
        return cos, sin

    @torch.no_grad()
    def prepare(self, x: Tensor) -> tuple[Tensor, ...]:
        """What no training of latents changes: input, values, window's output, target."""
        layer = self.layer
        q, k, v = layer.project(x)
        start = SinkWindowState.empty(k, layer.sinks)
        near, _ = layer.attend_window(q, k, v, *self.positions(x), start)
        v = v.repeat_interleave(layer.heads // v.shape[2], 2)
        return x, v, near, layer.softmax(x, *self.positions(x))

    def output(self, x: Tensor, v: Tensor, near: Tensor) -> Tensor:
        layer = self.layer
        query, key = layer.latent_logits(x)
        start = State.empty(len(x), layer.heads, layer.latents, layer.head_dim)
        far, _ = latte.causal(query, key, v, None, start)
        out: Tensor = layer.o_proj(layer.join(x, query, near, far).flatten(2))  # type: ignore[operator]
        return out

    @torch.no_grad()
    def error(self, held_out: list[tuple[Tensor, ...]]) -> float:
        wrong = total = 0.0
        for x, v, near, target in held_out:
            difference = (self.output(x, v, near) - target)[:, BEYOND:]
            wrong += float(difference.square().sum())
            total += float(target[:, BEYOND:].square().sum())
        return wrong / total

    @torch.no_grad()
    def initialise(self, inputs: list[Tensor]) -> None:
        sample = LayerSample()
        for x in inputs:
            sample.add(self.layer, x, self.positions(x))
        fit_layer(self.layer, sample, self.options["init"], torch.Generator().manual_seed(0))

    def train(self, data: list[tuple[Tensor, ...]]) -> None:
        layer, lr, steps = self.layer, self.options["lr"], self.options["steps"]
        new = nn.ModuleList([layer.latent_query, layer.latent_key, layer.gate])
        optimizer = torch.optim.AdamW(new.parameters(), lr=lr, betas=(0.9, 0.98), weight_decay=0.0)
        for step in range(steps):
            for group in optimizer.param_groups:
                group["lr"] = lr * min(1.0, (step + 1) / 10) * (1 - 0.95 * step / steps)
            x, v, near, target = data[step % len(data)]
            loss = (self.output(x, v, near) - target).square().mean() / target.square().mean()
            optimizer.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(new.parameters(), 1.0)
            optimizer.step()


def measure(
    layer: Any, rotary: Any, train: list[Tensor], val: list[Tensor], options: dict[str, Any]
) -> dict[str, Any]:
    """Errors of the window alone, of the initial latents and of the trained ones."""
    trial = Trial(layer, rotary, options)
    data, held_out = ([trial.prepare(x) for x in part] for part in (train, val))
    window = trial.error(held_out)
    trial.initialise(train)
    initial, start = trial.error(held_out), time.perf_counter()
    trial.train(data)
    seconds = time.perf_counter() - start
    return {
        "window_error": window,
        "initial": initial,
        "error": trial.error(held_out),
        "seconds": seconds,
    }


def rows(arguments: argparse.Namespace, done: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    model = AutoModelForCausalLM.from_pretrained(arguments.model, dtype=torch.float32)
    convert(model.requires_grad_(False))
    tokenizer = AutoTokenizer.from_pretrained(arguments.model)
    train, val = (
        RandomBlocks(encode_documents(read_documents(files), tokenizer), LENGTH, count, seed=7)
        for files, count in ((arguments.train, BLOCKS), (arguments.val, HELD_OUT))
    )
    inputs, held_out = (record(model, arguments.layers, blocks) for blocks in (train, val))
    layers = latte_layers(model)
    for variant in VARIANTS:
        for number in arguments.layers:
            key = {**DEFAULT, **variant, "layer": number}
            if any(all(row[name] == value for name, value in key.items()) for row in done):
                continue
            found = measure(
                layers[number], model.model.rotary_emb, inputs[number], held_out[number], key
            )
            yield {**key, **found}


def table(rows: list[dict[str, Any]]) -> str:
    """A markdown row a variant: errors averaged over the layers."""
    lines = ["| variant | window alone | initial | trained |", "| --- | --- | --- | --- |"]
    for variant in VARIANTS:
        key = {**DEFAULT, **variant}
        own = [row for row in rows if all(row[name] == value for name, value in key.items())]
        if own:
            name = ", ".join(f"{k} {v}" for k, v in variant.items()) or "default"
            means = (
                sum(row[column] for row in own) / len(own)
                for column in ("window_error", "initial", "error")
            )
            lines.append(f"| {name} | " + " | ".join(f"{mean:.4f}" for mean in means) + " |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", required=True, help="Hugging Face folder")
    parser.add_argument("--train", nargs="+", required=True, help="text files")
    parser.add_argument("--val", nargs="+", required=True, help="held-out text files")
    parser.add_argument("--layers", type=int, nargs="+", default=[3, 5, 9, 14, 20, 28])
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--out", type=Path, required=True)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    done = []
    if arguments.out.exists():
        done = [json.loads(line) for line in arguments.out.read_text().splitlines()]
    for row in rows(arguments, done):
        done.append(row)
        with arguments.out.open("a", encoding="utf-8") as lines:
            lines.write(json.dumps(row) + "\n")
    print(table(done))


if __name__ == "__main__":
    main()
