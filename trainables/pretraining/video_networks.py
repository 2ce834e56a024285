"""Networks of the embedded base ``shapes_video``: untrained ones, and those it takes over from ``shapes``."""

from dataclasses import dataclass
from pathlib import Path

import torch
from diffusers import (
    AutoencoderKL,
    AutoencoderKLTemporalDecoder,
    EulerDiscreteScheduler,
    UNetSpatioTemporalConditionModel,
)
from diffusers.models.attention_processor import Attention
from diffusers.models.downsampling import Downsample2D
from diffusers.models.resnet import ResnetBlock2D, TemporalResnetBlock
from diffusers.models.transformers.transformer_temporal import TransformerSpatioTemporalModel
from diffusers.models.upsampling import Upsample2D
from torch import nn
from transformers import CLIPTextModel, CLIPTokenizer, CLIPVisionModelWithProjection

from models.bases import BaseRef
from models.bases.families import STABLE_VIDEO_DIFFUSION
from models.bases.stable_video_diffusion import Normalisation, StableVideoDiffusion
from models.video_classifier import VideoClassifier
from trainables.data.scenes import CANVAS
from trainables.pretraining.saving import load_networks

NUM_FRAMES = 8
PIXELS = Normalisation((0.5, 0.5, 0.5), (0.5, 0.5, 0.5))
"""CLIP of ``shapes`` takes pixels in [-1, 1]."""

_WIDTH = 64  # the classes have 32 groups: at width 32 each channel would be normalised alone and lose its mean
_NUMBER_DIM = 32  # sinusoids of each micro condition


@dataclass
class VideoNetworks:
    """Networks of an image-to-video base folder, with two of ``shapes``.

    Args:
        classifier: Judges generated clips.
        teacher: Autoencoder whose latents the temporal one learns to make; None after the training.
    """

    vae: AutoencoderKLTemporalDecoder
    unet: UNetSpatioTemporalConditionModel
    image_encoder: CLIPVisionModelWithProjection
    text_encoder: CLIPTextModel
    tokenizer: CLIPTokenizer
    noise_scheduler: EulerDiscreteScheduler
    classifier: VideoClassifier
    teacher: AutoencoderKL | None = None

    def base(self) -> StableVideoDiffusion:
        """Return the networks as a base, on the CPU in float32; they are frozen."""
        return StableVideoDiffusion.assemble(
            {"unet": self.unet, "vae": self.vae, "image_encoder": self.image_encoder},
            {"pixels": PIXELS, "noise_scheduler": self.noise_scheduler},
            ref=BaseRef("shapes_video", None, None, "embedded", STABLE_VIDEO_DIFFUSION),
            device=torch.device("cpu"),
            dtype=torch.float32,
        )


def build_video_networks(shapes: Path) -> VideoNetworks:
    """Build untrained denoiser and autoencoder, initialised from torch's current generator.

    Image encoder, text encoder, tokenizer and classifier are those of ``shapes``, whose clips have the same content.

    Args:
        shapes: Folder of the base ``shapes``.
    """
    of_shapes = load_networks(shapes)
    clip = of_shapes.clip
    image_encoder = CLIPVisionModelWithProjection(clip.config.vision_config)
    image_encoder.vision_model.load_state_dict(clip.vision_model.state_dict())
    image_encoder.visual_projection.load_state_dict(clip.visual_projection.state_dict())
    text_encoder = CLIPTextModel(clip.config.text_config)
    text_encoder.load_state_dict(clip.text_model.state_dict())
    return VideoNetworks(
        vae=build_temporal_vae(),
        unet=build_video_unet(clip.config.projection_dim),
        image_encoder=image_encoder.eval(),
        text_encoder=text_encoder.eval(),
        tokenizer=of_shapes.tokenizer,
        noise_scheduler=build_noise_scheduler(),
        classifier=of_shapes.classifier,
        teacher=of_shapes.vae,
    )


