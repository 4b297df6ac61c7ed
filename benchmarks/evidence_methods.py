"""Ways to tell which image tokens an answer came from; the first is the product's.

Each takes a model, an image's tokens (made without gradients) and a batch of one question with its
answer, and gives the relevance `[N]` of the tokens that the encoder reads and these. Of a model
that finds before it reads only the first holds.
Attention weights are read off any mixer as the derivative of its output with respect to its values,
in which it is linear: nothing is T x T.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from encoders.vision.sheet import ImageTokens
from vqa import evidence_reading
from vqa.batch import Batch
from vqa.model import LatteVQA

Found = tuple[Tensor, ImageTokens]


def gradient_weighted(model: LatteVQA, shown: ImageTokens, asked: Batch) -> Found:
    """Attention weight times derivative in the decoder."""
    with torch.inference_mode():
        read = evidence_reading.read(model, shown, asked)
        found = evidence_reading.relevance(model, read, asked)
    return found.patches[0], read.memory


def attention(model: LatteVQA, shown: ImageTokens, asked: Batch) -> Found:
    """What the answer's words read of the memory directly, mean over layers and heads."""
    image, _, layers = _run(model, shown, asked)
    answer = _answer_words(layers[0], asked)
    read = torch.stack([layer.pull(answer)[0, : image.mask.shape[1]] for layer in layers])
    return read.mean(0), image


def decoder_rollout(model: LatteVQA, shown: ImageTokens, asked: Batch, kept: float = 0.5) -> Found:
    """The same through the decoder's layers (Abnar and Zuidema, arXiv 2005.00928): of each layer
    the part `kept` is what was there, the rest what it read."""
    image, _, layers = _run(model, shown, asked)
    return _through_decoder(layers, asked, kept)[0], image


def decoder_rollout_of_reading(model: LatteVQA, shown: ImageTokens, asked: Batch) -> Found:
    """Only what was read counts, nothing that was there."""
    return decoder_rollout(model, shown, asked, 0.0)


def rollout(model: LatteVQA, shown: ImageTokens, asked: Batch) -> Found:
    """Through the decoder's layers and the encoder's; grid convolutions count as the identity."""
    image, encoder, layers = _run(model, shown, asked)
    weights = _through_decoder(layers, asked, 0.5)
    for layer in reversed(encoder):
        weights = (weights + layer.pull(weights)) / 2
    return weights[0], image


def gradient(model: LatteVQA, shown: ImageTokens, asked: Batch) -> Found:
    """Norm of the log-probability's gradient at the encoder's input, through all that follows."""
    tokens = shown.tokens.clone().requires_grad_()
    loss = model(
        asked.answer,
        labels=asked.labels,
        images=shown._replace(tokens=tokens),
        question=asked.question,
        question_mask=asked.question_mask,
    ).loss
    (slope,) = torch.autograd.grad(loss, tokens)
    return slope[0].norm(dim=-1), shown


class Layer:
    """What a mixer made of its last tokens: values, and outputs before heads are joined."""

    def __init__(self, mixer: Any) -> None:
        self.heads = mixer.heads
        self.values: list[Tensor] = []
        self.handles = [
            mixer.value.register_forward_hook(lambda _, __, out: self.values.append(out)),
            mixer.out.register_forward_pre_hook(self._keep),
        ]

    def _keep(self, _: Any, inputs: tuple[Tensor]) -> None:
        self.read = inputs[0]

    def close(self) -> None:
        for handle in self.handles:
            handle.remove()

    def pull(self, weights: Tensor) -> Tensor:
        """sum over t of `weights` `[B, T]` * A[t, s], mean over heads: `[B, S]`, memory first.

        A is read off one channel of each head; VAPOR, which turns channels, is not provided for.
        """
        total = (self._channel(self.read) * weights[..., None]).sum()
        slopes = torch.autograd.grad(total, self.values, retain_graph=True, allow_unused=True)
        parts = [
            self._channel(torch.zeros_like(value) if slope is None else slope).mean(-1)
            for value, slope in zip(self.values, slopes, strict=True)
        ]
        *memory, last = parts  # macchiato takes in a memory twice, by latents and by its window
        return torch.cat([sum(memory[1:], memory[0]), last], 1) if memory else last

    def _channel(self, x: Tensor) -> Tensor:
        return x.unflatten(-1, (self.heads, -1))[..., 0]


def _run(
    model: LatteVQA, shown: ImageTokens, asked: Batch
) -> tuple[ImageTokens, list[Layer], list[Layer]]:
    """The sequence, and the layers of encoder and decoder after question and answer have passed."""
    if model.network.memory != "state":
        raise ValueError(
            "attention of a memory that passes through the decoder is not provided for"
        )
    with torch.no_grad():
        image = evidence_reading.sequence(model, shown, asked)
    assert asked.answer is not None
    x, words = image.tokens, model._words(asked.answer, 1)
    if model.network.question == "decoder":
        words = torch.cat([model._words(asked.question, 0), words], 1)
    encoder = [Layer(block.mixer) for block in model.encoder.blocks]
    x = model.encoder(x, image.mask, image.grids, image.places).detach()
    decoder = [Layer(block.mixer) for block in model.decoder.blocks]
    model.decoder.scan(words, None, model.decoder.prefix(x, image.mask, image.places))
    for layer in encoder + decoder:
        layer.close()
    return image, encoder, decoder


def _answer_words(layer: Layer, asked: Batch) -> Tensor:
    """Equal weights of the words before each word of the answer: `[1, W]`."""
    assert asked.answer is not None
    weights = layer.read.new_zeros(layer.read.shape[:2])
    weights[:, -asked.answer.shape[1] :] = 1 / asked.answer.shape[1]
    return weights


def _through_decoder(layers: list[Layer], asked: Batch, kept: float) -> Tensor:
    """The memory's part of the answer, `[1, S]`."""
    words = _answer_words(layers[0], asked)
    memory = torch.zeros(1)
    for layer in reversed(layers):
        read = (1 - kept) * layer.pull(words)
        memory = memory + read[:, : -words.shape[1]]
        words = kept * words + read[:, -words.shape[1] :]
    return memory


METHODS: dict[str, Callable[[LatteVQA, ImageTokens, Batch], Found]] = {
    "gradient-weighted attention": gradient_weighted,
    "gradient at the tokens": gradient,
    "attention": attention,
    "decoder rollout": decoder_rollout,
    "decoder rollout, reading only": decoder_rollout_of_reading,
    "rollout": rollout,
}
