"""What every family of bases offers: networks in their libraries' own classes, loaded strictly and never changed.

Video is ``b f c h w`` everywhere else in ``models``; image networks take frames as a batch. The one becomes the other
here and in the families' modules.
"""

import contextlib
import logging
import os
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal, Self

import numpy as np
import psutil
import torch
from diffusers import ModelMixin, UNet2DConditionModel
from einops import rearrange
from safetensors import SafetensorError
from transformers.utils import logging as transformers_logging

from models.bases import BaseRef, Protocol, latent_cell, missing_files, precision_in_full
from models.contracts import Sample
from models.streams import Streams
from models.system import NonFiniteError

logger = logging.getLogger(__name__)

Precision = Literal["auto", "fp32", "bf16", "fp16"]

DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}

Denoiser = Callable[..., torch.Tensor]
"""Predicts what a noise scheduler steps by: latents (b f c h w), time (), conditions by name -> (b f c h w)."""


@dataclass(frozen=True, kw_only=True)
class Base(ABC):
    """The loaded networks of a base; all cells of a worker share them, so nothing may change them.

    A family is a subclass, with a field for each of its networks.

    Args:
        ref: Where they came from.
        unet: The denoiser.
        vae: Between pixels and latents.
        noise_scheduler: The base's own schedule, in the class that samples with it.
        device: Where the networks are.
        dtype: The precision they compute in.
    """

    classes: ClassVar[Mapping[str, Any]]
    """Name of a network, and of its sub-folder -> the class it is loaded in; the denoiser first."""

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
            ref: From ``models.bases.find_base``.
            device: "auto" is the GPU where there is one, else the CPU; or any torch device.
            precision: "auto" is fp32 on the CPU and bf16 on a GPU; weights stored in another precision are converted.

        Raises:
            ValueError: The base is not there, is incomplete, or its weights do not fit its configuration exactly.
        """
        folder = _folder(ref)
        place = torch.device(("cuda" if torch.cuda.is_available() else "cpu") if device == "auto" else device)
        dtype = DTYPES[precision_in_full(precision, gpu=place.type != "cpu")]
        with quiet():
            networks = {
                name: _load_strictly(kind, folder, name, cls.precision_of(name, dtype)).to(place)
                for name, kind in cls.classes.items()
            }
            return cls.assemble(networks, cls.settings(folder), ref=ref, device=place, dtype=dtype)

    @classmethod
    def on_meta(cls, ref: BaseRef) -> dict[str, Any]:
        """The networks by name, from configuration files alone (no weights are read, no memory is taken).

        Raises:
            OSError: The configuration files cannot be read.
        """
        source, options = str(ref.path or ref.name), {"revision": ref.revision}
        with torch.device("meta"), quiet():
            return {name: _on_meta(kind, source, subfolder=name, **options) for name, kind in cls.classes.items()}

    @classmethod
    @abstractmethod
    def tiny(cls, seed: int = 0) -> Self:
        """A random instance small enough to be built and run at once, on the CPU in float32.

        Clips of 32 x 32 pixels have latents of 4 x 4.

        Args:
            seed: Of its weights.
        """

    @classmethod
    @abstractmethod
    def settings(cls, folder: Path) -> dict[str, Any]:
        """What a folder holds besides networks, by field: noise scheduler, tokenizer and the like."""

    @classmethod
    def precision_of(cls, network: str, dtype: torch.dtype) -> torch.dtype:
        """The precision that one network computes in, where the base computes in ``dtype``."""
        return dtype

    @classmethod
    def assemble(cls, networks: Mapping[str, Any], settings: Mapping[str, Any], **where: Any) -> Self:
        """A base of loaded networks, which are frozen.

        Args:
            networks: By name.
            settings: By field.
            where: ``ref``, ``device`` and ``dtype``.
        """
        frozen = {name: network.eval().requires_grad_(False) for name, network in networks.items()}
        return cls(**frozen, **settings, **where)

    @abstractmethod
    def save(self, folder: Path) -> None:
        """Save all of it in the layout that ``load`` reads."""

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
        """Shape of a frame's latent (c h w).

        Raises:
            ValueError: The size is no whole number of latent cells.
        """
        cell = self.pixels_per_latent
        if protocol.height % cell or protocol.width % cell:
            raise ValueError(
                f"{protocol.height} x {protocol.width} pixels -> both must be multiples of {cell} on {self.ref}"
            )
        return self.latent_channels, protocol.height // cell, protocol.width // cell

    def micro_batch(self, protocol: Protocol) -> int:
        """Frames per call of the denoiser: what the protocol says, else what an eighth of the device's memory takes in.

        The rule counts 64 activations as wide as the denoiser's first level per frame and guidance branch, in its
        precision. It looks at the total memory, never at what is free: two runs on one machine must do the same.
        """
        if protocol.micro_batch is not None:
            return protocol.micro_batch
        on_gpu = self.device.type == "cuda"
        total = torch.cuda.get_device_properties(self.device).total_memory if on_gpu else psutil.virtual_memory().total
        cells = protocol.height * protocol.width // self.pixels_per_latent**2
        per_frame = 2 * 64 * self.unet.config.block_out_channels[0] * cells * self.dtype.itemsize
        return max(1, int(total // 8 // per_frame))

    def release_denoiser(self) -> None:
        """Free the denoiser's memory, for good: of a base that serves one training, whose model holds a copy."""
        self.unet.to("meta")

    @torch.no_grad()
    def encode_frames(self, video: torch.Tensor, *, micro_batch: int = 8) -> tuple[torch.Tensor, torch.Tensor]:
        """Mean and standard deviation of the VAE's posterior of every frame, scaled as the denoiser takes them.

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
        """Pixels of latents.

        Args:
            latents: As the denoiser leaves them, scaled.
            micro_batch: Frames per call, where frames are decoded one by one.

        Shape:
            (b f c h w) -> (b f 3 H W), float32 on the CPU, in [-1, 1].

        Raises:
            NonFiniteError: A pixel is NaN or infinite.
        """

    @abstractmethod
    def denoiser(self) -> Denoiser:
        """The base's own denoiser, called with clips."""

    @abstractmethod
    def sample(
        self, prompts: Sequence[str], streams: Streams, protocol: Protocol, given: torch.Tensor | None = None
    ) -> Sample:
        """Draw clips with the base as it is: what a system built on it is compared with.

        Args:
            prompts: One per clip; a family that reads no text takes their number alone.
            streams: Where all randomness comes from.
            protocol: Frames, steps, guidance and size.
            given: First frames of the clips (b r 3 H W), for a family that is given an image.
        """

    def as_image(self, frames: torch.Tensor) -> torch.Tensor:
        """Frames (b c h w) as the VAE's convolutions like them: its device and precision, channels last in memory."""
        return frames.to(self.device, self.vae.dtype).contiguous(memory_format=torch.channels_last)


