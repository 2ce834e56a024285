"""Networks of a base in diffusers' and transformers' own classes, loaded strictly and never changed.

Video is ``b f c h w`` everywhere else in ``models``; the image networks here take frames as a batch, and this file
(with ``models.diffusion`` for the U-Net) is where the one becomes the other.
"""

import contextlib
import logging
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from diffusers import AutoencoderKL, DDIMScheduler, UNet2DConditionModel
from einops import rearrange
from safetensors import SafetensorError
from transformers import AutoTokenizer, CLIPTextConfig, CLIPTextModel, PreTrainedTokenizerBase
from transformers.utils import logging as transformers_logging

from models.bases import BaseRef, missing_files, precision_in_full
from models.system import NonFiniteError

logger = logging.getLogger(__name__)

Precision = Literal["auto", "fp32", "bf16", "fp16"]

DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
NETWORKS: dict[str, Any] = {"unet": UNet2DConditionModel, "vae": AutoencoderKL, "text_encoder": CLIPTextModel}


@dataclass(frozen=True)
class Base:
    """The loaded networks of a base; they are shared by all cells of a worker, so nothing may change them.

    Args:
        ref: Where they came from.
        unet: Predicts the noise of a latent given text states.
        vae: Between pixels and latents.
        text_encoder: Token ids -> text states.
        tokenizer: Text -> token ids.
        noise_scheduler: DDIM with the base's own schedule.
        device: Where the networks are.
        dtype: The precision they compute in.
    """

    ref: BaseRef
    unet: UNet2DConditionModel
    vae: AutoencoderKL
    text_encoder: CLIPTextModel
    tokenizer: PreTrainedTokenizerBase
    noise_scheduler: DDIMScheduler
    device: torch.device
    dtype: torch.dtype

    @property
    def pixels_per_latent(self) -> int:
        """Pixels per latent cell along one side."""
        return int(2 ** (len(self.vae.config.block_out_channels) - 1))


def load_base(ref: BaseRef, *, device: str = "auto", precision: Precision = "auto") -> Base:
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
    with _quiet():
        networks = {part: _load_strictly(folder, part, dtype).to(place) for part in NETWORKS}
        tokenizer = AutoTokenizer.from_pretrained(folder, subfolder="tokenizer", local_files_only=True)
        schedule = DDIMScheduler.load_config(folder, subfolder="scheduler", local_files_only=True)
    # Latents are no pixels: Stable Diffusion's pipeline never clips them either, even where the schedule would.
    noise_scheduler = DDIMScheduler.from_config(schedule, clip_sample=False)
    for part in ("unet", "vae"):
        networks[part].to(memory_format=torch.channels_last)
    return Base(ref, **networks, tokenizer=tokenizer, noise_scheduler=noise_scheduler, device=place, dtype=dtype)


def networks_on_meta(ref: BaseRef) -> dict[str, Any]:
    """A base's networks by name, from the configuration files alone (no weights are read, no memory is taken)."""
    source, options = str(ref.path or ref.name), {"revision": ref.revision}
    with torch.device("meta"), _quiet():
        text_config = CLIPTextConfig.from_pretrained(source, subfolder="text_encoder", **options)
        networks = {part: NETWORKS[part].load_config(source, subfolder=part, **options) for part in ("unet", "vae")}
        built = {part: NETWORKS[part].from_config(config) for part, config in networks.items()}
        built["text_encoder"] = CLIPTextModel(text_config)
    return built


def num_parameters(network: torch.nn.Module) -> int:
    """Parameters of a network."""
    return sum(weight.numel() for weight in network.parameters())


@torch.inference_mode()
def encode_text(base: Base, prompts: Sequence[str]) -> torch.Tensor:
    """Text states of prompts; a prompt that occurs more than once is encoded once.

    Shape:
        b prompts -> (b l c), in the base's precision, on its device.
    """
    distinct = list(dict.fromkeys(prompts))
    length = min(base.tokenizer.model_max_length, base.text_encoder.config.max_position_embeddings)
    for prompt, ids in zip(distinct, base.tokenizer(distinct, verbose=False).input_ids, strict=True):
        if len(ids) > length:
            logger.warning("the base reads %d tokens and cuts the rest off: %s", length, prompt)
    tokens = base.tokenizer(distinct, padding="max_length", max_length=length, truncation=True, return_tensors="pt").to(
        base.device
    )
    mask = tokens.attention_mask if getattr(base.text_encoder.config, "use_attention_mask", False) else None
    states: torch.Tensor = base.text_encoder(tokens.input_ids, attention_mask=mask)[0]
    return states[torch.tensor([distinct.index(prompt) for prompt in prompts], device=base.device)]


