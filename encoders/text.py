"""Text tokens as vectors and back: an embedding and the head tied to it."""

from torch import Tensor, nn
from torch.nn.functional import linear


class TokenEmbedding(nn.Module):
    """Vectors of token numbers, and back through the same table (Press and Wolf, 2017)."""

    positions = True
    """Whether sine positions are to be added: who reads these vectors has none of its own."""

    def __init__(self, vocabulary: int, dim: int) -> None:
        super().__init__()
        self.table = nn.Embedding(vocabulary, dim)
        self.dim = dim
        nn.init.normal_(self.table.weight, std=dim**-0.5)

    def forward(self, tokens: Tensor) -> Tensor:
        """`tokens` int `[..., T]` to `[..., T, D]` of about unit variance a channel."""
        out: Tensor = self.table(tokens) * self.dim**0.5
        return out

    def mean(self, chance: Tensor) -> Tensor:
        """The mean vectors of tokens of which only the probabilities `[..., vocabulary]` are
        known."""
        out: Tensor = chance @ self.table.weight * self.dim**0.5
        return out

    def logits(self, x: Tensor) -> Tensor:
        """`x` `[..., D]` to `[..., vocabulary]`."""
        return linear(x, self.table.weight)
