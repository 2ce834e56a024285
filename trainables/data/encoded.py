"""Encoded training clips, computed once and cached, and training batches."""

import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from models.contracts import Clips, Tensors, TrainedModel
from models.streams import Draws, Streams
from trainables.cache import Arrays
from trainables.data.frames import to_video
from trainables.data.layout import ClipSet

Keep = Callable[[Mapping[str, Any], Callable[[], Arrays]], Arrays]

SHARD = 32
"""Number of clips that are encoded, cached and read together."""
_HELD_BYTES = 2**30


class Encoded:
    """Encodings of a list of clips, before any random draw (``TrainedModel.encode``).

    If all encodings together exceed the size limit, each shard would be evicted before its next use. Nothing is cached
    then, and clips are encoded at every step.

    Args:
        model: Encodes the clips; the encoding may depend only on its base and the clips.
        clips: Clips to encode on demand.
        depends_on: Further dependencies of the arrays: system, base, size, code.
        keep: Returns arrays by their dependencies, computed or from a cache.
        room: Size limit in bytes.
    """

    def __init__(
        self,
        model: TrainedModel,
        clips: ClipSet,
        depends_on: Mapping[str, Any],
        keep: Keep = lambda depends_on, compute: compute(),
        room: int = _HELD_BYTES,
    ) -> None:
        self._model, self._clips, self._depends_on = model, clips, dict(depends_on)
        self._keep, self._room = keep, room
        self._shard = functools.lru_cache(maxsize=None)(self._read)
        self._held = 0

    def __len__(self) -> int:
        return len(self._clips)

    @functools.cached_property
    def kept(self) -> bool:
        """Whether all clips fit into the size limit, estimated from the first one."""
        return len(self) * _num_bytes(self._encode(range(1))) <= self._room

    def of(self, clips: Sequence[int]) -> Tensors:
        """Return the encodings of clips, by number."""
        if not self.kept:
            return {name: torch.from_numpy(values) for name, values in self._encode(clips).items()}
        rows = [self._row(clip) for clip in clips]
        return {name: torch.stack([row[name] for row in rows]) for name in rows[0]}

    def _row(self, clip: int) -> dict[str, torch.Tensor]:
        shard = self._shard(clip // SHARD)
        return {name: torch.from_numpy(values[clip % SHARD]) for name, values in shard.items()}

    def _read(self, shard: int) -> Arrays:
        numbers = range(shard * SHARD, min((shard + 1) * SHARD, len(self)))
        identity = [self._clips.identity[k] for k in numbers]
        texts = {"texts": self._texts(numbers), "further": self._further(numbers)}
        about = {"what": "training clips", "clips": identity, **texts, **self._depends_on}
        arrays = self._keep(about, functools.partial(self._encode, numbers))
        self._held += _num_bytes(arrays)
        if self._held > _HELD_BYTES:
            self._shard.cache_clear()
            self._held = 0
        return arrays

    def _texts(self, numbers: Sequence[int]) -> list[str]:
        return [self._clips.texts[k] for k in numbers]

    def _further(self, numbers: Sequence[int]) -> dict[str, list[str]]:
        return {name: [texts[k] for k in numbers] for name, texts in self._clips.further.items()}

    def _encode(self, numbers: Sequence[int]) -> Arrays:
        clips = Clips(to_video(self._clips.read(numbers)), self._texts(numbers), self._further(numbers))
        return {name: values.numpy() for name, values in self._model.encode(clips).items()}


def _num_bytes(arrays: Arrays) -> int:
    return sum(values.nbytes for values in arrays.values())


class Batches:
    """Training batches; every random draw is keyed by the seed and the clip's position in the training only.

    Draws do not depend on arm, number of workers or micro-batch: position p is clip ``p mod n`` of the epoch's
    permutation.

    Args:
        model: Makes the batches.
        encoded: Training clips.
        streams: Random streams of the cell's seed.
    """

    def __init__(self, model: TrainedModel, encoded: Encoded, streams: Streams) -> None:
        self._model, self._encoded, self._streams = model, encoded, streams
        self._order = functools.lru_cache(maxsize=2)(self._permutation)

    @property
    def num_clips(self) -> int:
        """Number of clips of an epoch."""
        return len(self._encoded)

    def batch(self, positions: Sequence[int]) -> Tensors:
        """Make the batch of the clips at these positions, with their random draws."""
        n = len(self._encoded)
        clips = [int(self._order(p // n)[p % n]) for p in positions]
        return self._model.batch(self._encoded.of(clips), Draws(self._streams, positions))

    def _permutation(self, epoch: int) -> NDArray[np.int64]:
        return self._streams.generator("data_order", epoch).permutation(len(self._encoded))
