"""The Stable Video Diffusion family: a video U-Net that continues an image, on latents of a temporal autoencoder.

The denoiser predicts v at continuous noise levels. Its conditions are CLIP's image embedding, the image's latent
concatenated to that of every frame, and the numbers for frame rate, motion and augmentation noise.

Source: Stable Video Diffusion (arXiv 2311.15127) and diffusers' pipeline; departures: none.
"""

import dataclasses
import functools
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
import torch
from diffusers import AutoencoderKLTemporalDecoder, EulerDiscreteScheduler, UNetSpatioTemporalConditionModel
from einops import rearrange, repeat
from transformers import CLIPTextModel, CLIPVisionConfig, CLIPVisionModelWithProjection

from models.backbones import (
    Base,
    Denoiser,
    base_folder,
    check_finite,
    downloaded,
    network_on_meta,
    quiet,
    start_noise,
)
from models.bases import BaseRef, Precision, Protocol, latent_cell, text_files, with_texts
from models.bases.families import STABLE_VIDEO_DIFFUSION
from models.bases.text_files import PATTERNS, TextFiles
from models.bases.text_tower import TextTower
from models.contracts import Sample
from models.denoising import Conditions, denoise
from models.guidance import CONDITIONAL, UNCONDITIONAL, RisingGuidance
from models.noise_schedule import converted
from models.streams import Streams

PREPROCESSOR = "feature_extractor/preprocessor_config.json"
CARD = "card.json"
CLEAR_BUCKET = 127
"""Motion bucket that is the default of sampling."""
CLEAR_MOTION = 0.4409
"""Motion of a clip in this bucket, unless a base's card names another."""


@dataclass(frozen=True)
class MicroConditions:
    """Numeric conditions of a clip, as in diffusers' pipeline.

    Args:
        fps: Frames per second, at least 1; the network was trained on fps - 1.
        motion: Motion bucket, in [0, 255]; higher values give more motion.
        augmentation: Standard deviation of the noise added to the image, in pixels of [-1, 1].
    """

    fps: int = 7
    motion: int = 127
    augmentation: float = 0.02


@dataclass(frozen=True)
class Normalisation:
    """Normalisation of CLIP's image encoder: mean and standard deviation of each channel, for pixels in [0, 1]."""

    mean: tuple[float, ...]
    std: tuple[float, ...]


