"""Latte as a layer: learned queries and keys over latents (arXiv 2402.17512)."""

from torch import Tensor, nn

from encoders import latte
from encoders.latte import State


class Mixer(nn.Module):
    """Latent attention over `heads` heads and `latents` latents in all.

    The "latents" are the columns of `query` and `key`: there is no separate array of them.
    Projections have no biases and logits no scale, as in the authors' code.
    """

    def __init__(self, dim: int, heads: int, latents: int = 64) -> None:
        super().__init__()
        if dim % heads or latents % heads:
            raise ValueError(f"dim {dim} and latents {latents} must divide by heads {heads}")
        self.heads = heads
        self.query = nn.Linear(dim, latents, bias=False)
        self.key = nn.Linear(dim, latents, bias=False)
        self.value = nn.Linear(dim, dim, bias=False)
        self.out = nn.Linear(dim, dim, bias=False)
        for layer in (self.query, self.key, self.value, self.out):
            nn.init.normal_(layer.weight, std=dim**-0.5)  # LeCun normal

    def _split(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        return self._heads(self.query(x)), self._heads(self.key(x)), self._heads(self.value(x))

    def _heads(self, x: Tensor) -> Tensor:
        return x.unflatten(-1, (self.heads, -1))  # head-major columns: [..., H, D / H]

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        y: Tensor = self.out(latte.bidirectional(*self._split(x), mask).flatten(-2))
        return y

    def causal(
        self, x: Tensor, mask: Tensor | None = None, state: State | None = None
    ) -> tuple[Tensor, State]:
        y, state = latte.causal(*self._split(x), mask, state)
        return self.out(y.flatten(-2)), state

    def step(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        y, state = latte.step(*self._split(x), state)
        return self.out(y.flatten(-2)), state

    def prefix(self, x: Tensor, mask: Tensor | None = None) -> State:
        return State.of(self._heads(self.key(x)), self._heads(self.value(x)), mask)
