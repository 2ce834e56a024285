"""Checks of a base's configuration files: whether its family's code can use its networks. Imports no torch.

Every check names the file and the key. Weights are not read.
"""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from models.bases.vocabulary import vocabulary_problem
from models.words import as_written, listed

PREDICTION_TYPES = ("epsilon", "v_prediction", "sample")
"""Quantities that a denoiser may predict, as diffusers' schedulers name them: noise, velocity, clean latents."""

INDEX = "model_index.json"
UNET = "unet/config.json"
VAE = "vae/config.json"
TEXT = "text_encoder/config.json"
IMAGE = "image_encoder/config.json"
SCHEDULER = "scheduler/scheduler_config.json"

_SCHEDULERS = (
    "DDIMScheduler",
    "DDIMInverseScheduler",
    "DDIMParallelScheduler",
    "DDPMScheduler",
    "DDPMParallelScheduler",
    "DEISMultistepScheduler",
    "DPMSolverMultistepScheduler",
    "DPMSolverMultistepInverseScheduler",
    "DPMSolverSDEScheduler",
    "DPMSolverSinglestepScheduler",
    "EulerAncestralDiscreteScheduler",
    "EulerDiscreteScheduler",
    "HeunDiscreteScheduler",
    "KDPM2AncestralDiscreteScheduler",
    "KDPM2DiscreteScheduler",
    "LCMScheduler",
    "LMSDiscreteScheduler",
    "PNDMScheduler",
    "SASolverScheduler",
    "TCDScheduler",
    "UniPCMultistepScheduler",
)
"""diffusers' schedulers whose forward process is defined by betas alone, so that other samplers can follow it."""


@dataclass(frozen=True)
class Misfit:
    """A key of a configuration file that a family's code cannot use.

    Args:
        file: Path inside the base.
        key: Key in the file; empty for the whole file.
        written: Value as it is written in the file.
        reason: Why the value cannot be used.
        allowed: What is allowed instead.
    """

    file: str
    key: str
    written: Any
    reason: str
    allowed: str

    def __str__(self) -> str:
        place = f"{self.file}: {self.key}: {as_written(self.written)}" if self.key else self.file
        return f"{place}: {self.reason} -> {self.allowed}"


@dataclass(frozen=True)
class Rule:
    """Values of a key that a family's code can use; a missing key has a default that is one of them.

    Args:
        file: Path inside the base.
        key: Key in the file.
        usable: Usable values.
        reason: Why other values cannot be used.
        allowed: What is allowed instead; None lists the usable values.
    """

    file: str
    key: str
    usable: tuple[Any, ...]
    reason: str
    allowed: str | None = None

    def misfits(self, files: "Files") -> Iterator[Misfit]:
        """Check the file; nothing is found in a file that is missing."""
        written = files[self.file].get(self.key, self.usable[0])
        if not any(type(written) is type(value) and written == value for value in self.usable):
            allowed = self.allowed or listed("null" if value is None else str(value) for value in self.usable)
            yield Misfit(self.file, self.key, written, self.reason, allowed)


class Files:
    """Configuration files of a folder, as maps; missing and damaged files are empty.

    Args:
        folder: Folder of a base.
        names: Paths of its configuration files.
    """

    def __init__(self, folder: Path, names: Iterable[str]) -> None:
        self.folder = folder
        self.damaged: list[Misfit] = []
        self._read = {name: self._load(name) for name in names}

    def __getitem__(self, name: str) -> Mapping[str, Any]:
        return self._read.get(name, {})

    def number(self, name: str, key: str, default: int) -> int:
        """Return a whole number, or the default where the key is missing or has another type, which is a misfit."""
        written = self[name].get(key, default)
        if type(written) is int:
            return written
        misfit = Misfit(name, key, written, "not a whole number", "the published configuration")
        self.damaged += [] if misfit in self.damaged else [misfit]
        return default

    def _load(self, name: str) -> Mapping[str, Any]:
        file = self.folder / name
        if not file.is_file():
            return {}
        try:
            content = json.loads(file.read_bytes())
        except ValueError as error:
            self.damaged.append(Misfit(name, "", None, f"not JSON ({error})", "a complete base"))
            return {}
        if not isinstance(content, dict):
            self.damaged.append(Misfit(name, "", None, "not a map of settings", "a complete base"))
            return {}
        return content