@dataclass(frozen=True, kw_only=True)
class StableVideoDiffusion(Base):
    """A loaded base of this family.

    Args:
        unet: Predicts v of all frames of a clip together.
        vae: Encodes pixels to latents; decodes the frames of a clip together.
        image_encoder: Image -> one embedding.
        pixels: Normalisation of the image encoder's input.
        noise_scheduler: Euler on the base's own continuous noise levels.
        clear_motion: Motion of a clip in bucket 127.
        load_texts: Loads the text encoder beside the base; None if it has none.
    """

    classes: ClassVar[Mapping[str, Any]] = {
        "unet": UNetSpatioTemporalConditionModel,
        "vae": AutoencoderKLTemporalDecoder,
        "image_encoder": CLIPVisionModelWithProjection,
    }

    unet: UNetSpatioTemporalConditionModel
    vae: AutoencoderKLTemporalDecoder
    image_encoder: CLIPVisionModelWithProjection
    pixels: Normalisation
    noise_scheduler: EulerDiscreteScheduler
    clear_motion: float = CLEAR_MOTION
    load_texts: Callable[[], TextTower] | None = None

    @functools.cached_property
    def text_tower(self) -> TextTower:
        """The text encoder beside the base, loaded by the first system that reads texts.

        Raises:
            ValueError: The base has none, or it cannot be loaded.
        """
        if self.load_texts is None:
            raise ValueError(f"base {self.ref} has no text encoder -> text_encoder: a folder or a hub id that has one")
        return self.load_texts()

    @classmethod
    def load(cls, ref: BaseRef, *, device: str = "auto", precision: Precision = "auto") -> Self:
        """Load a base; see ``Base.load``. The text encoder beside it is loaded later, if a system reads texts."""
        base = super().load(ref, device=device, precision=precision)
        folder = base_folder(ref)
        if not ref.text_encoder and TextFiles.of(folder) is None:
            return base
        load = functools.partial(_load_texts, ref, folder, device=base.device, dtype=base.dtype)
        return dataclasses.replace(base, load_texts=load)

    @classmethod
    def on_meta(cls, ref: BaseRef) -> dict[str, Any]:
        """Build the networks by name from configuration files; with the text encoder if it is used."""
        networks = super().on_meta(ref)
        return {**networks, "text_encoder": _texts_on_meta(ref)} if ref.reads_texts and _has_texts(ref) else networks

    @classmethod
    def settings(cls, folder: Path) -> dict[str, Any]:
        """Load the image encoder's normalisation, the published noise scheduler, and what the card says of motion."""
        written = json.loads((folder / PREPROCESSOR).read_bytes())
        schedule = EulerDiscreteScheduler.load_config(folder, subfolder="scheduler", local_files_only=True)
        pixels = Normalisation(tuple(written["image_mean"]), tuple(written["image_std"]))
        card = json.loads((folder / CARD).read_bytes()) if (folder / CARD).is_file() else {}
        return {
            "pixels": pixels,
            "noise_scheduler": converted(schedule, EulerDiscreteScheduler),
            "clear_motion": float(card.get("clear_motion", CLEAR_MOTION)),
        }

    @classmethod
    def precision_of(cls, network: str, dtype: torch.dtype) -> torch.dtype:
        """Return float32 for the VAE in fp16, whose range it exceeds, as in the published pipeline."""
        return torch.float32 if network == "vae" and dtype == torch.float16 else dtype

    @classmethod
    def tiny(cls, seed: int = 0) -> Self:
        """Build a U-Net of two levels, VAE with f = 8, CLIP image tower and SVD-XT's noise levels."""
        settings = {
            "pixels": Normalisation((0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)),
            "noise_scheduler": EulerDiscreteScheduler(
                beta_start=0.00085,
                beta_end=0.012,
                beta_schedule="scaled_linear",
                prediction_type="v_prediction",
                sigma_min=0.002,
                sigma_max=700.0,
                steps_offset=1,
                timestep_spacing="leading",
                timestep_type="continuous",
                use_karras_sigmas=True,
            ),
        }
        settings["load_texts"] = functools.partial(TextTower.tiny, seed)
        ref = BaseRef("tiny", None, None, "embedded", STABLE_VIDEO_DIFFUSION)
        return cls.assemble(_tiny_networks(seed), settings, ref=ref, device=torch.device("cpu"), dtype=torch.float32)

    def save(self, folder: Path) -> None:
        """Save the base in the layout of diffusers' pipeline, with the text encoder beside it if it has one."""
        if self.load_texts is not None:
            self.text_tower.save(folder)
        for name, network in self.networks.items():
            network.save_pretrained(folder / name)
        self.noise_scheduler.save_pretrained(folder / "scheduler")
        size = self.image_encoder.config.image_size
        written = {
            "image_processor_type": "CLIPImageProcessor",
            "image_mean": self.pixels.mean,
            "image_std": self.pixels.std,
            "crop_size": {"height": size, "width": size},
            "size": {"shortest_edge": size},
        }
        (folder / PREPROCESSOR).parent.mkdir()
        (folder / PREPROCESSOR).write_text(json.dumps(written, indent=2), encoding="utf-8")
        libraries = {"image_encoder": ["transformers", "CLIPVisionModelWithProjection"]}
        libraries |= {
            name: ["diffusers", kind.__name__] for name, kind in self.classes.items() if name not in libraries
        }
        libraries["scheduler"] = ["diffusers", "EulerDiscreteScheduler"]
        libraries["feature_extractor"] = ["transformers", "CLIPImageProcessor"]
        index = {"_class_name": STABLE_VIDEO_DIFFUSION.pipeline, **libraries}
        (folder / "model_index.json").write_text(json.dumps(index, indent=2), encoding="utf-8")

    @torch.no_grad()
    def encode_images(self, images: torch.Tensor) -> torch.Tensor:
        """Encode images with CLIP, resized to its input by bicubic interpolation with antialiasing.

        Shape:
            (b 3 H W), pixels in [-1, 1] -> (b 1 c), in the base's precision, on its device.
        """
        embeddings: torch.Tensor = self._seen(images).image_embeds
        return rearrange(embeddings, "b c -> b 1 c")

    @torch.no_grad()
    def encode_image_tokens(self, images: torch.Tensor) -> torch.Tensor:
        """Encode images to the tokens of CLIP's last layer: the class token, then the patches.

        Shape:
            (b 3 H W), pixels in [-1, 1] -> (b n c), in the base's precision, on its device.
        """
        tokens: torch.Tensor = self._seen(images).last_hidden_state
        return tokens

    def _seen(self, images: torch.Tensor) -> Any:
        size = self.image_encoder.config.image_size
        unit = (_resized(images.float(), size) + 1) / 2
        mean, std = (torch.tensor(values)[:, None, None] for values in (self.pixels.mean, self.pixels.std))
        return self.image_encoder(((unit - mean.to(unit)) / std.to(unit)).to(self.device, self.dtype))

    @torch.no_grad()
    def encode_beside(self, images: torch.Tensor) -> torch.Tensor:
        """Encode images to the latents that the denoiser takes beside those of each frame: means, not scaled.

        Shape:
            (b 3 H W), pixels in [-1, 1] -> (b c h w), float32.
        """
        means, _ = self.encode_frames(images[:, None])
        return means[:, 0] / float(self.vae.config.scaling_factor)

    @torch.no_grad()
    def conditions(
        self,
        images: torch.Tensor,
        streams: Streams,
        num_frames: int,
        micro: MicroConditions = MicroConditions(),  # noqa: B008  # frozen
    ) -> Conditions:
        """Make the denoiser's conditions for clips that continue images; in the unconditional branch the image is 0.

        The latent ``beside`` each frame's is the mean of the image's posterior, without the scaling of latents.

        Args:
            images: First frames, pixels in [-1, 1].
            streams: Streams of the cell's seed, for the augmentation noise.
            num_frames: Frames per clip.
            micro: Frame rate, motion and augmentation.

        Shape:
            images (b 3 H W) -> image (b 1 c), beside (b f c h w), micro (b 3).
        """
        clips, shape = len(images), tuple(images.shape[1:])
        noise = np.array([streams.normal("augmentation", clip, shape=shape) for clip in range(clips)])
        noisy = images.float() + micro.augmentation * torch.from_numpy(noise).to(images.device)
        conditional = {
            "image": self.encode_images(images),
            "beside": repeat(self.encode_beside(noisy).to(self.dtype), "b c h w -> b f c h w", f=num_frames),
            "micro": torch.tensor(
                [[micro.fps - 1, micro.motion, micro.augmentation]] * clips, dtype=self.dtype, device=self.device
            ),
        }
        zeros = {name: torch.zeros_like(conditional[name]) for name in ("image", "beside")}
        return {UNCONDITIONAL: {**conditional, **zeros}, CONDITIONAL: conditional}

    @torch.no_grad()
    def training_conditions(self, video: torch.Tensor, fps: int) -> dict[str, torch.Tensor]:
        """Make the denoiser's conditions of real clips, of which the first frames are given, without augmentation.

        Args:
            video: Pixels in [-1, 1].
            fps: Frames per second that the denoiser is told.

        Shape:
            video (b f 3 H W) -> image (b 1 c), beside (b c h w), micro (b 3).
        """
        images = video[:, 0].to(self.device)
        buckets = motion_buckets(motion_of(video), self.clear_motion).tolist()
        micro = torch.tensor([[fps - 1, bucket, 0.0] for bucket in buckets])
        return {"image": self.encode_images(images), "beside": self.encode_beside(images), "micro": micro}

    @torch.inference_mode()
    def decode_latents(self, latents: torch.Tensor, *, micro_batch: int = 8, together: int = 0) -> torch.Tensor:
        """Decode latents to pixels, one clip at a time whatever the micro-batch.

        Args:
            latents: Scaled latents, as the denoiser returns them.
            micro_batch: Not used.
            together: Consecutive frames that are decoded together, for clips that do not fit into memory; 0: all.
        """
        scaled = latents / self.vae.config.scaling_factor
        pixels = [
            self.vae.decode(self.as_image(part), num_frames=len(part), return_dict=False)[0].float().cpu()
            for clip in scaled
            for part in torch.split(clip, together or len(clip))
        ]
        video = torch.cat(pixels).reshape(*latents.shape[:2], *pixels[0].shape[1:])
        check_finite(video, "while decoding")
        return video.clamp_(-1, 1)

    def denoiser(self) -> Denoiser:
        """Return the base's U-Net.

        Shape:
            latents (b f c h w), time (), image (b 1 c), beside (b f c h w), micro (b 3) -> v (b f c h w).
        """

        def predict(
            latents: torch.Tensor, time: torch.Tensor, image: torch.Tensor, beside: torch.Tensor, micro: torch.Tensor
        ) -> torch.Tensor:
            both = torch.cat([latents.to(self.dtype), beside], dim=2)
            predicted: torch.Tensor = self.unet(both, time, image, added_time_ids=micro, return_dict=False)[0]
            return predicted

        return predict

    def sample(
        self, prompts: Sequence[str], streams: Streams, protocol: Protocol, given: torch.Tensor | None = None
    ) -> Sample:
        """Sample clips that continue the last given frame, by Euler steps with guidance that rises over the frames.

        Raises:
            ValueError: No frame is given.
            NonFiniteError: A latent or pixel became NaN or infinite.
        """
        if given is None or not given.shape[1]:
            raise ValueError(f"base {self.ref} continues an image, but no frame is given -> at least one given frame")
        frames, micro_batch = protocol.frames, self.micro_batch(protocol)
        noise = start_noise(streams, len(prompts), range(frames), self.latent_shape(protocol))
        latents = denoise(
            self.denoiser(),
            noise.to(self.device),
            self.conditions(given[:, -1].to(self.device), streams, frames),
            noise_scheduler=self.noise_scheduler,
            guide=RisingGuidance().build(protocol.guidance, frames),
            steps=protocol.steps,
            micro_batch=micro_batch,
        )
        return Sample(self.decode_latents(latents))


