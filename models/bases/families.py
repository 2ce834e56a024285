"""Families of bases: their description without torch. The code of a family is in its own module."""

import pkgutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from models.bases.configurations import Misfit, stable_diffusion_misfits, stable_video_diffusion_misfits

if TYPE_CHECKING:
    from models.backbones import Base


@dataclass(frozen=True)
class Family:
    """Bases with one layout: the same networks in the same sub-folders.

    Args:
        name: Identifier.
        title: Name in messages.
        code: Class of its loaded bases, as ``module:class``.
        pipeline: Class name in ``model_index.json`` of its bases.
        networks: Sub-folders with weights, the denoiser first.
        settings: Sub-folder without weights -> its configuration file.
        default_base: Embedded base of its systems by default.
        misfits: Lists the reasons why the configuration files in a folder are those of another kind of base.
        protocol: Sampling settings that differ from the defaults of ``Protocol``.
    """

    name: str
    title: str
    code: str
    pipeline: str
    networks: tuple[str, ...]
    settings: Mapping[str, str]
    default_base: str
    misfits: Callable[[Path], list[Misfit]]
    protocol: Mapping[str, Any] = field(default_factory=dict)

    @property
    def configurations(self) -> dict[str, str]:
        """Sub-folder -> configuration file, for all networks and settings."""
        return {**dict.fromkeys(self.networks, "config.json"), **self.settings}

    def implementation(self) -> "type[Base]":
        """Return the class of its loaded bases; imports torch."""
        base_class: type[Base] = pkgutil.resolve_name(self.code)
        return base_class


STABLE_DIFFUSION = Family(
    name="stable_diffusion",
    title="Stable Diffusion",
    code="models.bases.stable_diffusion:StableDiffusion",
    pipeline="StableDiffusionPipeline",
    networks=("unet", "vae", "text_encoder"),
    settings={"tokenizer": "tokenizer_config.json", "scheduler": "scheduler_config.json"},
    default_base="shapes",
    misfits=stable_diffusion_misfits,
)
STABLE_VIDEO_DIFFUSION = Family(
    name="stable_video_diffusion",
    title="Stable Video Diffusion",
    code="models.bases.stable_video_diffusion:StableVideoDiffusion",
    pipeline="StableVideoDiffusionPipeline",
    networks=("unet", "vae", "image_encoder"),
    settings={"feature_extractor": "preprocessor_config.json", "scheduler": "scheduler_config.json"},
    default_base="shapes_video",
    misfits=stable_video_diffusion_misfits,
    protocol={"frames": 25, "steps": 25, "guidance": 3.0, "height": 576, "width": 1024},
)

FAMILIES: dict[str, Family] = {family.name: family for family in (STABLE_DIFFUSION, STABLE_VIDEO_DIFFUSION)}
"""Families by name."""
