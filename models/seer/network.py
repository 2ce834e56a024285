"""The built Seer system: what is trained in one module with its loss, and what draws with it."""

import copy
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from models.backbones import Base, decode_latents, encode_frames, encode_text
from models.bases import Protocol
from models.diffusion import denoise, latent_shape, micro_batch_rule
from models.initialisation import initialise
from models.seer.inflation import Clips, InflatedUNet
from models.seer.temporal import TemporalTransformer
from models.streams import Streams
from models.system import Sample

if TYPE_CHECKING:
    from models.seer import Seer


class SeerNetwork(nn.Module):
    """The denoiser and the text decomposer, trained together; called, it gives the loss.

        L = || eps - eps_theta(concat(z_ref, z_t), t, s) ||^2 over the predicted frames,   z_t = a_t z + s_t eps

    Args:
        unet: Of clips.
        text: Instruction -> one text per frame.
        references: First frames that are given, clean in time.
        alphas: Cumulative products of the base's schedule.

    Shape:
        latents and noise (b f c h w), text (b l c), time (b,) -> ().

    Source: Seer (arXiv 2303.14897), section on training; departures: see ``TemporalTransformer``.
    """

    alphas: torch.Tensor

    def __init__(self, unet: InflatedUNet, text: nn.Module, references: int, alphas: torch.Tensor) -> None:
        super().__init__()
        self.unet, self.text, self.references = unet, text, references
        self.register_buffer("alphas", alphas.float(), persistent=False)

    def forward(
        self, latents: torch.Tensor, text: torch.Tensor, noise: torch.Tensor, time: torch.Tensor
    ) -> torch.Tensor:
        """The loss of a batch."""
        r = self.references
        alpha = self.alphas[time].view(-1, 1, 1, 1, 1).to(latents)
        noisy = alpha.sqrt() * latents + (1 - alpha).sqrt() * noise
        clips = torch.cat([latents[:, :r], noisy[:, r:]], dim=1)
        predicted = self.unet(clips, time, self.text(text, latents.shape[1]))
        return F.mse_loss(predicted[:, r:].float(), noise[:, r:].float())


class SeerModel:
    """Frames that follow given ones under an instruction.

    Args:
        tree: The parts.
        base: Copied where it is changed; itself left as it is.
        streams: Of the cell's seed; new weights are drawn from it.
    """

    def __init__(self, tree: "Seer", base: Base, streams: Streams) -> None:
        self.base = base
        self._tree = tree
        self._streams = streams
        self.network = build_network(tree, base, streams)

    def warm_up(self, text: torch.Tensor) -> dict[str, float]:
        """Bring the decomposer near the instruction's own text."""
        return self._tree.text_decomposer.warm_up(self.network.text, text, self._streams)

    def load(self, trained: Mapping[str, torch.Tensor]) -> None:
        """Put trained weights in."""
        own = {name for name, parameter in self.network.named_parameters() if parameter.requires_grad}
        if wrong := own ^ trained.keys():
            raise ValueError(f"weights of another model: {len(wrong)} names differ, such as {min(wrong)}")
        self.network.load_state_dict(trained, strict=False)

    @torch.inference_mode()
    def sample(
        self, prompts: Sequence[str], streams: Streams, protocol: Protocol, given: torch.Tensor | None = None
    ) -> Sample:
        """Draw the frames behind the given ones, which stand in the clip as they were given."""
        r, f = self._tree.references, protocol.frames
        before = _checked(given, r, f, len(prompts))
        shape = latent_shape(self.base, protocol)
        micro_batch = protocol.micro_batch or micro_batch_rule(self.base, protocol.height, protocol.width)
        noise = np.array(
            [[streams.normal("noise", k, frame, shape=shape) for frame in range(r, f)] for k in range(len(prompts))]
        )
        self.network.eval()
        latents = denoise(
            self.base,
            self._predict,
            torch.from_numpy(noise),
            self.network.text(encode_text(self.base, prompts), f),
            steps=protocol.steps,
            guidance=protocol.guidance,
            micro_batch=micro_batch,
            given=encode_frames(self.base, before, micro_batch=micro_batch)[0] if r else None,
        )
        return Sample(torch.cat([before, decode_latents(self.base, latents, micro_batch=micro_batch)], dim=1))

    def _predict(self, latents: torch.Tensor, time: torch.Tensor, text: torch.Tensor) -> torch.Tensor:
        predicted: torch.Tensor = self.network.unet(latents.to(self.base.dtype), time, text)
        return predicted


class LastFrame:
    """The last given frame, repeated: what a prediction has to be better than.

    Args:
        references: First frames that are given, at least 1.
    """

    def __init__(self, references: int) -> None:
        self.network = nn.Module()
        self._references = references

    def warm_up(self, text: torch.Tensor) -> dict[str, float]:
        """Nothing: there is nothing to train."""
        return {}

    def load(self, trained: Mapping[str, torch.Tensor]) -> None:
        """Nothing."""

    def sample(
        self, prompts: Sequence[str], streams: Streams, protocol: Protocol, given: torch.Tensor | None = None
    ) -> Sample:
        """Repeat."""
        before = _checked(given, self._references, protocol.frames, len(prompts))
        return Sample(torch.cat([before, before[:, -1:].expand(-1, protocol.frames - before.shape[1], -1, -1, -1)], 1))


def build_network(tree: "Seer", base: Base, streams: Streams) -> SeerNetwork:
    """Make what is trained: the base's U-Net copied and inflated, new parts drawn by name, the rest frozen."""
    mixer, norms = tree.temporal_attention.build(), tree.group_norm.build()
    groups = int(base.unet.config.norm_num_groups)

    def temporal(dim: int) -> nn.Module:
        assert mixer is not None
        return TemporalTransformer(dim, mixer(dim), norms(nn.GroupNorm(groups, dim, eps=1e-6), Clips()))

    unet = InflatedUNet(copy.deepcopy(base.unet), temporal if mixer else None, norms)
    width, length = int(base.text_encoder.config.hidden_size), int(base.text_encoder.config.max_position_embeddings)
    text = tree.text_decomposer.build(width, length)
    network = SeerNetwork(unet, text, tree.references, base.noise_scheduler.alphas_cumprod)
    initialise({f"unet.{name}": part for name, part in unet.temporal_parts().items()} | {"text": text}, streams)
    network.requires_grad_(False)
    for parameter in tree.trainable.build(network):
        parameter.requires_grad_(True)
    return network.to(base.device, base.dtype)


def _checked(given: torch.Tensor | None, references: int, frames: int, clips: int) -> torch.Tensor:
    """The given frames, if they are as many as the model takes and leave some to draw."""
    if references >= frames:
        raise ValueError(f"{references} references -> fewer than the {frames} frames of a clip")
    if given is None and references == 0:
        return torch.zeros(clips, 0, 3, 1, 1)
    if given is None or given.shape[:2] != (clips, references):
        found = "none" if given is None else " x ".join(map(str, given.shape[:2]))
        raise ValueError(f"{clips} clips x {references} reference frames are needed, {found} are given")
    return given