_SCHEDULE = (
    Rule(
        SCHEDULER,
        "_class_name",
        (None, *_SCHEDULERS),
        "its forward process is not defined by betas, so no other sampler can follow it",
        f"a scheduler of diffusers with betas, such as {_SCHEDULERS[0]} or {_SCHEDULERS[-4]}",
    ),
    Rule(SCHEDULER, "prediction_type", PREDICTION_TYPES, "prediction type not known"),
    Rule(SCHEDULER, "predict_epsilon", (None, True), "older name of prediction_type", "prediction_type: sample"),
    Rule(SCHEDULER, "beta_schedule", ("linear", "scaled_linear", "squaredcos_cap_v2"), "noise schedule not known"),
    Rule(SCHEDULER, "timestep_spacing", (None, "leading", "trailing", "linspace"), "choice of steps not known"),
    Rule(SCHEDULER, "use_flow_sigmas", (None, False), "flow matching", "a schedule of diffusion with betas"),
)

_IMAGE_UNET = (
    Rule(UNET, "_class_name", ("UNet2DConditionModel",), "not the U-Net of a text-to-image base"),
    Rule(
        UNET,
        "addition_embed_type",
        (None, "text"),
        "an SDXL-type U-Net, which needs further embeddings besides the text",
        "a base whose U-Net takes latents, time and text",
    ),
    Rule(
        UNET,
        "encoder_hid_dim_type",
        (None, "text_proj"),
        "a U-Net that is conditioned on image embeddings",
        "a base whose U-Net takes latents, time and text",
    ),
    Rule(
        UNET,
        "class_embed_type",
        (None,),
        "a class-conditional U-Net, which needs a class label",
        "a base without class labels",
    ),
    Rule(
        UNET,
        "num_class_embeds",
        (None,),
        "a class-conditional U-Net, which needs a class label",
        "a base without class labels",
    ),
    Rule(
        UNET,
        "time_cond_proj_dim",
        (None,),
        "a distilled U-Net (LCM), which takes the guidance scale as an input",
        "a base that is not distilled",
    ),
    Rule(VAE, "_class_name", ("AutoencoderKL",), "not the autoencoder of a text-to-image base"),
    *(
        Rule(VAE, key, usable, "latents with an offset, which this family does not subtract", "a VAE without it")
        for key, usable in {"shift_factor": (None, 0, 0.0), "latents_mean": (None,), "latents_std": (None,)}.items()
    ),
    Rule(TEXT, "model_type", ("clip_text_model",), "not CLIP's text encoder"),
)

_VIDEO_UNET = (
    Rule(UNET, "_class_name", ("UNetSpatioTemporalConditionModel",), "not the U-Net of an image-to-video base"),
    Rule(VAE, "_class_name", ("AutoencoderKLTemporalDecoder",), "not the autoencoder of an image-to-video base"),
    Rule(IMAGE, "model_type", ("clip_vision_model",), "not CLIP's image encoder"),
)

_OTHER_CHANNELS = {
    5: "a U-Net that also takes depth",
    7: "a U-Net for upscaling, which also takes an image",
    8: "a U-Net for image editing, which also takes an image",
    9: "an inpainting U-Net, which also takes a mask and an image",
}


def stable_diffusion_misfits(folder: Path) -> list[Misfit]:
    """List the reasons why a folder is no base of the Stable Diffusion family; missing files are skipped."""
    files = Files(folder, (INDEX, UNET, VAE, TEXT, SCHEDULER))
    found = [misfit for rule in (*_SCHEDULE, *_IMAGE_UNET) for misfit in rule.misfits(files)]
    found += [*_second_encoders(files), *_image_channels(files), *_text_width(files), *_vocabulary(files)]
    return [*files.damaged, *found]


