"""Encoders and decoders of sets of particles: convolutions over slots, or attention."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional

AXES = 3
HEADS = 4


class ConvolutionPair(nn.Module):
    """Three convolutions over an image of axes by slots, a dense layer, and the mirror of both."""

    FEWEST: ClassVar[int] = 13
    """Slots that three kernels of five need."""

    def __init__(
        self,
        *,
        slots: int,
        outputs: int,
        latent: int,
        channels: tuple[int, int, int],
        hidden: int,
        blocks: int,  # noqa: ARG002  (of attention)
        dropout: tuple[float, float],
    ) -> None:
        super().__init__()
        one, two, three = channels
        self.left = slots - 12
        flat = three * self.left
        gone, dense = dropout
        self.encoder = nn.Sequential(
            nn.Conv2d(1, one, (AXES, 5)), nn.ReLU(), nn.Dropout(gone),
            nn.Conv2d(one, two, (1, 5)), nn.ReLU(), nn.Dropout(gone),
            nn.Conv2d(two, three, (1, 5)), nn.ReLU(), nn.Dropout(gone), nn.Flatten(),
            nn.Linear(flat, hidden), nn.ReLU(), nn.Dropout(dense), nn.Linear(hidden, 2 * latent),
        )  # fmt: skip
        self.decoder = nn.Sequential(
            nn.Linear(latent, hidden), nn.ReLU(), nn.Dropout(dense),
            nn.Linear(hidden, flat), nn.ReLU(), nn.Dropout(dense),
            nn.Unflatten(1, (three, 1, self.left)),
            nn.ConvTranspose2d(three, two, (1, 5)), nn.ReLU(), nn.Dropout(gone),
            nn.ConvTranspose2d(two, one, (1, 5)), nn.ReLU(), nn.Dropout(gone),
            nn.ConvTranspose2d(one, 1, (outputs, 5)),
        )  # fmt: skip

    def encode(self, gen: Tensor, filled: Tensor) -> Tensor:  # noqa: ARG002  (zeros are seen)
        """Return centres and log variances, [rows, 2 latent]."""
        encoded: Tensor = self.encoder(gen.transpose(1, 2)[:, None])
        return encoded

    def decode(self, latent: Tensor, gen: Tensor, filled: Tensor) -> Tensor:  # noqa: ARG002
        """Return particles [rows, slots, outputs]."""
        image: Tensor = self.decoder(latent)
        return image[:, 0].transpose(1, 2)


class Attention(nn.Module):
    """Masked self-attention and a dense layer, each added to what it reads."""

    def __init__(self, width: int, heads: int = HEADS) -> None:
        super().__init__()
        self.heads = heads
        self.before, self.after = nn.LayerNorm(width), nn.LayerNorm(width)
        self.queries = nn.Linear(width, 3 * width)
        self.values = nn.Linear(width, width)
        self.dense = nn.Sequential(
            nn.Linear(width, 2 * width), nn.SiLU(), nn.Linear(2 * width, width)
        )

    def forward(self, tokens: Tensor, filled: Tensor) -> Tensor:
        """Return tokens [rows, slots, width] that have seen each other.

        Args:
            tokens: [rows, slots, width].
            filled: bool [rows, slots], which slots are seen; or what is added to the scores of
                pairs, [rows, heads, slots, slots].
        """
        mask = filled[:, None, None] if filled.dim() == 2 else filled
        rows, slots, width = tokens.shape
        pieces = self.queries(self.before(tokens)).reshape(rows, slots, 3, self.heads, -1)
        query, key, value = pieces.permute(2, 0, 3, 1, 4)
        seen = functional.scaled_dot_product_attention(query, key, value, attn_mask=mask)
        tokens = tokens + self.values(seen.transpose(1, 2).reshape(rows, slots, width))
        out: Tensor = tokens + self.dense(self.after(tokens))
        return out


class AttentionPair(nn.Module):
    """Attention over GEN tokens; the latent numbers join every token, which gives a particle."""

    def __init__(
        self,
        *,
        slots: int,  # noqa: ARG002  (any number)
        outputs: int,
        latent: int,
        channels: tuple[int, int, int],  # noqa: ARG002  (of convolutions)
        hidden: int,
        blocks: int,
        dropout: tuple[float, float],
    ) -> None:
        super().__init__()
        width = HEADS * max(hidden // HEADS, 1)
        self.embed = nn.Linear(AXES, width)
        self.looks = nn.ModuleList(Attention(width) for _ in range(blocks))
        self.latent = nn.Sequential(nn.Dropout(dropout[1]), nn.Linear(width, 2 * latent))
        self.join = nn.Linear(AXES + latent, width)
        self.makes = nn.ModuleList(Attention(width) for _ in range(blocks))
        self.out = nn.Linear(width, outputs)

    def encode(self, gen: Tensor, filled: Tensor) -> Tensor:
        """Return centres and log variances, [rows, 2 latent]."""
        tokens = self.embed(gen)
        for block in self.looks:
            tokens = block(tokens, filled)
        there = filled[..., None].to(tokens.dtype)
        pooled = (tokens * there).sum(1) / there.sum(1).clamp(min=1.0)
        out: Tensor = self.latent(pooled)
        return out

    def decode(self, latent: Tensor, gen: Tensor, filled: Tensor) -> Tensor:
        """Return particles [rows, slots, outputs], one for each GEN particle."""
        joined = torch.cat([gen, latent[:, None].expand(-1, gen.shape[1], -1)], 2)
        tokens = self.join(joined)
        for block in self.makes:
            tokens = block(tokens, filled)
        out: Tensor = self.out(tokens)
        return out
