"""Self-attention across frames without parameters: a matrix mixes the keys and values of the frames of a clip.

Every rule here is a product over frames with a lower-triangular matrix U whose rows sum to 1 (K' = U K, V' = U V).
One attention processor applies it in any diffusers ``UNet2DConditionModel``.

Axes: b clips (and guidance branches), f frames, l tokens, n heads, d head width.
"""

from collections.abc import Callable, Mapping
from typing import Any

import torch
from diffusers import UNet2DConditionModel
from diffusers.models.attention_processor import Attention
from einops import rearrange

FrameMix = Callable[[int], torch.Tensor]
"""A rule that mixes frames: number of frames -> U (f f), float32."""


def moving_average(num_frames: int, mu: float) -> torch.Tensor:
    """Return the matrix of the moving average over the frames up to each frame, in powers of mu.

        K'_0 = K_0,   K'_i = mu K'_{i-1} + (1 - mu) K_i = mu^i K_0 + (1 - mu) sum_{j=1..i} mu^(i-j) K_j

    mu = 0 gives the identity, mu = 1 the first frame everywhere (both exactly).

    Args:
        num_frames: Frames of a clip.
        mu: Weight of the previous frames, in [0, 1].

    Shape:
        (f f), rows sum to 1.

    Source: ZS2 (arXiv 2407.21475), authors' pseudocode, matrix form.
    """
    frame = torch.arange(num_frames)
    lag = frame[:, None] - frame[None, :]
    weights = torch.where(lag >= 0, torch.tensor(mu, dtype=torch.float64) ** lag.clamp(min=0), 0.0)
    return torch.where(frame > 0, (1 - mu) * weights, weights).float()


def previous_frame(num_frames: int, mu: float) -> torch.Tensor:
    """Return the matrix that mixes each frame with the previous frame: K'_0 = K_0, K'_i = mu K_{i-1} + (1 - mu) K_i.

    Args:
        num_frames: Frames of a clip.
        mu: Weight of the previous frame, in [0, 1].

    Shape:
        (f f), rows sum to 1.

    Source: ZS2, authors' pseudocode, loop form.
    """
    mix = (1 - mu) * torch.eye(num_frames) + mu * torch.diag(torch.ones(num_frames - 1), diagonal=-1)
    mix[0, 0] = 1.0
    return mix


def first_frame(num_frames: int) -> torch.Tensor:
    """Return the matrix that replaces every frame by the first: K'_i = K_0.

    Shape:
        (f f), rows sum to 1.

    Source: Text2Video-Zero (arXiv 2303.13439).
    """
    mix = torch.zeros(num_frames, num_frames)
    mix[:, 0] = 1.0
    return mix


class FrameMixProcessor:
    """Self-attention of each frame on keys and values mixed over the frames of its clip.

        out_i = softmax(Q_i K'_i^T / sqrt(d)) V'_i,   K' = U K,   V' = U V

    Group norm, residual and rescaling are those of diffusers' ``AttnProcessor2_0``.

    Args:
        mix: U (f f), float32, on the U-Net's device. The frames of a clip are adjacent in the batch, in order.
    """

    def __init__(self, mix: torch.Tensor) -> None:
        self.mix = mix

    def __call__(
        self,
        attn: Attention,
        hidden_states: torch.Tensor,
        encoder_hidden_states: torch.Tensor | None = None,
        attention_mask: torch.Tensor | None = None,
        temb: torch.Tensor | None = None,
        **_: Any,
    ) -> torch.Tensor:
        """Compute the attention; hidden_states is (b f) l c, or (b f) c h w in blocks without a transformer."""
        assert encoder_hidden_states is None, "frames are mixed in self-attention only"
        tokens = hidden_states if hidden_states.ndim == 3 else rearrange(hidden_states, "b c h w -> b (h w) c")
        if attn.group_norm is not None:
            tokens = attn.group_norm(tokens.transpose(1, 2)).transpose(1, 2)
        key, value = self._mixed(attn.to_k(tokens)), self._mixed(attn.to_v(tokens))
        out = attend(attn, attn.to_q(tokens), key, value, attention_mask)
        out = attn.to_out[1](attn.to_out[0](out))
        if hidden_states.ndim == 4:
            out = rearrange(out, "b (h w) c -> b c h w", h=hidden_states.shape[2])
        if attn.residual_connection:
            out = out + hidden_states
        rescaled: torch.Tensor = out / attn.rescale_output_factor
        return rescaled

    def _mixed(self, tokens: torch.Tensor) -> torch.Tensor:
        """Apply U to the frames of each clip, in float32: in half precision the rows of U do not sum to 1."""
        num_frames = len(self.mix)
        clips = rearrange(tokens, "(b f) l c -> b f (l c)", f=num_frames)
        mixed = self.mix @ clips.float()
        return rearrange(mixed.to(tokens.dtype), "b f (l c) -> (b f) l c", l=tokens.shape[1])


def attend(
    attn: Attention, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, mask: torch.Tensor | None = None
) -> torch.Tensor:
    """Compute scaled dot-product attention with the heads and norms of a diffusers ``Attention``.

    Shape:
        query (b l c), key and value (b m c), mask as diffusers passes it -> (b l c).
    """
    q, k, v = (rearrange(tokens, "b l (n d) -> b n l d", n=attn.heads) for tokens in (query, key, value))
    q = q if attn.norm_q is None else attn.norm_q(q)
    k = k if attn.norm_k is None else attn.norm_k(k)
    if mask is not None:
        mask = attn.prepare_attention_mask(mask, key.shape[1], len(key))
        mask = rearrange(mask, "(b n) l m -> b n l m", n=attn.heads)
    out = torch.nn.functional.scaled_dot_product_attention(q, k, v, attn_mask=mask)
    return rearrange(out, "b n l d -> b l (n d)")


def self_attention_layers(unet: UNet2DConditionModel) -> Mapping[str, Attention]:
    """Return the self-attention layers of a U-Net, by the name of their processor in diffusers."""
    return {
        f"{name}.processor": module
        for name, module in unet.named_modules()
        if isinstance(module, Attention) and not module.is_cross_attention and module.added_kv_proj_dim is None
    }
