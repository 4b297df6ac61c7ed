"""Perplexity of held-out documents with contexts of different lengths.

`last half`: tokens N/2 to N of a text of N tokens. `same tokens`: the last `scored` tokens of one
stretch, whatever N is, so that lengths are compared on the same tokens.
"""

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import torch
from context_models import MeasurementLog, ModelSpec, hidden_chunks, new_cache
from torch import Tensor
from torch.nn.functional import cross_entropy

LENGTHS = (512, 1024, 2048, 4096, 8192, 16384, 32768)
BLOCK = 256
"""Scored tokens of a block: nats are stored by block, for intervals over resampled blocks."""
LOGIT_ROWS = 256
"""Tokens whose logits are computed at a time."""


class Layout(NamedTuple):
    """Tokens of the stretch, of its end that is scored, and longest texts of more `sequences`."""

    stretch: int = 32768
    scored: int = 4096
    short: int = 2048


class Span(NamedTuple):
    """Tokens `first` to `end` of a document, scored with the context from token `start` on."""

    kind: str
    length: int
    start: int
    first: int
    end: int


def document_spans(
    tokens: int, lengths: Sequence[int], sequences: int = 1, layout: Layout | None = None
) -> list[Span]:
    """All spans of a document of `tokens` tokens.

    The stretch is the middle of the document; its first N tokens are the text of `last half`.
    Texts of up to `layout.short` tokens have `sequences` - 1 more, spread evenly over the document.
    Raises ValueError for a document shorter than the stretch, or a length longer than it.
    """
    layout = layout or Layout()
    if tokens < layout.stretch or max(lengths) > layout.stretch:
        raise ValueError(
            f"a stretch of {layout.stretch} tokens needs a document at least as long and contexts "
            f"no longer, got {tokens} tokens and a context of {max(lengths)}"
        )
    start = (tokens - layout.stretch) // 2
    spans = []
    for length in lengths:
        starts = [start]
        if length <= layout.short:
            starts += _spread_evenly(tokens - layout.short, sequences - 1)
        spans += [Span("last half", length, s, s + length // 2, s + length) for s in starts]
        spans += _same_tokens(start + layout.stretch, length, layout.scored)
    return spans


def _same_tokens(end: int, length: int, scored: int) -> list[Span]:
    """Spans of `length` tokens that score the `scored` tokens before `end` once each."""
    count = min(length // 2, scored)
    ends = range(end, end - scored, -count)
    return [Span("same tokens", length, e - length, max(e - count, end - scored), e) for e in ends]


def _spread_evenly(last: int, count: int) -> list[int]:
    return [round(last * (index + 0.5) / count) for index in range(count)]


def score_spans(
    model: Any, ids: Tensor, spans: Sequence[Span]
) -> Iterator[tuple[Span, list[float]]]:
    """Nats of the scored tokens of each span, summed by block.

    Spans that start at the same token share one pass: attention is causal.
    """
    for start in sorted({span.start for span in spans}):
        own = sorted((s for s in spans if s.start == start), key=lambda span: span.end)
        scored = torch.zeros(len(ids), dtype=torch.bool)
        for span in own:
            scored[span.first : span.end] = True
        nats = torch.zeros(len(ids), dtype=torch.float64)
        context = ids[start : own[-1].end - 1]
        for offset, hidden in hidden_chunks(model, context, new_cache(model)):
            target = torch.arange(len(hidden)) + start + offset + 1
            _score(model, ids, hidden, target, scored, nats)
            while own and own[0].end <= int(target[-1]) + 1:
                span = own.pop(0)
                blocks = nats[span.first : span.end].split(BLOCK)
                yield span, [round(float(block.sum()), 4) for block in blocks]


@torch.no_grad()
def _score(
    model: Any, ids: Tensor, hidden: Tensor, target: Tensor, scored: Tensor, nats: Tensor
) -> None:
    """Fill in `nats` of tokens `target` `[C]`, predicted from `hidden` `[C, D]`, where `scored`."""
    rows = scored[target].nonzero()[:, 0]
    for piece in rows.split(LOGIT_ROWS):
        places = target[piece]
        logits = model.lm_head(hidden[piece]).float()
        nats[places] = cross_entropy(logits, ids[places], reduction="none").double()


def measure_perplexity(
    specs: Sequence[ModelSpec],
    documents: dict[str, Tensor],
    lengths: Sequence[int],
    sequences: int,
    log: MeasurementLog,
    layout: Layout | None = None,
) -> None:
    """Append a row a span, model and document to `log`, of those that it has not."""
    for spec in specs:
        head = {"task": "perplexity", "model": spec.name, "weights": spec.fingerprint()}
        model = None
        for name, ids in documents.items():
            key = head | {"document": name}
            spans = document_spans(len(ids), lengths, sequences, layout)
            missing = [span for span in spans if not log.has(key | span._asdict())]
            if missing and model is None:
                model = spec.load()
            for span, nats in score_spans(model, ids, missing):
                log.append(key | span._asdict() | {"block_nats": nats})
