"""The built Seer system: the trained network with its loss, and the model that samples with it."""

import copy
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from diffusers import ConfigMixin, DDIMScheduler, ModelMixin, UNet2DConditionModel
from diffusers.configuration_utils import register_to_config
from torch import nn
from torch.nn import functional as F

from models.backbones import start_noise
from models.bases import Protocol
from models.bases.stable_diffusion import StableDiffusion
from models.bases.text_tower import text_shape
from models.contracts import Clips, Sample, Tensors
from models.denoising import denoise
from models.guidance import ClassifierFree
from models.initialisation import initialise
from models.low_rank import adapters_of
from models.noise_schedule import NoiseSchedule
from models.seer.inflation import FrameCount, InflatedUNet
from models.seer.temporal import TemporalTransformer
from models.streams import Draws, Streams
from models.untrained import UntrainedModel

if TYPE_CHECKING:
    from models.seer import Seer


_TEXTS_PER_CALL = 32


class SeerNetwork(nn.Module):
    """Denoiser and text decomposer, trained together; ``forward`` returns the loss.

        L = || y_t - y_theta(concat(z_ref, z_t), t, s) ||^2 over the predicted frames,   z_t = a_t z + s_t eps

    The target y_t follows the base's noise schedule: eps, v or z (``NoiseSchedule``).

    Args:
        unet: Denoiser of clips.
        text: Instruction -> one text per frame.
        references: Number of given first frames, which stay clean.
        schedule: Forward process of the base.

    Shape:
        latents and noise (b f c h w), float32; text (b l c), time (b,) -> ().

    Source: Seer (arXiv 2303.14897), section on training; departures: see ``TemporalTransformer``.
    """

    def __init__(self, unet: InflatedUNet, text: nn.Module, references: int, schedule: NoiseSchedule) -> None:
        super().__init__()
        self.unet, self.text, self.references = unet, text, references
        self.schedule = schedule  # no buffers, which would be rounded with the weights

    def new_parameters(self) -> list[nn.Parameter]:
        """Return the parameters of temporal transformers and text decomposer."""
        return [*self.unet.temporal_parameters(), *self.text.parameters()]

    def adaptable(self) -> list[nn.Module]:
        """Return the spatial transformers of the image network."""
        return self.unet.spatial_transformers()

    @property
    def dtype(self) -> torch.dtype:
        """Precision of the forward pass."""
        return next(self.unet.parameters()).dtype

    def forward(
        self, latents: torch.Tensor, text: torch.Tensor, noise: torch.Tensor, time: torch.Tensor
    ) -> torch.Tensor:
        """Compute the loss of a batch; noise is added before rounding to the precision of the forward pass."""
        r = self.references
        noisy, target = self.schedule.add_noise(latents, noise, time), self.schedule.target(latents, noise, time)
        clips = torch.cat([latents[:, :r], noisy[:, r:]], dim=1).to(self.dtype)
        predicted = self.unet(clips, time, self.text(text.to(self.dtype), latents.shape[1]))
        return F.mse_loss(predicted[:, r:].float(), target[:, r:].float())