def motion_of(video: torch.Tensor) -> torch.Tensor:
    """Return the motion of clips: the standard deviation of each pixel in [0, 1] over time, averaged over pixels.

    Shape:
        (b f 3 H W), pixels in [-1, 1] -> (b,).
    """
    return ((video.float() + 1) / 2).std(dim=1, correction=0).mean(dim=(1, 2, 3))


def motion_buckets(motions: torch.Tensor, clear: float) -> torch.Tensor:
    """Return motions as the denoiser is told them, in proportion: ``clear`` is bucket 127.

        round(127 motion / clear), in [0, 255]

    Source: ExVideo's released code, whose 128 thresholds end at 0.4409; departure: they are taken as even.

    Shape:
        (b,) -> (b,), whole numbers.
    """
    return (CLEAR_BUCKET * motions / clear).round().clamp(0, 255)


def _resized(images: torch.Tensor, side: int) -> torch.Tensor:
    """Resize images to CLIP's square input with the pipeline's own antialiasing, which no library function equals."""
    with quiet():  # importing it warns about image processors that are not used here
        from diffusers.pipelines.stable_video_diffusion import pipeline_stable_video_diffusion as pipeline
    resized: torch.Tensor = pipeline._resize_with_antialiasing(images, (side, side))
    return resized