def build_noise_scheduler() -> EulerDiscreteScheduler:
    """Build Euler sampling on continuous noise levels, of Karras' spacing, as in Stable Video Diffusion.

    The largest level is 80 instead of 700: latents of 8 x 8 cells are hidden by less noise than those of 72 x 128.
    """
    return EulerDiscreteScheduler(
        num_train_timesteps=1000,
        beta_start=0.00085,
        beta_end=0.012,
        beta_schedule="scaled_linear",
        prediction_type="v_prediction",
        sigma_min=0.01,
        sigma_max=80.0,
        steps_offset=1,
        timestep_spacing="leading",
        timestep_type="continuous",
        use_karras_sigmas=True,
    )


def build_temporal_vae() -> AutoencoderKLTemporalDecoder:
    """Build an autoencoder with 4 latent channels at 1/4 resolution and a temporal decoder, near-linear at first."""
    vae = AutoencoderKLTemporalDecoder(
        down_block_types=("DownEncoderBlock2D",) * 3,
        block_out_channels=(_WIDTH,) * 3,
        layers_per_block=1,
        latent_channels=4,
        sample_size=CANVAS,
    )
    _start_near_linear(vae)
    return vae


@torch.no_grad()
def _start_near_linear(vae: AutoencoderKLTemporalDecoder) -> None:
    """Initialise such that brightness and hue of a frame pass from the start.

    Residual branches start at zero, and the stream keeps its scale. The last convolution over time starts as the
    identity.

    A group of normalisation has two channels. Over two channels of constant values the result is always 1 and -1: the
    mean of a frame is lost. So every second channel of the two streams that are normalised at their end starts as a
    fixed frame: 0 inside, negative along edges with padding. Its deviation is that of the group, and the other channel
    keeps its mean.
    """
    stream = [vae.encoder.conv_in, vae.decoder.conv_in]
    for module in vae.modules():
        if isinstance(module, ResnetBlock2D | TemporalResnetBlock):
            nn.init.zeros_(module.conv2.weight)
            nn.init.zeros_(module.conv2.bias)
        elif isinstance(module, Attention):
            nn.init.zeros_(module.to_out[0].weight)
            nn.init.zeros_(module.to_out[0].bias)
        elif isinstance(module, Downsample2D | Upsample2D):
            stream.append(module.conv)
    for conv in stream:
        nn.init.normal_(conv.weight, std=conv.weight[0].numel() ** -0.5)
        nn.init.zeros_(conv.bias)
        nn.init.zeros_(conv.weight[0])  # the first channel is constant
        nn.init.ones_(conv.bias[:1])
    for conv in (vae.encoder.down_blocks[1].downsamplers[0].conv, vae.decoder.up_blocks[1].upsamplers[0].conv):
        nn.init.zeros_(conv.weight[1::2])
        nn.init.ones_(conv.weight[1::2, 0])
        nn.init.constant_(conv.bias[1::2], -9.0)
    last = vae.decoder.time_conv_out
    nn.init.dirac_(last.weight)
    nn.init.zeros_(last.bias)


def build_video_unet(image_dim: int) -> UNetSpatioTemporalConditionModel:
    """Build a video U-Net with spatial and temporal attention at both resolutions and in the middle.

    Residual branches and the output start at zero.

    Args:
        image_dim: Width of the image embedding.
    """
    unet = UNetSpatioTemporalConditionModel(
        sample_size=CANVAS // 4,
        in_channels=8,
        out_channels=4,
        down_block_types=("CrossAttnDownBlockSpatioTemporal",) * 2,
        up_block_types=("CrossAttnUpBlockSpatioTemporal",) * 2,
        block_out_channels=(_WIDTH, _WIDTH),
        layers_per_block=1,
        num_attention_heads=(2, 2),
        cross_attention_dim=image_dim,
        addition_time_embed_dim=_NUMBER_DIM,
        projection_class_embeddings_input_dim=3 * _NUMBER_DIM,
        num_frames=NUM_FRAMES,
    )
    ends = [unet.conv_out]
    for module in unet.modules():
        if isinstance(module, ResnetBlock2D | TemporalResnetBlock):
            ends.append(module.conv2)
        elif isinstance(module, TransformerSpatioTemporalModel):
            ends.append(module.proj_out)
    for layer in ends:
        nn.init.zeros_(layer.weight)
        nn.init.zeros_(layer.bias)
    return unet
