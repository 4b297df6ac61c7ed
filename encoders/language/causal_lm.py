"""A small causal language model trained from scratch: embedding, causal Transformer, tied head."""

from typing import Any

from torch import Tensor, nn

from encoders.position import count_places, sine
from encoders.stack import Stack, States
from encoders.text import TokenEmbedding


class CausalLM(nn.Module):
    """Causal language model over any token mixer.

    Positions are those of the mixer (rotary of softmax and of Macchiato's window, VAPOR); a mixer
    without any, such as plain Latte, gets sine positions added to the embeddings (Vaswani et al.,
    2017), as in the code of the Latte paper. `mixer_args` are the mixer's own, such as `latents`.
    """

    def __init__(
        self,
        vocab_size: int,
        dim: int,
        depth: int,
        heads: int,
        mixer: str,
        mlp_ratio: float = 4.0,
        dropout: float = 0.0,
        **mixer_args: Any,
    ) -> None:
        super().__init__()
        self.embedding = TokenEmbedding(vocab_size, dim)
        self.dropout = nn.Dropout(dropout)
        self.stack = Stack(dim, depth, heads, True, mixer, mlp_ratio, dropout, **mixer_args)
        block: Any = self.stack.blocks[0]
        encodes_positions = (getattr(block.mixer, name, False) for name in ("rotary", "vapor"))
        self.sine_positions = not any(encodes_positions)

    def forward(self, ids: Tensor) -> Tensor:
        """Next-token logits `[B, T, V]` of tokens `ids` `[B, T]`."""
        return self.prefill(ids)[0]

    def prefill(self, ids: Tensor, states: States | None = None) -> tuple[Tensor, States]:
        """Next-token logits `[B, T, V]` of `ids` `[B, T]` after `states`, and the states after."""
        x, states = self.stack.scan(self._embed(ids, states), None, states)
        return self.embedding.logits(x), states

    def step(self, ids: Tensor, states: States) -> tuple[Tensor, States]:
        """Decode one token `ids` `[B]`: its logits `[B, V]` and the states after it."""
        x, states = self.stack.step(self._embed(ids.unsqueeze(1), states).squeeze(1), states)
        return self.embedding.logits(x), states

    def _embed(self, ids: Tensor, states: States | None) -> Tensor:
        x: Tensor = self.embedding(ids)
        if self.sine_positions:
            positions = count_places(x, None, states[0].next if states else None)
            x = x + sine(positions, x.shape[-1]).to(x.dtype)
        out: Tensor = self.dropout(x)
        return out


def parameter_count(model: CausalLM) -> int:
    """Parameters without the embedding, which is the head, too."""
    total = sum(weight.numel() for weight in model.parameters())
    return total - model.embedding.table.weight.numel()
