"""The network: image and question read as one sequence in both directions, answered causally."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from transformers import GenerationMixin, PreTrainedModel
from transformers.modeling_outputs import CausalLMOutputWithPast

from encoders import pointer as pointers
from encoders.finder import Finder, finding_loss, naming_loss
from encoders.language.pretrained import PretrainedDecoder, PretrainedEmbedding
from encoders.patch_grids import strips
from encoders.pixels import Pixels
from encoders.position import count_places, next_place, sine
from encoders.runs import run_loss
from encoders.stack import Stack, States, spans
from encoders.tally import Tally, counting_loss, together
from encoders.text import TokenEmbedding
from encoders.tiling import Grid
from encoders.vision import glyphs, latte_vit, vit
from encoders.vision.sheet import ImageTokens
from encoders.vision.tagger import Tagger
from vqa import checkpoint, finding, tallying
from vqa import tokenizer as tokenizers
from vqa.batch import IGNORE
from vqa.cache import StateCache
from vqa.config import LatteVQAConfig, Network, Vision

Encoding = ImageTokens | StateCache
"""What a model keeps of a batch of images."""


class LatteVQA(PreTrainedModel, GenerationMixin):
    """Visual question answering on latent attention.

    `read` turns images and questions into a `StateCache`; `forward` continues a cache by answer
    tokens, so training (all tokens at once) and generation (one at a time) are the same function.
    """

    config_class = LatteVQAConfig
    main_input_name = "input_ids"
    _supports_cache_class = True

    def __init__(self, config: LatteVQAConfig) -> None:
        super().__init__(config)
        network = Network.of(config.network)
        self.network = network
        self.vision = build_vision(network.vision, network.dim)
        self.tagger: Tagger | None = None
        if network.tags:
            groups, several = network.tags["groups"], network.tags["several"]
            self.tagger = Tagger(self.vision.project.in_features, groups, several)
        self.text: Any = None
        if network.language_model is None:
            self.text = TokenEmbedding(config.vocab_size, network.dim)
        reads = _mixer(network, network.mixer, network.mixer_args)
        reads |= {"grid_conv": network.grid_conv, "kernel": network.kernel}
        size = (network.dim, network.encoder_depth, network.heads)
        self.encoder = Stack(*size, **reads)
        self.spelling: Stack | None = None
        if network.question_depth:
            size = (network.dim, network.question_depth, network.heads)
            near: dict[str, Any] = {"grid_conv": True, "kernel": network.kernel}
            self.spelling = Stack(*size, mixer=None, mlp_ratio=network.mlp_ratio, **near)
        self.finder: Finder | None = None
        if network.find:
            self.finder = Finder(network.dim, network.heads, config.vocab_size)
        self.tally = Tally(network.dim) if network.tally else None
        # Which tokens stand for a letter: `build` knows the tokenizer.
        letters = torch.ones(config.vocab_size, dtype=torch.bool) if network.find else None
        self.register_buffer("letters", letters)
        self.decoder = _decoder(network)
        if network.language_model is not None:
            self.text = PretrainedEmbedding(self.decoder)
        # Kind of text: question, answer.
        self.kind = nn.Parameter(torch.zeros(2, network.dim)) if self.text.positions else None
        self.carry = nn.Linear(network.dim, network.dim, bias=False) if network.carry else None
        self.post_init()

    def _init_weights(self, module: nn.Module) -> None:
        """Every component initialises itself; nothing is left to do here."""

    @classmethod
    def from_pretrained(cls, folder: str | Path, **kwargs: Any) -> "LatteVQA":
        """The model saved in `folder`, or by that name on the hub, ready to answer (eval mode).

        `dtype` and `device` may be given. Raises ValueError, in one sentence, for a folder that
        holds no such model.
        """
        return checkpoint.load(cls, folder, **kwargs)

    def encode(
        self,
        images: Sequence[Pixels] | ImageTokens,
        transcript: Tensor | None = None,
        transcript_mask: Tensor | None = None,
    ) -> Encoding:
        """What is kept of `images`, or of their tokens, to answer any number of questions.

        With the question in the decoder their states in it, of one size whatever theirs; else
        their tokens. `transcript` int and `transcript_mask` bool `[I, Tt]`: the text of each image,
        read by the decoder after the image itself.
        """
        image = images.with_room(0) if isinstance(images, ImageTokens) else self.vision(images)
        if self.network.question == "encoder":
            return image
        memory = self.fuse(image.tokens, image.mask, image.grids, image.places)
        cache = self.take_in(memory, image.mask, image.places)
        if transcript is None or transcript_mask is None:
            return cache
        for span in spans(transcript):
            cache = self.asked(cache, transcript[:, span], transcript_mask[:, span])
        return cache

    def read(
        self,
        images: Sequence[Pixels] | Encoding,
        question: Tensor,
        question_mask: Tensor,
        image_index: Tensor | None = None,
        transcript: Tensor | None = None,
        transcript_mask: Tensor | None = None,
    ) -> StateCache:
        """What the decoder knows before its first word.

        `images`: uint8 RGB `[3, H, W]`, tensors or read piece by piece, or what `encode` made of
        them; `question` int and `question_mask` bool `[B, Tq]`; question i is about image
        `image_index[i]` (default: i). `transcript` and its mask as in `encode`.
        """
        text = transcript, transcript_mask
        return self._read(images, question, question_mask, image_index, text)[0]

    def _read(
        self,
        images: Sequence[Pixels] | Encoding,
        question: Tensor,
        question_mask: Tensor,
        image_index: Tensor | None,
        text: tuple[Tensor | None, Tensor | None] = (None, None),
        marks: Tensor | None = None,
        numbers: Tensor | None = None,
    ) -> tuple[StateCache, Tensor | None]:
        """`read`, and with marks the loss of finding, or of counting, them."""
        index = torch.arange(_count(images)) if image_index is None else image_index
        if len(index) != len(question):
            raise ValueError(f"{len(question)} questions but {len(index)} image numbers")
        if self.network.question == "decoder":
            cache = images if isinstance(images, StateCache) else self.encode(images, *text)
            assert isinstance(cache, StateCache)
            known = cache.select(index.to(question.device))
            return self.asked(known, question, question_mask), None
        assert not isinstance(images, StateCache)
        if self.tally is not None:
            counted = tallying.count(self, images, question, question_mask, index)
            cache = tallying.taken(self, counted, question_mask)
            if marks is None or numbers is None:
                return cache, None
            return cache, counting_loss(counted.gates[..., 0], marks, numbers, counted.real)
        if self.finder is None:
            memory = self.sequence(images, question, question_mask, index)
            return self.take_in(self.fuse(*memory[:4]), memory.mask, memory.places), None
        found = finding.find(self, images, question, question_mask, index, marks)
        cache = finding.taken(self, found, question_mask)
        if marks is None:
            return cache, None
        loss = finding_loss(found.logits, marks, found.mask)
        loss = loss + run_loss(found.logits, found.edges, marks, found.mask)
        return cache, loss + naming_loss(found.names, marks.gather(1, found.which))

    def asked(self, cache: StateCache, question: Tensor, question_mask: Tensor) -> StateCache:
        """What the decoder knows of images, `cache`, and one question each, which is read in it."""
        words = self._question(question, question_mask)
        hidden, states = self.decoder.scan(words, question_mask, cache.states)
        return StateCache(states, carried=self.carried(hidden, question_mask))

    def carried(self, words: Tensor, mask: Tensor) -> Tensor | None:
        """What answers bear of the question, its words being read as `words` `[B, T, D]`."""
        if self.carry is None:
            return None
        carried: Tensor = self.carry(together(words, mask))
        return carried.unsqueeze(1)

    def sequence(
        self,
        images: Sequence[Pixels] | ImageTokens,
        question: Tensor,
        question_mask: Tensor,
        index: Tensor,
    ) -> ImageTokens:
        """What the encoder reads where the question is in it: patches, then the question's words.

        The arguments are those of `read`, `index` its `image_index`.
        """
        room = question.shape[1]
        if isinstance(images, ImageTokens):
            image = images.with_room(room)
        else:
            image = self.vision(images, room=room)
        tokens, mask, grids, places, pitch = image.rows(index.tolist())
        start, words = tokens.shape[1] - room, self._question(question, question_mask)
        tokens[:, start:] = words.to(tokens.dtype)
        # Positions count on after the image: text has row and column alike.
        text = count_places(words, question_mask, next_place(places, mask))
        places[:, start:] = text.unsqueeze(-1)
        mask[:, start:] = question_mask
        return ImageTokens(tokens, mask, grids, places, pitch)

    def fuse(
        self, tokens: Tensor, mask: Tensor, grids: list[tuple[Grid, ...]], places: Tensor
    ) -> Tensor:
        """The encoder's reading of `tokens`, which it may overwrite."""
        read = self.encoder if torch.is_grad_enabled() else self.encoder.stream_
        out: Tensor = read(tokens, mask, grids, places)
        return out

    def take_in(self, memory: Tensor, mask: Tensor, places: Tensor) -> StateCache:
        """What the decoder knows of `memory` `[B, T, D]`."""
        if self.network.memory == "state":
            return StateCache(self.decoder.prefix(memory, mask, places))
        states: States | None = None
        for span in spans(memory):
            part = memory[:, span], mask[:, span], states, places[:, span]
            states = self.decoder.scan(*part)[1]
        return StateCache(states or [])

    def _question(self, question: Tensor, mask: Tensor) -> Tensor:
        return self.spelt(self._words(question, 0), mask)

    def spelt(self, letters: Tensor, mask: Tensor) -> Tensor:
        """`letters` `[B, T, D]`, each with those about it; `mask` `[B, T]`, the real ones first."""
        if self.spelling is None:
            return letters
        spelt: Tensor = self.spelling(letters, mask, strips(mask))
        return spelt

    def _words(self, tokens: Tensor, kind: int, start: int = 0) -> Tensor:
        """Embedded text `[B, T, D]`; its positions count from `start`."""
        place = torch.arange(start, start + tokens.shape[1], device=tokens.device)
        embedded: Tensor = self.text(tokens)
        if self.kind is None:
            return embedded
        out: Tensor = embedded + (sine(place, embedded.shape[-1]) + self.kind[kind]).to(
            embedded.dtype
        )
        return out

    def forward(
        self,
        input_ids: Tensor,
        cache: StateCache | None = None,
        labels: Tensor | None = None,
        images: Sequence[Pixels] | Encoding | None = None,
        question: Tensor | None = None,
        question_mask: Tensor | None = None,
        image_index: Tensor | None = None,
        transcript: Tensor | None = None,
        transcript_mask: Tensor | None = None,
        marks: Tensor | None = None,
        numbers: Tensor | None = None,
        **_: Any,
    ) -> CausalLMOutputWithPast:
        """Logits `[B, T, vocabulary]` of the token after each of the answer tokens `input_ids`
        `[B, T]`.

        They continue `cache`, or what is read of `images` and `question` now. With `labels`
        `[B, T]` (IGNORE = left out) the mean cross-entropy is in `loss`, and of questions that the
        decoder reads in this call there are no logits; with `marks` int `[B, N]`
        of the image tokens (encoders/finder.py), of a network that finds, that of finding too; with
        them and `numbers` `[B]` (encoders/tally.py), of one that counts, that of counting.
        """
        missed = None
        if cache is None:
            assert images is not None and question is not None and question_mask is not None
            text = transcript, transcript_mask
            if labels is not None and self.network.question == "decoder":
                known = images if isinstance(images, StateCache) else self.encode(images, *text)
                assert isinstance(known, StateCache)
                index = torch.arange(len(question)) if image_index is None else image_index
                asked = question, question_mask, input_ids, labels
                return CausalLMOutputWithPast(loss=self._loss_by_length(known, index, *asked))
            read = images, question, question_mask, image_index, text
            cache, missed = self._read(*read, marks, numbers)
        words = self._words(input_ids, 1, cache.length)
        carried, pointer = cache.carried, cache.pointer
        if pointer is not None and carried is not None:
            turns, pointer = pointers.follow(pointer, input_ids, self.letters[input_ids])
            words = words + turns.to(words.dtype) @ carried
        elif carried is not None:
            words = words + carried
        if input_ids.shape[1] == 1:
            token, states = self.decoder.step(words.squeeze(1), cache.states)
            hidden = token.unsqueeze(1)
        else:
            hidden, states = self.decoder.scan(words, None, cache.states)
        logits = self.text.logits(hidden)
        if pointer is not None and self.finder is not None:
            end = self.config.eos_token_id
            gate = self.finder.copies(hidden)
            logits = pointers.copied(logits, gate, turns, pointer.names, end)
        loss = None
        if labels is not None:
            loss = cross_entropy(
                logits.flatten(0, 1).float(), labels.flatten(), ignore_index=IGNORE
            )
            loss = loss if missed is None else loss + missed
        after = StateCache(states, cache.length + input_ids.shape[1], carried, pointer)
        return CausalLMOutputWithPast(loss=loss, logits=logits, cache=after)

    def _loss_by_length(
        self,
        known: StateCache,
        index: Tensor,
        question: Tensor,
        question_mask: Tensor,
        answer: Tensor,
        labels: Tensor,
    ) -> Tensor:
        """The mean cross-entropy of `labels` of questions about the images `known`.

        Short questions with short answers, most of them, are not padded to the longest.
        """
        real = labels != IGNORE
        place = torch.arange(1, labels.shape[1] + 1, device=labels.device)
        lengths = (real * place).amax(1)
        order = (question_mask.sum(1) + lengths).argsort()
        total = labels.new_zeros((), dtype=torch.float32)
        for rows in order.split([3 * len(order) // 4, len(order) - 3 * len(order) // 4]):
            width = int(lengths[rows].max()) if len(rows) else 0
            if not width:
                continue
            asked = question[rows, : int(question_mask[rows].sum(1).max())]
            mask = question_mask[rows, : asked.shape[1]]
            cache = self.asked(known.select(index[rows]), asked, mask)
            logits = self(answer[rows, :width], cache=cache).logits
            total = total + cross_entropy(
                logits.flatten(0, 1).float(),
                labels[rows, :width].flatten(),
                ignore_index=IGNORE,
                reduction="sum",
            )
        return total / real.sum()

    @torch.no_grad()
    def generate(self, cache: StateCache, **kwargs: Any) -> Any:
        """Answers written from `cache` (of `read`, left as it is) by transformers' own search.

        All of `GenerationMixin.generate`'s words work: `num_beams`, `do_sample`, `streamer`,
        `max_new_tokens`, ... Rows begin with the beginning token.
        """
        batch = cache.states[0][0].shape[0]
        settings = kwargs.get("generation_config") or self.generation_config
        wide = [
            kwargs.get(name) or getattr(settings, name, None) or 1
            for name in ("num_beams", "num_return_sequences")
        ]
        rows = torch.arange(batch, device=self.device).repeat_interleave(max(wide))
        start = torch.full((batch, 1), self.config.bos_token_id, device=self.device)
        kwargs.setdefault("max_new_tokens", self.network.answer_tokens)
        return super().generate(start, cache=cache.select(rows), **kwargs)

    @torch.no_grad()
    def score(self, cache: StateCache, sequences: Tensor) -> Tensor:
        """Log-probability of each of `sequences` `[B, T]` (as `generate` returns them), fp32 `[B]`.

        Tokens after the first end token do not count. At the configuration's temperature.
        """
        logits = self(sequences[:, :-1], cache=cache).logits.float()
        return self.weighed(logits / self.config.confidence_temperature, sequences)

    def weighed(self, logits: Tensor, sequences: Tensor) -> Tensor:
        """`score` of `sequences` `[B, T]` by the `logits` `[B, T - 1, vocabulary]` of their
        tokens."""
        target = sequences[:, 1:]
        ended = (target == self.config.eos_token_id).cumsum(1)
        counts = (ended == 0) | ((ended == 1) & (target == self.config.eos_token_id))
        chosen = logits.log_softmax(-1).gather(-1, target.unsqueeze(-1)).squeeze(-1)
        return chosen.masked_fill(~counts, 0.0).sum(1)


def _count(images: Sequence[Pixels] | Encoding) -> int:
    if isinstance(images, StateCache):
        batch: int = images.states[0][0].shape[0]
        return batch
    return len(images.grids) if isinstance(images, ImageTokens) else len(images)


def _mixer(network: Network, name: str, more: dict[str, Any]) -> dict[str, Any]:
    """The words of a stack's blocks."""
    words = {"mixer": name, "mlp_ratio": network.mlp_ratio, "dropout": network.dropout}
    latents = {} if name == "attention" else {"latents": network.latents}
    return words | latents | more


def _decoder(network: Network) -> Any:
    if network.language_model is not None:
        return PretrainedDecoder(network.language_model, network.dim)
    own = network.decoder_args if network.decoder_mixer else network.mixer_args
    size = (network.dim, network.decoder_depth, network.heads)
    return Stack(*size, causal=True, **_mixer(network, network.writes, own))


def build_vision(words: Vision, dim: int) -> Any:
    """The image encoder of these words, for a network of width `dim`."""
    if words.encoder == "glyphs":
        return glyphs.Encoder(dim, **words.glyph_args)
    if words.encoder == "latte_vit":
        return latte_vit.Encoder(dim, **words.latte_args)
    return vit.Encoder(
        dim,
        words.vit,
        words.vit_args,
        words.tile,
        words.overview,
        words.conv_stem,
        attention=words.attention,
        attention_args=words.attention_args,
        max_patches=words.max_patches,
    )


def build(network: Network, tokenizer: Any) -> LatteVQA:
    """A new model for the vocabulary of `tokenizer`."""
    config = LatteVQAConfig(
        network,
        vocab_size=len(tokenizer),
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    model = LatteVQA(config)
    if model.letters is not None:
        model.letters.copy_(torch.tensor(tokenizers.letters(tokenizer)))
    return model
