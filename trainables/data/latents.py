"""Training clips as the U-Net takes them: posteriors of the VAE and text states, computed once and shared."""

import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from models.backbones import Base, encode_frames, encode_text
from models.built import Batch
from models.streams import Streams
from trainables.cache import Arrays
from trainables.data.frames import to_video
from trainables.data.layout import TrainingClips

Keep = Callable[[Mapping[str, Any], Callable[[], Arrays]], Arrays]

SHARD = 32
"""Clips that are encoded, kept and read together."""
_HELD_BYTES = 2**30


class Latents:
    """Posteriors and text states of a list of clips.

    Mean and standard deviation are kept rather than a draw, so that every step still draws fresh noise. Where all of
    them together would outgrow their room, each would be dropped before it is seen again: then nothing is kept, and
    clips are encoded as they come.

    Args:
        base: Whose VAE and text tower encode.
        clips: What is encoded, when it is asked for.
        depends_on: What else decides the arrays: base, size, code.
        size: Frames, height and width of a clip.
        keep: Gives the arrays that depend on some plain values, computed or kept from before.
        room: Bytes that what is kept may take.
    """

    def __init__(
        self,
        base: Base,
        clips: TrainingClips,
        depends_on: Mapping[str, Any],
        size: tuple[int, int, int],
        keep: Keep = lambda depends_on, compute: compute(),
        room: int = _HELD_BYTES,
    ) -> None:
        self.base, self._clips, self._depends_on, self._keep = base, clips, dict(depends_on), keep
        self._shard = functools.lru_cache(maxsize=None)(self._read)
        self._held = 0
        self.kept = len(self) * self._bytes_per_clip(*size) <= room

    def __len__(self) -> int:
        return len(self._clips.texts)

    def text(self, clips: Sequence[int]) -> torch.Tensor:
        """Text states of some clips (n l c)."""
        if not self.kept:
            return encode_text(self.base, self._texts(clips)).float()
        return torch.stack([self._of(clip)["text"] for clip in clips]).to(self.base.device)

    def posterior(self, clips: Sequence[int]) -> tuple[torch.Tensor, torch.Tensor]:
        """Mean and standard deviation of some clips' latents, each (n f c h w) on the CPU."""
        if not self.kept:
            mean, std = encode_frames(self.base, to_video(self._clips.read(clips)))
            return mean.float().cpu(), std.float().cpu()
        found = [self._of(clip) for clip in clips]
        return torch.stack([one["mean"] for one in found]), torch.stack([one["std"] for one in found])

    def _of(self, clip: int) -> dict[str, torch.Tensor]:
        shard = self._shard(clip // SHARD)
        return {name: torch.from_numpy(values[clip % SHARD]).float() for name, values in shard.items()}

    def _read(self, shard: int) -> Arrays:
        numbers = range(shard * SHARD, min((shard + 1) * SHARD, len(self)))
        identity = [self._clips.identity[k] for k in numbers]
        about = {"what": "latents", "clips": identity, "texts": self._texts(numbers)}
        arrays = self._keep({**about, **self._depends_on}, functools.partial(self._encode, numbers))
        self._held += sum(values.nbytes for values in arrays.values())
        if self._held > _HELD_BYTES:
            self._shard.cache_clear()
            self._held = 0
        return arrays

    def _texts(self, numbers: Sequence[int]) -> list[str]:
        return [self._clips.texts[k] for k in numbers]

    def _encode(self, numbers: Sequence[int]) -> Arrays:
        mean, std = encode_frames(self.base, to_video(self._clips.read(numbers)))
        text = encode_text(self.base, self._texts(numbers))
        arrays = {"mean": mean, "std": std, "text": text}
        return {name: values.cpu().float().numpy().astype(self._stored) for name, values in arrays.items()}

    @property
    def _stored(self) -> type[np.floating[Any]]:
        return np.float32 if self.base.dtype == torch.float32 else np.float16

    def _bytes_per_clip(self, frames: int, height: int, width: int) -> int:
        base = self.base
        cells = (height // base.pixels_per_latent) * (width // base.pixels_per_latent)
        latents = 2 * frames * int(base.vae.config.latent_channels) * cells
        text = base.text_encoder.config
        values = latents + int(text.max_position_embeddings) * int(text.hidden_size)
        return values * np.dtype(self._stored).itemsize


class Batches:
    """What a training step sees: every draw keyed by the seed and the clip's position in the training, no more.

    Neither arm nor number of workers nor micro-batch shifts a draw: position p is clip ``p mod n`` of a permutation,
    which is drawn anew for each pass over the data.

    Args:
        latents: Training clips.
        streams: Of the cell's seed.
    """

    def __init__(self, latents: Latents, streams: Streams) -> None:
        self._latents, self._streams, self._device = latents, streams, latents.base.device
        self._num_timesteps = int(latents.base.noise_scheduler.config.num_train_timesteps)
        self._order = functools.lru_cache(maxsize=2)(self._permutation)

    def batch(self, positions: Sequence[int]) -> Batch:
        """The clips at some positions with their noise and timesteps."""
        n, streams = len(self._latents), self._streams
        clips = [int(self._order(p // n)[p % n]) for p in positions]
        mean, std = self._latents.posterior(clips)
        shape = tuple(mean.shape[2:])

        def draws(stream: str) -> torch.Tensor:
            frames = range(mean.shape[1])
            return torch.from_numpy(
                np.array([[streams.normal(stream, p, frame, shape=shape) for frame in frames] for p in positions])
            )

        time = [streams.integers("timestep", p, high=self._num_timesteps) for p in positions]
        return Batch(
            latents=(mean + std * draws("posterior")).to(self._device),
            text=self._latents.text(clips),
            noise=draws("training_noise").to(self._device),
            time=torch.tensor(time, device=self._device),
        )

    def _permutation(self, epoch: int) -> NDArray[np.int64]:
        return self._streams.generator("data_order", epoch).permutation(len(self._latents))
