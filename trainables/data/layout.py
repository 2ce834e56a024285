"""What every layout of data is made of, and the clips it gives to train on."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ConfigDict

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


@dataclass(frozen=True)
class TrainingClips:
    """Clips to train on, none of them decoded yet.

    Args:
        texts: One per clip.
        identity: What each clip is known by, as plain values.
        read: Decodes some of them, by number; uint8 (n f h w 3).
    """

    texts: Sequence[str]
    identity: Sequence[Any]
    read: Callable[[Sequence[int]], NDArray[np.uint8]]


class Layout(BaseModel):
    """A layout: plain data, closed to unknown keys."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)