def load_base(ref: BaseRef, *, device: str = "auto", precision: Precision = "auto") -> Base:
    """Load a base of any family; see ``Base.load``."""
    return ref.family.implementation().load(ref, device=device, precision=precision)


def networks_on_meta(ref: BaseRef) -> dict[str, Any]:
    """A base's networks by name, without weights; see ``Base.on_meta``."""
    return ref.family.implementation().on_meta(ref)


def num_parameters(network: torch.nn.Module) -> int:
    """Parameters of a network."""
    return sum(weight.numel() for weight in network.parameters())


def start_noise(streams: Streams, clips: int, frames: Sequence[int], shape: tuple[int, ...]) -> torch.Tensor:
    """Independent start noise of some frames of every clip.

    Shape:
        (b f c h w), float32 on the CPU.
    """
    draws = [[streams.normal("noise", clip, frame, shape=shape) for frame in frames] for clip in range(clips)]
    return torch.from_numpy(np.array(draws))


@contextlib.contextmanager
def attached(unet: UNet2DConditionModel, processors: Mapping[str, Any]) -> Iterator[UNet2DConditionModel]:
    """Put attention processors in at named layers for a while; the untouched ones come back, whatever happens.

    Args:
        unet: The network.
        processors: diffusers' name of a processor -> what to put there; other layers keep their own.
    """
    untouched = unet.attn_processors
    unknown = processors.keys() - untouched.keys()
    assert not unknown, f"no such attention layers: {sorted(unknown)}"
    if processors:
        unet.set_attn_processor({**untouched, **processors})
    try:
        yield unet
    finally:
        if processors:
            unet.set_attn_processor(dict(untouched))


