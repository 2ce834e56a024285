"""The families of bases: what is known of each without torch. A family's code is in its module."""

import pkgutil
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from models.backbones import Base


@dataclass(frozen=True)
class Family:
    """Bases of one layout: the same networks in the same sub-folders.

    Args:
        name: As ``System.family`` names it.
        title: What it is called in messages.
        code: Where its networks are implemented, as ``module:class``.
        pipeline: The class that ``model_index.json`` of such a base names.
        networks: Sub-folders that hold weights, the denoiser first.
        settings: Sub-folder without weights -> its configuration file.
        default_base: The embedded base that a system of this family is shown on by default.
        protocol: Where sampling differs from ``Protocol``'s own defaults.
    """

    name: str
    title: str
    code: str
    pipeline: str
    networks: tuple[str, ...]
    settings: Mapping[str, str]
    default_base: str
    protocol: Mapping[str, Any] = field(default_factory=dict)

    @property
    def configurations(self) -> dict[str, str]:
        """Sub-folder -> configuration file, of all networks and settings."""
        return {**dict.fromkeys(self.networks, "config.json"), **self.settings}

    def implementation(self) -> "type[Base]":
        """The class of its loaded bases; imports torch."""
        found: type[Base] = pkgutil.resolve_name(self.code)
        return found


STABLE_DIFFUSION = Family(
    name="stable_diffusion",
    title="Stable Diffusion",
    code="models.bases.stable_diffusion:StableDiffusion",
    pipeline="StableDiffusionPipeline",
    networks=("unet", "vae", "text_encoder"),
    settings={"tokenizer": "tokenizer_config.json", "scheduler": "scheduler_config.json"},
    default_base="shapes",
)
STABLE_VIDEO_DIFFUSION = Family(
    name="stable_video_diffusion",
    title="Stable Video Diffusion",
    code="models.bases.stable_video_diffusion:StableVideoDiffusion",
    pipeline="StableVideoDiffusionPipeline",
    networks=("unet", "vae", "image_encoder"),
    settings={"feature_extractor": "preprocessor_config.json", "scheduler": "scheduler_config.json"},
    default_base="stable-video-diffusion-img2vid-xt",
    protocol={"frames": 25, "steps": 25, "guidance": 3.0, "height": 576, "width": 1024},
)

FAMILIES: dict[str, Family] = {family.name: family for family in (STABLE_DIFFUSION, STABLE_VIDEO_DIFFUSION)}
"""Every family by its name."""