def meta_inputs(networks: Mapping[str, Any], protocol: Protocol) -> dict[str, torch.Tensor]:
    """Make the inputs of the denoiser for one clip, by the names of ``UNetSpatioTemporalConditionModel.forward``.

    Args:
        networks: Networks of the base by name, on the meta device.
        protocol: Frames and size of a clip.
    """
    cell, unet = latent_cell(networks["vae"].config), networks["unet"].config
    size = (protocol.height // cell, protocol.width // cell)
    with torch.device("meta"):
        return {
            "sample": torch.empty(1, protocol.frames, unet.in_channels, *size),
            "timestep": torch.empty(1),
            "encoder_hidden_states": torch.empty(1, 1, unet.cross_attention_dim),
            "added_time_ids": torch.empty(
                1, unet.projection_class_embeddings_input_dim // unet.addition_time_embed_dim
            ),
        }


def _has_texts(ref: BaseRef) -> bool:
    """Whether a text encoder is known: named by the study, or in the base's folder."""
    return bool(ref.text_encoder) or text_files(ref) is not None


def _texts_on_meta(ref: BaseRef) -> CLIPTextModel:
    """Build the text encoder beside a base from its configuration file."""
    source, files = with_texts(ref), text_files(ref)
    if files is not None:
        return _on_meta(str(files.folder), files.encoder, None)
    try:
        return _on_meta(source.name, "text_encoder", source.revision)
    except OSError:  # a CLIP model of transformers, without sub-folders
        return _on_meta(source.name, "", source.revision)


def _on_meta(place: str, part: str, revision: str | None) -> CLIPTextModel:
    with torch.device("meta"), quiet():
        encoder: CLIPTextModel = network_on_meta(CLIPTextModel, place, subfolder=part, revision=revision)
    return encoder


def _load_texts(ref: BaseRef, folder: Path, *, device: torch.device, dtype: torch.dtype) -> TextTower:
    """Load the text encoder beside a base, or the one that the study names; a hub id is downloaded unless offline."""
    source = with_texts(ref)
    place = folder if source is ref else source.path or downloaded(source.name, source.revision, PATTERNS)
    return TextTower.load(place, device=device, dtype=dtype)


def _tiny_networks(seed: int) -> dict[str, Any]:
    """Build the smallest networks that the classes allow: their group norms have 32 groups."""
    width = 32
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        image_encoder = CLIPVisionModelWithProjection(
            CLIPVisionConfig(
                hidden_size=width,
                intermediate_size=2 * width,
                projection_dim=width,
                num_hidden_layers=1,
                num_attention_heads=2,
                image_size=224,
                patch_size=56,
            )
        )
        vae = AutoencoderKLTemporalDecoder(
            down_block_types=("DownEncoderBlock2D",) * 4,
            block_out_channels=(width,) * 4,
            latent_channels=4,
            layers_per_block=1,
            sample_size=32,
        )
        unet = UNetSpatioTemporalConditionModel(
            sample_size=4,
            block_out_channels=(width, 2 * width),
            down_block_types=("CrossAttnDownBlockSpatioTemporal", "DownBlockSpatioTemporal"),
            up_block_types=("UpBlockSpatioTemporal", "CrossAttnUpBlockSpatioTemporal"),
            layers_per_block=1,
            addition_time_embed_dim=8,
            projection_class_embeddings_input_dim=24,
            cross_attention_dim=width,
            num_attention_heads=(2, 4),
            num_frames=8,
        )
    return {"unet": unet, "vae": vae, "image_encoder": image_encoder}
