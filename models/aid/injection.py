"""Injection of MCondition into the transformer blocks of a video denoiser.

Layers hook themselves into diffusers' blocks, so that the names of the base's weights stay.

Axes: b clips, f frames, l tokens of a frame, m tokens of MCondition, c channels.
"""

from functools import partial
from typing import Any

import torch
from diffusers.models.attention_processor import Attention
from torch import nn


class Board:
    """MCondition of the running pass: ((b f) m c), which the denoiser's own inputs have no place for.

    It keeps its content until the next pass, since recomputed activations read it in the backward pass.
    """

    def __init__(self) -> None:
        self.tokens: torch.Tensor | None = None


class TextCrossAttention(nn.Module):
    """A new cross-attention beside the base's own: y = Attn(LN x, image) + Attn_new(LN x, MCondition of the frame).

    Args:
        block: Spatial transformer block of the base, which gives channels and heads.
        context: Channels of MCondition.
        board: MCondition of the running pass.
        zero: Whether its output projection starts at zero, so that it changes nothing at first.

    Shape:
        normed x ((b f) l c) -> what is added, of the same shape.

    Source: AID (arXiv 2406.06465); departure: the paper's figure has the base's own cross-attention read MCondition.
    """

    def __init__(self, block: Any, context: int, board: Board, *, zero: bool = True) -> None:
        super().__init__()
        own = block.attn2
        heads, width = int(own.heads), int(own.inner_dim) // int(own.heads)
        self.attention = Attention(own.query_dim, cross_attention_dim=context, heads=heads, dim_head=width)
        self._board = board
        if zero:
            for parameter in self.attention.to_out[0].parameters():
                nn.init.zeros_(parameter)

    def attach(self, block: Any) -> None:
        """Become part of a block."""
        block.text_attention = self
        block.attn2.register_forward_hook(self._beside)

    def _beside(self, layer: nn.Module, args: tuple[Any, ...], out: torch.Tensor) -> torch.Tensor:
        added: torch.Tensor = out + self(args[0])
        return added

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Read MCondition."""
        read: torch.Tensor = self.attention(x, encoder_hidden_states=self._board.tokens)
        return read


def redirect(block: Any, board: Board) -> list[nn.Module]:
    """Have a block's own cross-attention read MCondition in place of the image; return what is to be tuned."""
    block.attn2.register_forward_pre_hook(partial(read_condition, board), with_kwargs=True)
    return [block.norm2, block.attn2]


def read_condition(board: Board, layer: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Replace the context of a cross-attention by MCondition."""
    return args, {**kwargs, "encoder_hidden_states": board.tokens}
