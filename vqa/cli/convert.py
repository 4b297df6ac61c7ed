"""`vqa convert`: a pretrained language model with latent attention in place of softmax."""

from pathlib import Path
from typing import Annotated

from typer import Argument, Option


def convert(
    model: Annotated[Path, Argument(help="Hugging Face folder of a causal language model.")],
    out: Annotated[Path, Argument(help="New folder for the converted model.")],
    text: Annotated[list[Path], Option(help="UTF-8 text file to train on; as often as needed.")],
    window: Annotated[int, Option(help="Tokens of exact softmax attention.")] = 256,
    latents: Annotated[int, Option(help="Latents per head.")] = 16,
    sinks: Annotated[int, Option(help="First tokens that stay in every window.")] = 4,
    gain: Annotated[float, Option(help="Scale of the latents' logits; larger learns faster.")] = 8,
    softmax_layers: Annotated[
        str, Option(help="Layers that keep full softmax attention, with commas: 0,4,8.")
    ] = "",
    init: Annotated[str, Option(help="Initial latents: kmeans, pca or random.")] = "kmeans",
    transfer_steps: Annotated[
        int, Option(min=0, help="Optimizer steps of attention transfer, the first stage.")
    ] = 100,
    steps: Annotated[
        int, Option(min=0, help="Optimizer steps on next tokens, the second stage.")
    ] = 280,
    length: Annotated[int, Option(help="Tokens of a training sequence.")] = 1024,
    accumulate: Annotated[int, Option(min=1, help="Sequences of an optimizer step.")] = 1,
    recall: Annotated[
        float,
        Option(min=0, max=1, help="Share of sequences that hide a number and ask for it."),
    ] = 0.5,
    lora_rank: Annotated[
        int, Option(min=0, help="Rank of the LoRA adapters; 0 trains all weights.")
    ] = 16,
    lr: Annotated[float, Option(help="Learning rate of the pretrained weights' updates.")] = 5e-4,
    latent_lr: Annotated[float, Option(help="Learning rate of the latents.")] = 1.5e-3,
    seed: Annotated[int, Option(help="Another seed is another choice of sequences.")] = 0,
    precision: Annotated[
        str, Option(help="Lightning's precision: 32-true, bf16-mixed or 16-mixed.")
    ] = "32-true",
) -> None:
    """Convert a language model to Latte-Macchiato and train it on text.

    Two stages: attention transfer (new parameters only), then next tokens (LoRA or all weights).
    The same command continues a conversion that was interrupted.
    """
    from vqa.training.convert import Conversion, train

    settings = Conversion(
        model=str(model),
        text=tuple(map(str, text)),
        window=window,
        latents=latents,
        sinks=sinks,
        gain=gain,
        softmax_layers=parse_layers(softmax_layers),
        init=init,  # type: ignore[arg-type]
        transfer_steps=transfer_steps,
        steps=steps,
        length=length,
        accumulate=accumulate,
        recall=recall,
        lora_rank=lora_rank,
        lr=lr,
        latent_lr=latent_lr,
        seed=seed,
    )
    print(f"wrote {train(settings, out, precision)}")


def parse_layers(text: str) -> tuple[int, ...]:
    """Numbers with commas between. Raises ValueError for anything else."""
    try:
        return tuple(int(part) for part in text.split(",") if part.strip())
    except ValueError:
        raise ValueError(f"--softmax-layers takes numbers with commas, not {text!r}") from None