def check_finite(clips: torch.Tensor, where: str) -> None:
    """Stop where a clip left the finite numbers.

    Args:
        clips: Any values (b ...).
        where: What was being done, for the message.

    Raises:
        NonFiniteError: It names the clips.
    """
    finite = clips.flatten(1).isfinite().all(dim=1)
    if not finite.all():
        broken = ", ".join(str(clip) for clip in (~finite).nonzero().flatten().tolist())
        raise NonFiniteError(f"NaN or infinite values {where} of clip {broken}")


# -------------------------------------------------------------------------------------------------------------- loading


def _folder(ref: BaseRef) -> Path:
    """The folder of a base with every file that is needed; a hub id is downloaded unless offline."""
    folder = ref.path or _download(ref)
    missing = missing_files(BaseRef(ref.name, folder, ref.revision, "folder", ref.family))
    if missing:
        raise ValueError(f"base {ref} is incomplete: {folder} lacks {', '.join(missing)}")
    return folder


def _download(ref: BaseRef) -> Path:
    from diffusers import DiffusionPipeline

    offline = os.environ.get("HF_HUB_OFFLINE", "").upper() in {"1", "ON", "YES", "TRUE"}
    optional = ("safety_checker", "feature_extractor", "image_encoder")
    unused = {part: None for part in optional if part not in ref.family.configurations}
    try:
        return Path(DiffusionPipeline.download(ref.name, revision=ref.revision, local_files_only=offline, **unused))
    except (OSError, ValueError) as error:
        revision = f" --revision {ref.revision}" if ref.revision else ""
        why = "HF_HUB_OFFLINE is set and it is not in the local cache" if offline else f"the hub says: {error}"
        raise ValueError(
            f"base {ref} is not here: {why}. Get it with `hf download {ref.name}{revision}` on a machine "
            f"with access, or write the path of a folder in {ref.family.title} layout as the base."
        ) from error


def _load_strictly(kind: Any, folder: Path, part: str, dtype: torch.dtype) -> Any:
    """One network in its library's class; missing, unexpected or misshapen weights are errors."""
    # transformers names misshapen weights only when told to go on; diffusers raises and names them itself.
    options: dict[str, Any] = (
        {"torch_dtype": dtype} if issubclass(kind, ModelMixin) else {"dtype": dtype, "ignore_mismatched_sizes": True}
    )
    options |= {"subfolder": part, "variant": _variant(folder / part), "local_files_only": True}
    try:
        network, info = kind.from_pretrained(folder, output_loading_info=True, **options)
    except (OSError, ValueError, RuntimeError, SafetensorError) as error:
        raise ValueError(f"base {folder}: {part}/ cannot be loaded: {error}") from error
    wrong = {what: sorted(map(str, info[what])) for what in ("missing_keys", "unexpected_keys", "mismatched_keys")}
    if any(wrong.values()):
        found = "; ".join(f"{what.replace('_', ' ')}: {', '.join(keys[:5])}" for what, keys in wrong.items() if keys)
        raise ValueError(f"base {folder}: the weights in {part}/ do not fit its config.json ({found})")
    return network


def _on_meta(kind: Any, source: str, **options: Any) -> Any:
    """One network from its configuration file, in its library's class."""
    if issubclass(kind, ModelMixin):
        return kind.from_config(kind.load_config(source, **options))
    return kind(kind.config_class.from_pretrained(source, **options))


def _variant(folder: Path) -> str | None:
    """The "fp16" of file names, where a folder holds half-precision files only, as some downloads do."""
    stems = {file.name for file in folder.glob("*.safetensors")} | {file.name for file in folder.glob("*.bin")}
    return "fp16" if stems and all(".fp16." in stem for stem in stems) else None


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Silence transformers' progress bars and load reports: a worker's log is no place for them."""
    bars, level = transformers_logging.is_progress_bar_enabled(), transformers_logging.get_verbosity()
    transformers_logging.disable_progress_bar()
    transformers_logging.set_verbosity_error()
    try:
        yield
    finally:
        transformers_logging.set_verbosity(level)
        if bars:
            transformers_logging.enable_progress_bar()
