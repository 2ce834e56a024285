"""The built toy system: what is trained with its loss, and what draws with it."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from einops import rearrange
from torch import nn
from torch.nn import functional as F

from models.backbones import start_noise
from models.bases import Protocol
from models.bases.stable_video_diffusion import StableVideoDiffusion
from models.contracts import Clips, Sample, Tensors
from models.denoising import denoise
from models.initialisation import initialise
from models.streams import Draws, Streams

if TYPE_CHECKING:
    from models.toy import Toy
    from models.toy.parts import FrameMixing, NoMixing

SIGMA = (0.02, 20.0)


class NeighbourConv(nn.Module):
    """A convolution over a frame and its two neighbours: (b f c h w) -> the same."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv3d(channels, channels, (3, 1, 1), padding=(1, 0, 0))

    def forward(self, video: torch.Tensor) -> torch.Tensor:
        """Mix."""
        return rearrange(self.conv(rearrange(video, "b f c h w -> b c f h w")), "b c f h w -> b f c h w")


class LinearDenoiser(nn.Module):
    """One linear layer over noisy and given latents, then frame mixing; called, it gives the loss.

        x = x_0 + s e,   v = (x / (s^2 + 1) - x_0) sqrt(s^2 + 1) / s,   L = || v - v_theta(x / sqrt(s^2 + 1)) ||^2

    Shape:
        latents, beside and noise (b f c h w), sigma (b,) -> ().
    """

    def __init__(self, channels: int, mixing: "FrameMixing | NoMixing") -> None:
        super().__init__()
        self.linear = nn.Conv2d(2 * channels, channels, 1)
        self.mixing = mixing.build(channels)

    def predict(self, latents: torch.Tensor, beside: torch.Tensor) -> torch.Tensor:
        """v of every frame."""
        both = torch.cat([latents, beside], dim=2)
        predicted: torch.Tensor = self.mixing(self.linear(both.flatten(0, 1)).unflatten(0, both.shape[:2]))
        return predicted

    def forward(
        self, latents: torch.Tensor, beside: torch.Tensor, noise: torch.Tensor, sigma: torch.Tensor
    ) -> torch.Tensor:
        """The loss of a batch."""
        s = sigma.view(-1, 1, 1, 1, 1)
        noisy, scale = latents + s * noise, (s**2 + 1).sqrt()
        target = (noisy / scale**2 - latents) * scale / s
        return F.mse_loss(self.predict((noisy / scale).to(self.dtype), beside.to(self.dtype)).float(), target)

    @property
    def dtype(self) -> torch.dtype:
        """Precision of the passes."""
        return self.linear.weight.dtype


class ToyModel:
    """Clips that continue an image, by the linear denoiser."""

    def __init__(self, tree: "Toy", base: StableVideoDiffusion, streams: Streams) -> None:
        self.base, self._tree = base, tree
        network = LinearDenoiser(base.latent_channels, tree.mixing)
        initialise({"network": network}, streams)
        self.network = network.to(base.device, base.dtype)

    @property
    def learnt(self) -> frozenset[str]:
        """All of it."""
        return frozenset(name for name, _ in self.network.named_parameters())

    def encode(self, clips: Clips) -> Tensors:
        """Latents of the frames, and beside each the first one's, as this family gives it."""
        latents, _ = self.base.encode_frames(clips.video)
        first = latents[:, :1].expand_as(latents) / self.base.vae.config.scaling_factor
        return {"latents": latents.cpu(), "beside": first.contiguous().cpu()}

    def batch(self, encoded: Tensors, draws: Draws) -> Tensors:
        """Encoded clips with noise and noise levels."""
        latents = encoded["latents"]
        low, high = torch.tensor(SIGMA).log()
        sigma = (low + (high - low) * torch.tensor(draws.uniform("sigma"))).exp()
        noise = torch.from_numpy(draws.normal("training_noise", latents.shape[1], tuple(latents.shape[2:])))
        batch = {**encoded, "noise": noise, "sigma": sigma}
        return {name: values.to(self.base.device) for name, values in batch.items()}

    def prepare(self, texts: Sequence[str], num_frames: int) -> dict[str, float]:
        """Nothing."""
        return {}

    def load(self, trained: Tensors) -> None:
        """Put trained weights in."""
        if trained.keys() != self.learnt:
            raise ValueError("weights of another model")
        self.network.load_state_dict(trained)

    def save(self, folder: Path) -> None:
        """Save the weights."""
        folder.mkdir(exist_ok=True)
        torch.save(self.network.state_dict(), folder / "toy.pt")

    @torch.inference_mode()
    def sample(
        self, prompts: Sequence[str], streams: Streams, protocol: Protocol, given: torch.Tensor | None = None
    ) -> Sample:
        """Draw clips that continue the given frame."""
        assert given is not None, "a frame is given"
        base, frames, micro_batch = self.base, protocol.frames, self.base.micro_batch(protocol)
        noise = start_noise(streams, len(prompts), range(frames), base.latent_shape(protocol))

        def denoiser(
            latents: torch.Tensor, time: torch.Tensor, beside: torch.Tensor, **_: torch.Tensor
        ) -> torch.Tensor:
            return self.network.predict(latents.to(base.dtype), beside)

        latents = denoise(
            denoiser,
            noise.to(base.device),
            base.conditions(given[:, -1].to(base.device), streams, frames),
            noise_scheduler=base.noise_scheduler,
            guide=self._tree.guidance.build(protocol.guidance, frames),
            steps=protocol.steps,
            micro_batch=micro_batch,
        )
        return Sample(base.decode_latents(latents))
