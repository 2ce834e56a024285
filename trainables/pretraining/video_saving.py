"""Saving and loading of an image-to-video base folder, in Stable Video Diffusion layout."""

from pathlib import Path
from typing import Any

import torch
from diffusers import (
    AutoencoderKLTemporalDecoder,
    EulerDiscreteScheduler,
    UNetSpatioTemporalConditionModel,
    __version__,
)
from transformers import CLIPTextModel, CLIPTokenizer, CLIPVisionModelWithProjection

from models.video_classifier import VideoClassifier
from trainables.pretraining.saving import IMAGE_PROCESSOR, save_half, write_json
from trainables.pretraining.video_networks import VideoNetworks


def save_video_networks(nets: VideoNetworks, folder: Path) -> None:
    """Write a folder for ``StableVideoDiffusionPipeline.from_pretrained``, with the text tower beside it.

    Weights are float16 safetensors; configurations request float32, in which CPUs compute.
    """
    save_half(nets.unet, folder / "unet")
    save_half(nets.vae, folder / "vae")
    save_half(nets.image_encoder, folder / "image_encoder")
    save_half(nets.text_encoder, folder / "text_encoder")
    nets.tokenizer.save_pretrained(folder / "tokenizer")
    nets.noise_scheduler.save_pretrained(folder / "scheduler")
    (folder / "feature_extractor").mkdir()
    write_json(folder / "feature_extractor" / "preprocessor_config.json", IMAGE_PROCESSOR)
    index: dict[str, Any] = {
        "_class_name": "StableVideoDiffusionPipeline",
        "_diffusers_version": __version__,
        "feature_extractor": ["transformers", "CLIPImageProcessor"],
        "image_encoder": ["transformers", "CLIPVisionModelWithProjection"],
        "scheduler": ["diffusers", "EulerDiscreteScheduler"],
        "unet": ["diffusers", "UNetSpatioTemporalConditionModel"],
        "vae": ["diffusers", "AutoencoderKLTemporalDecoder"],
    }
    write_json(folder / "model_index.json", index)


def load_video_networks(folder: Path, shapes: Path) -> VideoNetworks:
    """Load the networks of a folder written by ``save_video_networks``, in float32 and evaluation mode.

    Args:
        folder: The base folder.
        shapes: Folder of the base ``shapes``, for its classifier.
    """
    image_encoder = CLIPVisionModelWithProjection.from_pretrained(folder / "image_encoder", dtype=torch.float32)
    text_encoder = CLIPTextModel.from_pretrained(folder / "text_encoder", dtype=torch.float32)
    return VideoNetworks(
        vae=AutoencoderKLTemporalDecoder.from_pretrained(folder / "vae").eval(),
        unet=UNetSpatioTemporalConditionModel.from_pretrained(folder / "unet").eval(),
        image_encoder=image_encoder.eval(),
        text_encoder=text_encoder.eval(),
        tokenizer=CLIPTokenizer.from_pretrained(folder / "tokenizer"),
        noise_scheduler=EulerDiscreteScheduler.from_pretrained(folder / "scheduler"),
        classifier=VideoClassifier.from_pretrained(shapes / "classifier").eval(),
    )
