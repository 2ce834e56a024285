"""Random streams: every draw has a name, so that no draw can shift another.

A draw is keyed by (seed, stream, key...), for instance (7, "noise", clip, frame, candidate). The arm, the number of
frames, the micro-batch and the device change nothing in it, which is what makes arms comparable pair by pair.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # numpy takes longer to import than a study to check
    import numpy as np
    import numpy.typing as npt


class Streams:
    """The named random streams of one seed.

    The key of a draw is hashed with SHA-256 to the 128 bits that numpy's Philox generator takes. (torch's CPU
    generator keeps only 32 bits of its seed, so that two of a few thousand draws would coincide.)

    Args:
        seed: The seed of a cell; any whole number.
    """

    def __init__(self, seed: int) -> None:
        self.seed = seed

    def __repr__(self) -> str:
        return f"Streams({self.seed})"

    def generator(self, stream: str, *key: int) -> np.random.Generator:
        """A fresh generator for one draw; the same key gives the same generator, whatever was drawn before."""
        import numpy as np

        name = json.dumps([self.seed, stream, *key])
        digest = hashlib.sha256(name.encode()).digest()
        return np.random.Generator(np.random.Philox(key=int.from_bytes(digest[:16], "little")))

    def normal(self, stream: str, *key: int, shape: tuple[int, ...]) -> npt.NDArray[np.float32]:
        """Standard normal values as a float32 array of the given shape."""
        import numpy as np

        return self.generator(stream, *key).standard_normal(shape, dtype=np.float32)

    def integers(self, stream: str, *key: int, high: int) -> int:
        """One whole number, uniform on 0 .. high - 1."""
        return int(self.generator(stream, *key).integers(high))

    def uniform(self, stream: str, *key: int, low: float = 0.0, high: float = 1.0) -> float:
        """One number, uniform on [low, high)."""
        return float(self.generator(stream, *key).uniform(low, high))


class Draws:
    """Everything that is drawn for a batch of training clips: keyed by the clip's position in the training alone.

    Neither arm nor number of workers nor micro-batch shifts a draw.

    Args:
        streams: Of the cell's seed.
        positions: One per clip of the batch, counted from the first clip of the first update.
    """

    def __init__(self, streams: Streams, positions: Sequence[int]) -> None:
        self._streams, self._positions = streams, positions

    def __len__(self) -> int:
        return len(self._positions)

    def normal(self, stream: str, num_frames: int, shape: tuple[int, ...]) -> npt.NDArray[np.float32]:
        """Standard normal values, frame by frame: (b f *shape)."""
        import numpy as np

        frames, normal = range(num_frames), self._streams.normal
        return np.array([[normal(stream, p, frame, shape=shape) for frame in frames] for p in self._positions])

    def integers(self, stream: str, high: int) -> list[int]:
        """One whole number per clip, uniform on 0 .. high - 1."""
        return [self._streams.integers(stream, p, high=high) for p in self._positions]

    def uniform(self, stream: str, low: float = 0.0, high: float = 1.0) -> list[float]:
        """One number per clip, uniform on [low, high)."""
        return [self._streams.uniform(stream, p, low=low, high=high) for p in self._positions]