def stable_video_diffusion_misfits(folder: Path) -> list[Misfit]:
    """List the reasons why a folder is no base of the Stable Video Diffusion family; missing files are skipped."""
    files = Files(folder, (INDEX, UNET, VAE, IMAGE, SCHEDULER))
    found = [misfit for rule in (*_SCHEDULE, *_VIDEO_UNET) for misfit in rule.misfits(files)]
    found += [*_video_channels(files), *_image_width(files), *_micro_conditions(files)]
    return [*files.damaged, *found]


def _second_encoders(files: Files) -> Iterator[Misfit]:
    """Find further text encoders, by the pipeline's index or by their folders."""
    for name in ("text_encoder_2", "text_encoder_3"):
        listed = files[INDEX].get(name)
        is_listed = isinstance(listed, Sequence) and any(listed)
        if is_listed or (files.folder / name / "config.json").is_file():
            reason = "a further text encoder, as in SDXL, which this family does not read"
            yield Misfit(INDEX, name, listed, reason, "a base with one text encoder")


def _image_channels(files: Files) -> Iterator[Misfit]:
    if not files[UNET] or not files[VAE]:
        return
    latent = files.number(VAE, "latent_channels", 4)
    taken, made = files.number(UNET, "in_channels", 4), files.number(UNET, "out_channels", 4)
    allowed = f"a text-to-image U-Net, which has the {latent} channels of its VAE"
    if taken != latent:
        reason = _OTHER_CHANNELS.get(taken, "a U-Net with further inputs") if latent == 4 else "not the VAE's channels"
        yield Misfit(UNET, "in_channels", taken, reason, allowed)
    if made != latent:
        yield Misfit(UNET, "out_channels", made, "a U-Net with further outputs, such as a variance", allowed)


def _video_channels(files: Files) -> Iterator[Misfit]:
    if not files[UNET] or not files[VAE]:
        return
    latent = files.number(VAE, "latent_channels", 4)
    for key, default, needed in (("in_channels", 8, 2 * latent), ("out_channels", 4, latent)):
        if (written := files.number(UNET, key, default)) != needed:
            reason = "not the channels of noisy latents and an image beside them"
            yield Misfit(UNET, key, written, reason, f"{needed}, with a VAE of {latent} channels")


def _text_width(files: Files) -> Iterator[Misfit]:
    key = "encoder_hid_dim" if files[UNET].get("encoder_hid_dim") is not None else "cross_attention_dim"
    return _width(files, key, 1280, TEXT, "hidden_size", 512)


def _vocabulary(files: Files) -> Iterator[Misfit]:
    """Find a tokenizer whose vocabulary has no words, or more than the text encoder."""
    most_ids = files.number(TEXT, "vocab_size", 49408) if files[TEXT] else None
    if problem := vocabulary_problem(files.folder / "tokenizer", most_ids=most_ids):
        name, reason = problem
        yield Misfit(f"tokenizer/{name}", "", None, reason, "the tokenizer that the base was published with")


def _image_width(files: Files) -> Iterator[Misfit]:
    return _width(files, "cross_attention_dim", 1024, IMAGE, "projection_dim", 512)


def _width(files: Files, key: str, default: int, file: str, source: str, source_default: int) -> Iterator[Misfit]:
    """Compare the width that the U-Net's cross-attention takes with that of an encoder's states."""
    if not files[UNET] or not files[file]:
        return
    written, width = files[UNET].get(key, default), files.number(file, source, source_default)
    if any(each != width for each in (written if isinstance(written, list) else [written])):
        reason = f"the states of {file.partition('/')[0]} are {width} wide ({file}: {source})"
        yield Misfit(UNET, key, written, reason, "U-Net and encoder of one base")


def _micro_conditions(files: Files) -> Iterator[Misfit]:
    if not files[UNET]:
        return
    needed = 3 * files.number(UNET, "addition_time_embed_dim", 256)
    key = "projection_class_embeddings_input_dim"
    if (written := files.number(UNET, key, 768)) != needed:
        reason = "not the embeddings of frame rate, motion and augmentation"
        yield Misfit(UNET, key, written, reason, f"{needed}, three embeddings")
