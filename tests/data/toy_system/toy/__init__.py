"""A system as small as one can be: a linear denoiser that is trained to continue an image."""

from typing import TYPE_CHECKING, Annotated, Any, ClassVar

from pydantic import Field

from models.bases.families import STABLE_VIDEO_DIFFUSION, Family
from models.contracts import MetaDenoiser, TrainedModel
from models.guidance import Guidance, RisingGuidance
from models.toy.parts import FrameMixing, NoMixing
from models.training import TrainedSystem

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torch import nn

    from models.bases import Protocol
    from models.bases.stable_video_diffusion import StableVideoDiffusion


class Toy(TrainedSystem):
    """Linear video prediction: each latent is a weighted sum of noisy and given ones."""

    name: ClassVar[str] = "toy"
    family: ClassVar[Family] = STABLE_VIDEO_DIFFUSION
    components: ClassVar[tuple[str, ...]] = ("mixing",)
    continues_clips: ClassVar[bool] = True

    mixing: Annotated[FrameMixing | NoMixing, Field(discriminator="kind")] = FrameMixing()
    guidance: Guidance = RisingGuidance()

    @property
    def given_frames(self) -> int:
        """One image."""
        return 1

    def network_on_meta(self, networks: "Mapping[str, Any]") -> "nn.Module":
        """The linear denoiser, without weights."""
        import torch

        from models.toy.network import LinearDenoiser

        with torch.device("meta"):
            return LinearDenoiser(int(networks["vae"].config.latent_channels), self.mixing)

    def denoiser_on_meta(self, networks: "Mapping[str, Any]", protocol: "Protocol") -> MetaDenoiser | None:
        """The linear denoiser on one clip."""
        from models.bases.stable_video_diffusion import meta_inputs

        network: Any = self.network_on_meta(networks)
        latents, beside = meta_inputs(networks, protocol)["sample"].chunk(2, dim=2)
        return MetaDenoiser({"linear": network}, lambda: network.predict(latents, beside))

    def build(self, base: "StableVideoDiffusion", seed: int = 0) -> TrainedModel:
        """Make the model."""
        from models.streams import Streams
        from models.toy.network import ToyModel

        return ToyModel(self, base, Streams(seed))
