"""Windows and masks of Seer's attention: spatial windows over all frames, and causal masks within them.

A window holds the tokens of one square of every frame, ordered by frame and then by row (``p`` tokens per frame).
"""

from collections.abc import Callable

import torch
from einops import rearrange

Side = Callable[[int, int], int]
"""A rule for windows: height and width of a feature map -> the window's side, a divisor of both; 0 is the whole map."""
Mask = Callable[[int, int, torch.device], torch.Tensor | None]
"""A rule for masks: frames, tokens per frame, device -> (f p, f p), True is attended; None for no mask."""


def scaled_side(largest: int, ratio: int = 4) -> Side:
    """Make Seer's rule of windows that shrink with the feature map.

        side >= ratio * largest -> largest;   largest / 2 < side < ratio * largest -> largest / 2;   else the whole map

    For ``largest`` 8 and latents of 32 x 32 the levels 32, 16, 8, 4 have windows of 8, 4, 4 and the whole map.

    Args:
        largest: Side of the largest window, even.
        ratio: Number of largest windows along a side below which the window is halved.

    Source: Seer (arXiv 2303.14897), its released code; departures: a window that does not divide the map is
    replaced by the largest smaller one that does; the rule looks at the shorter side, not always at the height, which
    differs for frames that are not square.
    """

    def side(height: int, width: int) -> int:
        shorter = min(height, width)
        if shorter >= ratio * largest:
            return _divisor(largest, height, width)
        return _divisor(largest // 2, height, width) if shorter > largest // 2 else 0

    return side


def fixed_side(window: int) -> Side:
    """Make the rule of windows of one size at every level; the whole map if it is not larger."""
    return lambda height, width: 0 if min(height, width) <= window else _divisor(window, height, width)


def _divisor(most: int, height: int, width: int) -> int:
    return max(side for side in range(1, most + 1) if height % side == 0 and width % side == 0)


def partition(video: torch.Tensor, side: int) -> torch.Tensor:
    """Cut a clip's feature maps into windows over all frames.

    Shape:
        video (b f c h w) -> ((b windows) (f p) c), p = side^2, or h w for side 0.
    """
    if side == 0:
        return rearrange(video, "b f c h w -> b (f h w) c")
    return rearrange(video, "b f c (i p) (j q) -> (b i j) (f p q) c", p=side, q=side)


def merge(tokens: torch.Tensor, side: int, num_frames: int, height: int, width: int) -> torch.Tensor:
    """Merge windows; the inverse of ``partition``.

    Shape:
        tokens ((b windows) (f p) c) -> (b f c h w).
    """
    if side == 0:
        return rearrange(tokens, "b (f h w) c -> b f c h w", f=num_frames, h=height)
    across = {"i": height // side, "j": width // side, "p": side, "q": side}
    return rearrange(tokens, "(b i j) (f p q) c -> b f c (i p) (j q)", f=num_frames, **across)


def positions(num_frames: int, height: int, width: int, side: int, device: torch.device) -> torch.Tensor:
    """Return the position of every token in the whole clip, by frame and row, partitioned like the tokens.

    Shape:
        (windows, f p), integers.
    """
    number = torch.arange(num_frames * height * width, device=device)
    return partition(rearrange(number, "(f h w) -> 1 f 1 h w", f=num_frames, h=height), side).squeeze(-1)


def everything(num_frames: int, tokens: int, device: torch.device) -> torch.Tensor | None:
    """No mask: all tokens of a window attend to each other, in both time directions."""
    return None


def token_causal(num_frames: int, tokens: int, device: torch.device) -> torch.Tensor | None:
    """Make a mask for attention to earlier frames and earlier tokens of the same frame, in row order (published)."""
    length = num_frames * tokens
    return torch.ones(length, length, dtype=torch.bool, device=device).tril()


def frame_causal(num_frames: int, tokens: int, device: torch.device) -> torch.Tensor | None:
    """Make a mask for attention to earlier frames and to all tokens of the same frame."""
    frame = torch.arange(num_frames * tokens, device=device) // tokens
    return frame[:, None] >= frame[None, :]