@torch.inference_mode()
def decode_latents(base: Base, latents: torch.Tensor, *, micro_batch: int = 8) -> torch.Tensor:
    """Pixels of latents, frame by frame.

    Args:
        base: Whose VAE decodes.
        latents: As the U-Net leaves them, scaled.
        micro_batch: Frames per call.

    Shape:
        (b f c h w) -> (b f 3 H W), float32 on the CPU, in [-1, 1].

    Raises:
        NonFiniteError: A pixel is NaN or infinite.
    """
    frames = rearrange(latents, "b f c h w -> (b f) c h w") / base.vae.config.scaling_factor
    pixels = [
        base.vae.decode(as_input(part, base), return_dict=False)[0].float().cpu()
        for part in torch.split(frames, micro_batch)
    ]
    video = rearrange(torch.cat(pixels), "(b f) c h w -> b f c h w", b=len(latents)).contiguous()
    check_finite(video, "while decoding")
    return video.clamp_(-1, 1)


@torch.inference_mode()
def encode_frames(base: Base, video: torch.Tensor, *, micro_batch: int = 8) -> tuple[torch.Tensor, torch.Tensor]:
    """Mean and standard deviation of the VAE's posterior of every frame, scaled as the U-Net takes them.

    Args:
        base: Whose VAE encodes.
        video: Pixels in [-1, 1].
        micro_batch: Frames per call.

    Shape:
        (b f 3 H W) -> two of (b f c h w), float32 on the base's device.
    """
    frames = torch.split(rearrange(video, "b f c h w -> (b f) c h w"), micro_batch)
    posteriors = [base.vae.encode(as_input(part, base)).latent_dist for part in frames]
    scale = base.vae.config.scaling_factor
    mean, std = (
        rearrange(torch.cat(parts).float() * scale, "(b f) c h w -> b f c h w", b=len(video)).contiguous()
        for parts in ([p.mean for p in posteriors], [p.std for p in posteriors])
    )
    return mean, std


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


def as_input(frames: torch.Tensor, base: Base) -> torch.Tensor:
    """Frames (b c h w) as the base's convolutions like them: its device and precision, channels last in memory."""
    return frames.to(base.device, base.dtype).contiguous(memory_format=torch.channels_last)


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
    missing = missing_files(BaseRef(ref.name, folder, ref.revision, "folder"))
    if missing:
        raise ValueError(f"base {ref} is incomplete: {folder} lacks {', '.join(missing)}")
    return folder


def _download(ref: BaseRef) -> Path:
    from diffusers import DiffusionPipeline

    offline = os.environ.get("HF_HUB_OFFLINE", "").upper() in {"1", "ON", "YES", "TRUE"}
    unused = {"safety_checker": None, "feature_extractor": None, "image_encoder": None}
    try:
        return Path(DiffusionPipeline.download(ref.name, revision=ref.revision, local_files_only=offline, **unused))
    except (OSError, ValueError) as error:
        revision = f" --revision {ref.revision}" if ref.revision else ""
        why = "HF_HUB_OFFLINE is set and it is not in the local cache" if offline else f"the hub says: {error}"
        raise ValueError(
            f"base {ref} is not here: {why}. Get it with `hf download {ref.name}{revision}` on a machine "
            "with access, or write the path of a folder in Stable Diffusion layout as the base."
        ) from error


def _load_strictly(folder: Path, part: str, dtype: torch.dtype) -> Any:
    """One network in its library's class; missing, unexpected or misshapen weights are errors."""
    # transformers names misshapen weights only when told to go on; diffusers raises and names them itself.
    options: dict[str, Any] = (
        {"dtype": dtype, "ignore_mismatched_sizes": True} if part == "text_encoder" else {"torch_dtype": dtype}
    )
    options |= {"subfolder": part, "variant": _variant(folder / part), "local_files_only": True}
    try:
        network, info = NETWORKS[part].from_pretrained(folder, output_loading_info=True, **options)
    except (OSError, ValueError, RuntimeError, SafetensorError) as error:
        raise ValueError(f"base {folder}: {part}/ cannot be loaded: {error}") from error
    wrong = {what: sorted(map(str, info[what])) for what in ("missing_keys", "unexpected_keys", "mismatched_keys")}
    if any(wrong.values()):
        found = "; ".join(f"{what.replace('_', ' ')}: {', '.join(keys[:5])}" for what, keys in wrong.items() if keys)
        raise ValueError(f"base {folder}: the weights in {part}/ do not fit its config.json ({found})")
    return network.eval().requires_grad_(False)


def _variant(folder: Path) -> str | None:
    """The "fp16" of file names, where a folder holds half-precision files only, as some downloads do."""
    stems = {file.name for file in folder.glob("*.safetensors")} | {file.name for file in folder.glob("*.bin")}
    return "fp16" if stems and all(".fp16." in stem for stem in stems) else None


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Without transformers' progress bars and load reports: a worker's log is no place for them."""
    bars, level = transformers_logging.is_progress_bar_enabled(), transformers_logging.get_verbosity()
    transformers_logging.disable_progress_bar()
    transformers_logging.set_verbosity_error()
    try:
        yield
    finally:
        transformers_logging.set_verbosity(level)
        if bars:
            transformers_logging.enable_progress_bar()
