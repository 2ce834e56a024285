"""Rotary embedding of positions in attention."""

import torch

ROTARY_DIM = 32


def rotate(features: torch.Tensor, place: torch.Tensor) -> torch.Tensor:
    """Apply rotary embedding to the first min(32, d) features, pair by pair; the others are not changed.

        (x_2k, x_2k+1) rotated by the angle place * 10000^(-2k / r),   r = min(32, d)

    Shape:
        features (b n l d), place (b 1 l) -> (b n l d).

    Source: Su et al., RoFormer (arXiv 2104.09864).
    """
    width = min(ROTARY_DIM, features.shape[-1]) // 2 * 2
    turned, rest = features[..., :width], features[..., width:]
    speed = 10000 ** (-torch.arange(0, width, 2, device=features.device, dtype=torch.float32) / width)
    angle = place[..., None].float() * speed
    cos, sin = angle.cos(), angle.sin()
    even, odd = turned[..., 0::2].float(), turned[..., 1::2].float()
    pairs = torch.stack([even * cos - odd * sin, even * sin + odd * cos], dim=-1).flatten(-2)
    return torch.cat([pairs.to(features.dtype), rest], dim=-1)
