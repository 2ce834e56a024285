"""Common interface of all families of bases: networks in their libraries' own classes, loaded strictly, never changed.

Video is ``b f c h w`` everywhere else in ``models``; image networks take frames as a batch. Conversions are only here
and in the families' modules.
"""

import contextlib
import dataclasses
import logging
import os
import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
import psutil
import torch
from diffusers import ModelMixin, UNet2DConditionModel
from einops import rearrange
from safetensors import SafetensorError
from transformers.utils import logging as transformers_logging

from models.bases import BaseRef, Precision, Protocol, latent_cell, misfits, missing_files, precision_in_full
from models.contracts import Sample
from models.streams import Streams
from models.system import NonFiniteError

logger = logging.getLogger(__name__)

DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}

_VARIANT = re.compile(r"\.(?P<variant>\w+)(-\d{5}-of-\d{5})?\.(safetensors|bin)$")
"""Name of a weight file with a variant."""

Denoiser = Callable[..., torch.Tensor]
"""Makes the prediction for a noise scheduler: latents (b f c h w), time (), conditions by name -> (b f c h w)."""


@dataclass(frozen=True, kw_only=True)
class Base(ABC):
    """Loaded networks of a base; all cells of a worker share them, so they must not be changed.

    Each family is a subclass, with a field for each of its networks.

    Args:
        ref: Source of the networks.
        unet: The denoiser.
        vae: Encodes pixels to latents and decodes latents.
        noise_scheduler: The base's own schedule, in the class used for sampling.
        device: Device of the networks.
        dtype: Precision of the computation.
    """

    classes: ClassVar[Mapping[str, Any]]
    """Name of a network and of its sub-folder -> its class; the denoiser first."""

    ref: BaseRef
    unet: Any
    vae: Any
    noise_scheduler: Any
    device: torch.device
    dtype: torch.dtype

    @classmethod
    def load(cls, ref: BaseRef, *, device: str = "auto", precision: Precision = "auto") -> Self:
        """Load a base with the libraries' own ``from_pretrained``, component by component.

        Args:
            ref: Base from ``models.bases.find_base``.
            device: "auto" is the GPU if there is one, else the CPU; or any torch device.
            precision: "auto" is fp32 on the CPU and bf16 on a GPU; weights stored in another precision are converted.

        Raises:
            ValueError: The base is missing or incomplete, or its weights do not match its configuration exactly.
        """
        folder = base_folder(ref)
        place = torch.device(("cuda" if torch.cuda.is_available() else "cpu") if device == "auto" else device)
        dtype = DTYPES[precision_in_full(precision, gpu=place.type != "cpu")]
        with quiet():
            networks = {
                name: load_strictly(kind, folder, name, cls.precision_of(name, dtype)).to(place)
                for name, kind in cls.classes.items()
            }
            return cls.assemble(networks, cls.settings(folder), ref=ref, device=place, dtype=dtype)

    @classmethod
    def on_meta(cls, ref: BaseRef) -> dict[str, Any]:
        """Build the networks by name from configuration files only; no weights are read and no memory is allocated.

        Raises:
            OSError: The configuration files cannot be read.
        """
        source, options = str(ref.path or ref.name), {"revision": ref.revision}
        with torch.device("meta"), quiet():
            return {
                name: network_on_meta(kind, source, subfolder=name, **options) for name, kind in cls.classes.items()
            }

    @classmethod
    @abstractmethod
    def tiny(cls, seed: int = 0) -> Self:
        """Build a small random instance, on the CPU in float32.

        Clips of 32 x 32 pixels have latents of 4 x 4.

        Args:
            seed: Seed of the weights.
        """

    @classmethod
    @abstractmethod
    def settings(cls, folder: Path) -> dict[str, Any]:
        """Load the other components of a folder by field, such as noise scheduler and tokenizer."""

    @classmethod
    def precision_of(cls, network: str, dtype: torch.dtype) -> torch.dtype:
        """Return the precision of one network in a base whose precision is ``dtype``."""
        return dtype

    @classmethod
    def assemble(cls, networks: Mapping[str, Any], settings: Mapping[str, Any], **where: Any) -> Self:
        """Make a base from loaded networks, which are frozen.

        Args:
            networks: Networks by name.
            settings: Other components by field.
            where: ``ref``, ``device`` and ``dtype``.
        """
        frozen = {name: network.eval().requires_grad_(False) for name, network in networks.items()}
        return cls(**frozen, **settings, **where)

    @abstractmethod
    def save(self, folder: Path) -> None:
        """Save the whole base in the layout that ``load`` reads."""

    @property
    def networks(self) -> dict[str, Any]:
        """The networks by name."""
        return {name: getattr(self, name) for name in self.classes}

    @property
    def pixels_per_latent(self) -> int:
        """Pixels per latent cell along one side."""
        return latent_cell(self.vae.config)

    @property
    def latent_channels(self) -> int:
        """Channels of a latent."""
        return int(self.vae.config.latent_channels)

    def latent_shape(self, protocol: Protocol) -> tuple[int, int, int]:
        """Return the shape of a frame's latent (c h w).

        Raises:
            ValueError: The size is not a multiple of the latent cell.
        """
        cell = self.pixels_per_latent
        if protocol.height % cell or protocol.width % cell:
            raise ValueError(
                f"{protocol.height} x {protocol.width} pixels -> both must be multiples of {cell} for base {self.ref}"
            )
        return self.latent_channels, protocol.height // cell, protocol.width // cell

    def micro_batch(self, protocol: Protocol) -> int:
        """Return the frames per call of the denoiser: the protocol's, else those that an eighth of the memory holds.

        The rule counts 64 activations of the width of the denoiser's first level per frame and guidance branch, in its
        precision. It uses the total memory, not the free memory, so that runs on one machine use the same number.
        """
        if protocol.micro_batch is not None:
            return protocol.micro_batch
        on_gpu = self.device.type == "cuda"
        total = torch.cuda.get_device_properties(self.device).total_memory if on_gpu else psutil.virtual_memory().total
        cells = protocol.height * protocol.width // self.pixels_per_latent**2
        per_frame = 2 * 64 * self.unet.config.block_out_channels[0] * cells * self.dtype.itemsize
        return max(1, int(total // 8 // per_frame))

    def release_denoiser(self) -> None:
        """Free the denoiser's memory permanently, for a base that is used for one training whose model holds a copy."""
        self.unet.to("meta")

    @torch.no_grad()
    def encode_frames(self, video: torch.Tensor, *, micro_batch: int = 8) -> tuple[torch.Tensor, torch.Tensor]:
        """Return mean and standard deviation of the VAE's posterior of every frame, scaled for the denoiser.

        Args:
            video: Pixels in [-1, 1].
            micro_batch: Frames per call.

        Shape:
            (b f 3 H W) -> two of (b f c h w), float32 on the base's device.
        """
        frames = torch.split(rearrange(video, "b f c h w -> (b f) c h w"), micro_batch)
        posteriors = [self.vae.encode(self.as_image(part)).latent_dist for part in frames]
        scale = self.vae.config.scaling_factor
        mean, std = (
            rearrange(torch.cat(parts).float() * scale, "(b f) c h w -> b f c h w", b=len(video)).contiguous()
            for parts in ([p.mean for p in posteriors], [p.std for p in posteriors])
        )
        return mean, std

    @abstractmethod
    def decode_latents(self, latents: torch.Tensor, *, micro_batch: int = 8) -> torch.Tensor:
        """Decode latents to pixels.

        Args:
            latents: Scaled latents, as the denoiser returns them.
            micro_batch: Frames per call; a family that decodes frames together may decode more.

        Shape:
            (b f c h w) -> (b f 3 H W), float32 on the CPU, in [-1, 1].

        Raises:
            NonFiniteError: A pixel is NaN or infinite.
        """

    @abstractmethod
    def denoiser(self) -> Denoiser:
        """Return the base's own denoiser, which takes clips."""

    @abstractmethod
    def sample(
        self, prompts: Sequence[str], streams: Streams, protocol: Protocol, given: torch.Tensor | None = None
    ) -> Sample:
        """Sample clips with the unchanged base, for comparison with a system built on it.

        Args:
            prompts: One per clip; a family without text input only uses their number.
            streams: Source of all randomness.
            protocol: Frames, steps, guidance and size.
            given: First frames of the clips (b r 3 H W), for a family with image input.
        """

    def as_image(self, frames: torch.Tensor) -> torch.Tensor:
        """Convert frames (b c h w) for the VAE: its device and precision, channels last in memory."""
        return frames.to(self.device, self.vae.dtype).contiguous(memory_format=torch.channels_last)


def load_base(ref: BaseRef, *, device: str = "auto", precision: Precision = "auto") -> Base:
    """Load a base of any family; see ``Base.load``."""
    return ref.family.implementation().load(ref, device=device, precision=precision)


def networks_on_meta(ref: BaseRef) -> dict[str, Any]:
    """Build a base's networks by name, without weights; see ``Base.on_meta``."""
    return ref.family.implementation().on_meta(ref)


def num_parameters(network: torch.nn.Module) -> int:
    """Count the parameters of a network."""
    return sum(weight.numel() for weight in network.parameters())


def start_noise(streams: Streams, clips: int, frames: Sequence[int], shape: tuple[int, ...]) -> torch.Tensor:
    """Draw independent start noise for some frames of every clip.

    Shape:
        (b f c h w), float32 on the CPU.
    """
    draws = [[streams.normal("noise", clip, frame, shape=shape) for frame in frames] for clip in range(clips)]
    return torch.from_numpy(np.array(draws))


@contextlib.contextmanager
def attached(unet: UNet2DConditionModel, processors: Mapping[str, Any]) -> Iterator[UNet2DConditionModel]:
    """Attach attention processors to named layers; the original ones are restored on exit, also after an error.

    Args:
        unet: The network.
        processors: Name of a processor in diffusers -> new processor; other layers keep their own.
    """
    original = unet.attn_processors
    unknown = processors.keys() - original.keys()
    assert not unknown, f"no such attention layers: {sorted(unknown)}"
    if processors:
        unet.set_attn_processor({**original, **processors})
    try:
        yield unet
    finally:
        if processors:
            unet.set_attn_processor(dict(original))


def check_finite(clips: torch.Tensor, where: str) -> None:
    """Raise an error if a clip has NaN or infinite values.

    Args:
        clips: Any values (b ...).
        where: Current operation, for the message.

    Raises:
        NonFiniteError: Some values are not finite; the message names the clips.
    """
    finite = clips.flatten(1).isfinite().all(dim=1)
    if not finite.all():
        broken = ", ".join(str(clip) for clip in (~finite).nonzero().flatten().tolist())
        raise NonFiniteError(f"NaN or infinite values {where} (clip {broken})")


# -------------------------------------------------------------------------------------------------------------- loading


def base_folder(ref: BaseRef) -> Path:
    """Return the folder of a base, checked to be complete and of its family; a hub id is downloaded unless offline."""
    folder = ref.path or _download(ref)
    local = dataclasses.replace(ref, path=folder, where="folder")
    if missing := missing_files(local):
        raise ValueError(f"base {ref} is incomplete: {folder} lacks {', '.join(missing)}")
    if wrong := misfits(local):
        raise ValueError(f"base {ref} cannot be used: " + "; ".join(map(str, wrong)))
    return folder


def _download(ref: BaseRef) -> Path:
    from diffusers import DiffusionPipeline

    optional = ("safety_checker", "feature_extractor", "image_encoder")
    unused = {part: None for part in optional if part not in ref.family.configurations}
    try:
        return Path(
            DiffusionPipeline.download(ref.name, revision=ref.revision, local_files_only=is_offline(), **unused)
        )
    except (OSError, ValueError) as error:
        revision = f" --revision {ref.revision}" if ref.revision else ""
        offline = "HF_HUB_OFFLINE is set and it is not in the local cache"
        reason = offline if is_offline() else f"error from the hub: {error}"
        raise ValueError(
            f"base {ref} is not on this machine: {reason} -> run `hf download {ref.name}{revision}` with network "
            f"access, or set base to a folder in {ref.family.title} layout"
        ) from error


def downloaded(name: str, revision: str | None, patterns: Sequence[str]) -> Path:
    """Return the folder of a hub id with some of its files, downloaded unless offline.

    Args:
        name: Hub id.
        revision: Branch, tag or commit; None is the default branch.
        patterns: Patterns of the files.

    Raises:
        ValueError: The files are not on this machine, and cannot be downloaded.
    """
    from huggingface_hub import snapshot_download

    try:
        return Path(
            snapshot_download(name, revision=revision, allow_patterns=[*patterns], local_files_only=is_offline())
        )
    except (OSError, ValueError) as error:
        raise ValueError(f"{name} is not on this machine ({error}) -> run `hf download {name}`") from error


def is_offline() -> bool:
    """Whether HF_HUB_OFFLINE forbids downloads."""
    return os.environ.get("HF_HUB_OFFLINE", "").upper() in {"1", "ON", "YES", "TRUE"}


def load_strictly(kind: Any, folder: Path, part: str, dtype: torch.dtype, *, besides: tuple[str, ...] = ()) -> Any:
    """Load a network in its library's class; missing, unexpected or misshapen weights are errors.

    Args:
        kind: Class of the network.
        folder: Folder of the base.
        part: Sub-folder of the network; empty for the folder itself.
        dtype: Precision of the weights.
        besides: Beginnings of the names of further weights that the files may hold.

    Raises:
        ValueError: The files cannot be read, or the weights do not match the configuration.
    """
    # transformers names misshapen weights only if it is told to ignore them; diffusers raises and names them itself.
    options: dict[str, Any] = (
        {"torch_dtype": dtype} if issubclass(kind, ModelMixin) else {"dtype": dtype, "ignore_mismatched_sizes": True}
    )
    options |= {"subfolder": part, "variant": weights_variant(folder / part), "local_files_only": True}
    try:
        network, info = kind.from_pretrained(folder, output_loading_info=True, **options)
    except (OSError, ValueError, RuntimeError, SafetensorError) as error:
        raise ValueError(f"base {folder}: {part or '.'}/ cannot be loaded: {error}") from error
    wrong = {
        problem: sorted(map(str, info[problem])) for problem in ("missing_keys", "unexpected_keys", "mismatched_keys")
    }
    wrong["unexpected_keys"] = [name for name in wrong["unexpected_keys"] if not name.startswith(besides)]
    if any(wrong.values()):
        details = "; ".join(f"{name.replace('_', ' ')}: {', '.join(keys[:5])}" for name, keys in wrong.items() if keys)
        raise ValueError(f"base {folder}: the weights in {part or '.'}/ do not match its config.json ({details})")
    return network


def network_on_meta(kind: Any, source: str, **options: Any) -> Any:
    """Build a network without weights from its configuration file, in its library's class.

    Args:
        kind: Class of the network.
        source: Folder or hub id.
        options: ``subfolder`` and ``revision``.
    """
    if issubclass(kind, ModelMixin):
        network = kind.from_config(kind.load_config(source, **options))
    else:
        network = kind(kind.config_class.from_pretrained(source, **options))
    return network.to("meta")  # diffusers makes some parameters by ``torch.Tensor([...])``, which is on the CPU


def weights_variant(folder: Path) -> str | None:
    """Return the variant of weight files that ``from_pretrained`` must be told, such as "fp16"; None for plain names.

    Some downloads hold only half-precision files, whole (``model.fp16.safetensors``) or in shards
    (``model.fp16-00001-of-00002.safetensors``). If there are several variants, fp16 is taken.
    """
    names = [file.name for suffix in ("safetensors", "bin") for file in folder.glob(f"*.{suffix}")]
    variants = {match["variant"] if (match := _VARIANT.search(name)) else None for name in names}
    return None if None in variants else min(variants, key=lambda name: (name != "fp16", name), default=None)


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Silence transformers' progress bars and load reports, for the logs of workers."""
    bars, level = transformers_logging.is_progress_bar_enabled(), transformers_logging.get_verbosity()
    transformers_logging.disable_progress_bar()
    transformers_logging.set_verbosity_error()
    try:
        yield
    finally:
        transformers_logging.set_verbosity(level)
        if bars:
            transformers_logging.enable_progress_bar()
