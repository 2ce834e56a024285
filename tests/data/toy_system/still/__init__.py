"""A system without training: the given frame, repeated."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from models.bases.families import STABLE_VIDEO_DIFFUSION, Family
from models.contracts import MetaDenoiser, Sample, VideoModel
from models.system import System

if TYPE_CHECKING:
    from torch import Tensor

    from models.bases import Protocol
    from models.bases.stable_video_diffusion import StableVideoDiffusion
    from models.streams import Streams


class Still(System):
    """A frozen clip, the least that a video model has to beat."""

    name: ClassVar[str] = "still"
    family: ClassVar[Family] = STABLE_VIDEO_DIFFUSION
    continues_clips: ClassVar[bool] = True

    @property
    def given_frames(self) -> int:
        """One image."""
        return 1

    def denoiser_on_meta(self, networks: Mapping[str, Any], protocol: "Protocol") -> MetaDenoiser | None:
        """Nothing is denoised."""
        return None

    def build(self, base: "StableVideoDiffusion", seed: int = 0) -> VideoModel:
        """Make the model."""
        return _StillModel()


class _StillModel:
    def sample(
        self, prompts: Sequence[str], streams: "Streams", protocol: "Protocol", given: "Tensor | None" = None
    ) -> Sample:
        """Repeat the given frame."""
        assert given is not None
        return Sample(given.repeat_interleave(protocol.frames, dim=1))
