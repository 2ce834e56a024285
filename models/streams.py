"""Named random streams: every draw has a key, so that no draw depends on another.

A draw is keyed by (seed, stream, key...), for instance (7, "noise", clip, frame, candidate). The arm, the number of
frames, the micro-batch and the device do not change it, so that arms can be compared in pairs.
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
        seed: Seed of a cell; any integer.
    """

    def __init__(self, seed: int) -> None:
        self.seed = seed

    def __repr__(self) -> str:
        return f"Streams({self.seed})"

    def generator(self, stream: str, *key: int) -> np.random.Generator:
        """Return a new generator for one draw; the same key always gives the same generator."""
        import numpy as np

        name = json.dumps([self.seed, stream, *key])
        digest = hashlib.sha256(name.encode()).digest()
        return np.random.Generator(np.random.Philox(key=int.from_bytes(digest[:16], "little")))

    def normal(self, stream: str, *key: int, shape: tuple[int, ...]) -> npt.NDArray[np.float32]:
        """Draw a float32 array of standard normal values."""
        import numpy as np

        return self.generator(stream, *key).standard_normal(shape, dtype=np.float32)

    def integers(self, stream: str, *key: int, high: int) -> int:
        """Draw an integer, uniform on 0 .. high - 1."""
        return int(self.generator(stream, *key).integers(high))

    def uniform(self, stream: str, *key: int, low: float = 0.0, high: float = 1.0) -> float:
        """Draw a number, uniform on [low, high)."""
        return float(self.generator(stream, *key).uniform(low, high))


class Draws:
    """Random draws for a batch of training clips, keyed only by the position of each clip in the training.

    They do not depend on the arm, the number of workers or the micro-batch.

    Args:
        streams: Streams of the cell's seed.
        positions: One per clip of the batch, counted from the first clip of the first update.
    """

    def __init__(self, streams: Streams, positions: Sequence[int]) -> None:
        self._streams, self._positions = streams, positions

    def __len__(self) -> int:
        return len(self._positions)

    def normal(self, stream: str, num_frames: int, shape: tuple[int, ...]) -> npt.NDArray[np.float32]:
        """Draw standard normal values, frame by frame: (b f *shape)."""
        import numpy as np

        frames, normal = range(num_frames), self._streams.normal
        return np.array([[normal(stream, p, frame, shape=shape) for frame in frames] for p in self._positions])

    def integers(self, stream: str, high: int) -> list[int]:
        """Draw one integer per clip, uniform on 0 .. high - 1."""
        return [self._streams.integers(stream, p, high=high) for p in self._positions]

    def uniform(self, stream: str, low: float = 0.0, high: float = 1.0) -> list[float]:
        """Draw one number per clip, uniform on [low, high)."""
        return [self._streams.uniform(stream, p, low=low, high=high) for p in self._positions]