class SeerModel:
    """Predicts the frames that follow given ones, under an instruction.

    Args:
        tree: The parts.
        base: Loaded base; not changed, networks that change are copied.
        streams: Streams of the cell's seed; new weights are drawn from them.
    """

    def __init__(self, tree: "Seer", base: StableDiffusion, streams: Streams) -> None:
        self.base = base
        self._tree = tree
        self._streams = streams
        unet = copy.deepcopy(base.unet)
        network = build_network(tree, unet, text_shape(base.networks), NoiseSchedule.of(base.noise_scheduler))
        new = {f"unet.{name}": part for name, part in network.unet.temporal_parts().items()} | {"text": network.text}
        initialise({**new, **adapters_of(network)}, streams)
        self.network = network.to(base.device, base.dtype)

    def encode(self, clips: Clips) -> Tensors:
        """Encode frames to posteriors of their latents, which every step samples again, and texts to text states."""
        mean, std = self.base.encode_frames(clips.video)
        text = self._text_of(clips.texts)
        return {"mean": mean.cpu(), "std": std.cpu(), "text": text.float().cpu()}

    def batch(self, encoded: Tensors, draws: Draws) -> Tensors:
        """Make the inputs of ``SeerNetwork``: latents, text states, noise and timesteps."""
        mean, std, device = encoded["mean"], encoded["std"], self.base.device
        posterior, noise = (
            torch.from_numpy(draws.normal(stream, mean.shape[1], tuple(mean.shape[2:])))
            for stream in ("posterior", "training_noise")
        )
        time = draws.integers("timestep", high=int(self.base.noise_scheduler.config.num_train_timesteps))
        return {
            "latents": (mean + std * posterior).to(device),
            "text": encoded["text"].to(device),
            "noise": noise.to(device),
            "time": torch.tensor(time, device=device),
        }

    def prepare(self, texts: Sequence[str], num_frames: int) -> dict[str, float]:
        """Warm up the text decomposer."""
        parts = [texts[k : k + _TEXTS_PER_CALL] for k in range(0, len(texts), _TEXTS_PER_CALL)]
        states = torch.cat([self._text_of(part).float() for part in parts])
        return self._tree.text_decomposer.warm_up(self.network.text, states, self._streams, num_frames)

    @property
    def learnt(self) -> frozenset[str]:
        """Names of the trained parameters and of the decomposer's, which is warmed up even if nothing is trained."""
        named = self.network.named_parameters()
        return frozenset(name for name, weight in named if weight.requires_grad or name.startswith("text."))

    def load(self, trained: Mapping[str, torch.Tensor]) -> None:
        """Load trained weights."""
        if wrong := self.learnt ^ trained.keys():
            raise ValueError(f"weights of another model: {len(wrong)} names differ, such as {min(wrong)}")
        self.network.load_state_dict(trained, strict=False)

    def save(self, folder: Path) -> None:
        """Save the base's other networks in diffusers' layout, and the trained network as ``seer``."""
        base = self.base
        others = {"vae": base.vae, "text_encoder": base.text_encoder, "tokenizer": base.tokenizer}
        for name, part in {**others, "scheduler": base.noise_scheduler}.items():
            part.save_pretrained(folder / name)
        pretrained = PretrainedSeer(
            tree=self._tree.model_dump(mode="json"),
            unet=_own(base.unet.config),
            text=text_shape(base.networks),
            schedule=_own(base.noise_scheduler.config),
        )
        pretrained.network.load_state_dict(self.network.state_dict())
        pretrained.save_pretrained(folder / "seer")

    @torch.inference_mode()
    def sample(
        self, prompts: Sequence[str], streams: Streams, protocol: Protocol, given: torch.Tensor | None = None
    ) -> Sample:
        """Sample the frames after the given ones, which are returned unchanged."""
        r, f = self._tree.references, protocol.frames
        before = _checked(given, r, f, len(prompts))
        base, micro_batch = self.base, self.base.micro_batch(protocol)
        noise = start_noise(streams, len(prompts), range(r, f), base.latent_shape(protocol))
        self.network.eval()
        # Whole clips at a time, as in the U-Net: a decomposer at full size holds f x l text states per clip and layer.
        instructions = torch.split(self._text_of(prompts), max(1, micro_batch // f))
        latents = denoise(
            self._predict,
            noise.to(base.device),
            base.conditions(torch.cat([self.network.text(part, f) for part in instructions]), self._tree.text_padding),
            noise_scheduler=self._tree.sampling_schedule.build(base.noise_scheduler),
            guide=ClassifierFree().build(protocol.guidance, f),
            steps=protocol.steps,
            micro_batch=micro_batch,
            given=base.encode_frames(before, micro_batch=micro_batch)[0] if r else None,
        )
        return Sample(torch.cat([before, base.decode_latents(latents, micro_batch=micro_batch)], dim=1))

    def _text_of(self, prompts: Sequence[str]) -> torch.Tensor:
        return self.base.encode_text(prompts, self._tree.text_padding)

    def _predict(self, latents: torch.Tensor, time: torch.Tensor, text: torch.Tensor) -> torch.Tensor:
        predicted: torch.Tensor = self.network.unet(latents.to(self.base.dtype), time, text)
        return predicted


class PretrainedSeer(ModelMixin, ConfigMixin):  # type: ignore[misc]  # diffusers ships no types
    """A trained Seer in diffusers' format: ``PretrainedSeer.from_pretrained(folder)``.

    Args:
        tree: The parts, as plain data.
        unet: Configuration of the image U-Net.
        text: Width and number of the text states.
        schedule: Configuration of the noise schedule.
    """

    @register_to_config  # type: ignore[untyped-decorator]
    def __init__(
        self, tree: dict[str, Any], unet: dict[str, Any], text: Sequence[int], schedule: dict[str, Any]
    ) -> None:
        super().__init__()
        from models.seer import Seer

        image_unet = UNet2DConditionModel.from_config(unet)
        process = NoiseSchedule.of(DDIMScheduler.from_config(schedule))
        width, length = text
        self.network = build_network(Seer.model_validate_json(json.dumps(tree)), image_unet, (width, length), process)


class LastFrame(UntrainedModel):
    """Baseline that repeats the last given frame, or grey if none is given.

    Args:
        references: Number of given first frames.
    """

    def __init__(self, references: int) -> None:
        super().__init__()
        self._references = references

    def save(self, folder: Path) -> None:
        """Raise an error: no model exists.

        Raises:
            ValueError: Always.
        """
        raise ValueError("the last frame is repeated: no model to export -> a cell with prediction: denoising")

    def sample(
        self, prompts: Sequence[str], streams: Streams, protocol: Protocol, given: torch.Tensor | None = None
    ) -> Sample:
        """Repeat the last given frame."""
        before = _checked(given, self._references, protocol.frames, len(prompts))
        if self._references == 0:
            return Sample(torch.zeros(len(prompts), protocol.frames, 3, protocol.height, protocol.width))
        return Sample(torch.cat([before, before[:, -1:].expand(-1, protocol.frames - before.shape[1], -1, -1, -1)], 1))


def build_network(
    tree: "Seer", unet: UNet2DConditionModel, text: tuple[int, int], schedule: NoiseSchedule
) -> SeerNetwork:
    """Build the trained network: an inflated image U-Net; new parts have torch's initialisation, the rest is frozen.

    Args:
        tree: The parts.
        unet: Image U-Net; it becomes part of the network and is changed.
        text: Width and number of the text states.
        schedule: Forward process of the base.
    """
    mixer, norms = tree.temporal_attention.build(), tree.group_norm.build()
    groups = int(unet.config.norm_num_groups)

    def temporal(dim: int) -> nn.Module:
        assert mixer is not None
        return TemporalTransformer(dim, mixer(dim), norms(nn.GroupNorm(groups, dim, eps=1e-6), FrameCount()))

    inflated = InflatedUNet(unet, temporal if mixer else None, norms)
    network = SeerNetwork(inflated, tree.text_decomposer.build(*text), tree.references, schedule)
    network.requires_grad_(False)
    for parameter in tree.trainable.build(network):
        parameter.requires_grad_(True)
    return network


def _own(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return a diffusers configuration without its private entries, such as its origin."""
    return {key: value for key, value in config.items() if not key.startswith("_")}


def _checked(given: torch.Tensor | None, references: int, frames: int, clips: int) -> torch.Tensor:
    """Return the given frames; check their number, and that frames remain to be predicted."""
    if references >= frames:
        raise ValueError(f"references: {references} -> fewer than the {frames} frames of a clip")
    if given is None and references == 0:
        return torch.zeros(clips, 0, 3, 1, 1)
    if given is None or given.shape[:2] != (clips, references):
        shape = "none" if given is None else " x ".join(map(str, given.shape[:2]))
        raise ValueError(f"{shape} given -> {clips} clips x {references} reference frames")
    return given
