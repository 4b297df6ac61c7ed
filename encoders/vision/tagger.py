"""Tags of a photo, named from the features of its patches: things, places, activities, sides.

Each group of tags asks the patches with queries of its own (attention pooling, as in Set
Transformer, arXiv 1810.00825) and names what it sees by a linear map: a linear probe that may
choose where it looks. Exclusive groups have one right tag (softmax), the others any number of them
(sigmoid).
"""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from encoders.position import sine_grid
from encoders.vision.sheet import ImageTokens

CELLS = 32
"""Places are counted in so many steps from one end of the image to the other."""
PLACE_WIDTH = 32
"""Numbers that tell a place."""


class Tagger(nn.Module):
    """`groups`: the tags of each group by its name; those in `several` may apply together.

    `width` of the features; `queries` of each group.
    """

    def __init__(
        self,
        width: int,
        groups: Mapping[str, Sequence[str]],
        several: Sequence[str] = (),
        queries: int = 2,
        dropout: float = 0.3,
    ) -> None:
        super().__init__()
        self.groups = {name: tuple(tags) for name, tags in groups.items()}
        self.several = tuple(several)
        self.width, self.queries = width, queries
        self.norm = nn.LayerNorm(width)
        self.query = nn.Parameter(torch.randn(len(groups), queries, width) * width**-0.5)
        self.place_query = nn.Parameter(torch.zeros(len(groups), queries, PLACE_WIDTH))
        self.dropout = nn.Dropout(dropout)
        inner = queries * (width + PLACE_WIDTH) + width
        heads = [nn.Linear(inner, len(tags)) for tags in self.groups.values()]
        for head in heads:
            nn.init.zeros_(head.weight)
            nn.init.zeros_(head.bias)
        self.heads = nn.ModuleList(heads)

    def forward(self, image: ImageTokens) -> dict[str, Tensor]:
        """Logits `[B, tags]` of each group from features of patches `[B, N, width]`."""
        tokens, mask, _, places, pitch = image
        x = self.norm(tokens)
        where = sine_grid(places * pitch.unsqueeze(1) * CELLS, PLACE_WIDTH).to(x.dtype)
        query, asked = self.query.flatten(0, 1), self.place_query.flatten(0, 1)
        scores = x @ query.T + where @ asked.T
        weights = scores.masked_fill(~mask.unsqueeze(-1), -torch.inf).softmax(1).transpose(1, 2)
        seen = torch.cat([weights @ x, weights @ where], -1)  # [B, groups * queries, D + places]
        pooled = seen.unflatten(1, (-1, self.queries)).flatten(2)
        mean = (x * mask.unsqueeze(-1)).sum(1) / mask.sum(1, keepdim=True)
        found = torch.cat([pooled, mean.unsqueeze(1).expand(-1, len(self.heads), -1)], -1)
        found = self.dropout(found)
        return {
            name: head(found[:, number])
            for number, (name, head) in enumerate(zip(self.groups, self.heads, strict=True))
        }

    def probabilities(self, image: ImageTokens) -> dict[str, Tensor]:
        """`forward` as probabilities: of an exclusive group they sum to 1."""
        return {
            name: logits.sigmoid() if name in self.several else logits.softmax(-1)
            for name, logits in self(image).items()
        }
