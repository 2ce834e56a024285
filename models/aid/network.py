"""The built AID system: the adapted denoiser with its condition and loss, and the model that samples with it."""

import copy
import functools
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from diffusers import ConfigMixin, ModelMixin, UNetSpatioTemporalConditionModel
from diffusers.configuration_utils import register_to_config
from einops import rearrange
from torch import nn

from models.aid.adapters import Adapter
from models.aid.condition import DecomposedBranch, Sizes
from models.aid.guidance_kinds import FRAME
from models.aid.injection import Board, TextCrossAttention
from models.bases import Protocol
from models.bases.stable_video_diffusion import StableVideoDiffusion
from models.contracts import Clips, Sample, Tensors
from models.denoising import Conditions
from models.guidance import CONDITIONAL, UNCONDITIONAL
from models.image_to_video import (
    TrainedNetwork,
    denoising_loss,
    drawn_noise,
    last_given,
    precision_of,
    predict_v,
    sample_clips,
    transformers,
)
from models.initialisation import initialise
from models.low_rank import adapters_of
from models.streams import Draws, Streams

if TYPE_CHECKING:
    from models.aid import AID


class AIDNetwork(nn.Module):
    """A video denoiser with adapters and a condition; ``forward`` returns ``denoising_loss``.

    Args:
        unet: The base's denoiser, with its adapters and the injection.
        condition: Makes MCondition from texts and visual tokens; None for none.
        board: Where the injected layers find MCondition.
        injected: Modules of the injection, which are trained with the condition.

    Shape:
        latents and noise (b f c h w), float32; sigma (b,); image (b 1 d); beside (b f c h w); micro (b 3);
        text (b l c_t); visual (b n c_v); states (b s l c_t) -> ().

    Source: AID (arXiv 2406.06465). Departures: see the parts.
    """

    def __init__(
        self,
        unet: UNetSpatioTemporalConditionModel,
        condition: nn.Module | None,
        board: Board,
        injected: Sequence[nn.Module],
    ) -> None:
        super().__init__()
        self.unet, self.condition = unet, condition
        self._board, self._injected = board, tuple(injected)

    def context(
        self, num_frames: int, text: torch.Tensor, visual: torch.Tensor, states: torch.Tensor | None = None
    ) -> dict[str, torch.Tensor]:
        """Make MCondition, by its name among the denoiser's conditions; empty without a condition.

        Shape:
            context (b f m c).
        """
        if self.condition is None:
            return {}
        dtype = precision_of(self.unet)
        read = None if states is None else states.to(dtype)
        return {"context": self.condition(text.to(dtype), read, visual.to(dtype), num_frames)}

    def predict(
        self,
        latents: torch.Tensor,
        time: torch.Tensor,
        context: torch.Tensor | None = None,
        **conditions: torch.Tensor,
    ) -> torch.Tensor:
        """Predict v of all frames from scaled noisy latents; see ``predict_v``."""
        self._board.tokens = None if context is None else rearrange(context, "b f m c -> (b f) m c")
        return predict_v(self.unet, latents, time, **conditions)

    def forward(
        self,
        latents: torch.Tensor,
        noise: torch.Tensor,
        sigma: torch.Tensor,
        image: torch.Tensor,
        beside: torch.Tensor,
        micro: torch.Tensor,
        text: torch.Tensor,
        visual: torch.Tensor,
        states: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """Compute the loss of a batch."""
        context = self.context(latents.shape[1], text, visual, states)
        conditions = {"image": image, "beside": beside, "micro": micro, **context}
        return denoising_loss(self.predict, latents, noise, sigma, conditions)

    def new_modules(self) -> dict[str, nn.Module]:
        """Return adapters, new cross-attentions and the condition, by name."""
        kinds = (Adapter, TextCrossAttention)
        found: dict[str, nn.Module] = {name: part for name, part in self.named_modules() if isinstance(part, kinds)}
        return found if self.condition is None else {**found, "condition": self.condition}

    def new_parameters(self) -> list[nn.Parameter]:
        """Return the parameters of adapters, condition and injection; a tuned cross-attention is among them."""
        modules = {id(part): part for part in (*self.new_modules().values(), *self._injected)}
        return [parameter for part in modules.values() for parameter in part.parameters()]

    def adaptable(self) -> list[nn.Module]:
        """Return the self-attentions of the base, spatial and temporal."""
        blocks = [
            block
            for part in transformers(self.unet)
            for block in (*part.transformer_blocks, *part.temporal_transformer_blocks)
        ]
        return [block.attn1 for block in blocks]


def build_network(tree: "AID", unet: UNetSpatioTemporalConditionModel, sizes: Sizes) -> AIDNetwork:
    """Build the trained network; new parts have torch's initialisation, the rest is frozen.

    Args:
        tree: The parts.
        unet: The base's denoiser; it becomes part of the network and is changed.
        sizes: Sizes of texts and visual tokens on the base.
    """
    board, injected = Board(), []
    condition = tree.condition.build(sizes, states=tree.states.given)
    for part in transformers(unet):
        for adapter in (tree.spatial_adapter, tree.short_term_adapter, tree.long_term_adapter):
            adapter.attach(part)
        tree.feed_forward_adapter.attach(part)
        if condition is not None:
            for block in part.transformer_blocks:
                injected += tree.injection.attach(block, sizes.out, board)
    network = AIDNetwork(unet, condition, board, injected)
    network.requires_grad_(False)
    for parameter in tree.trainable.build(network):
        parameter.requires_grad_(True)
    return network


class AIDModel(TrainedNetwork[AIDNetwork]):
    """Continues an image as an instruction says.

    Args:
        tree: The parts.
        base: Loaded base; not changed, its denoiser is copied.
        streams: Streams of the cell's seed; new weights are drawn from them.
    """

    def __init__(self, tree: "AID", base: StableVideoDiffusion, streams: Streams) -> None:
        self.base, self._tree = base, tree
        self._greys: dict[tuple[int, int], torch.Tensor] = {}
        network = build_network(tree, copy.deepcopy(base.unet), self._sizes())
        for name, module in network.named_modules():
            if isinstance(module, DecomposedBranch):
                module.draw(streams, name)
        initialise({**network.new_modules(), **adapters_of(network)}, streams)
        self.network = network.to(base.device, base.dtype)

    def _sizes(self) -> Sizes:
        return Sizes.of({**self.base.networks, "text_encoder": self.base.text_tower.encoder})

    # ----------------------------------------------------------------------------------------------------- training

    def encode(self, clips: Clips) -> Tensors:
        """Encode frames to the means of their latents, the first one to the base's conditions, texts to text states."""
        latents, _ = self.base.encode_frames(clips.video)
        conditions = self.base.training_conditions(clips.video, self._tree.fps)
        seen = {**conditions, "visual": self.base.encode_image_tokens(clips.video[:, 0])}
        named = {"latents": latents, **seen, **self._texts(clips.texts, clips.further)}
        return {name: values.float().cpu() for name, values in named.items()}

    def batch(self, encoded: Tensors, draws: Draws) -> Tensors:
        """Make the inputs of ``AIDNetwork``: latents, noise, noise levels and conditions, some of which are dropped."""
        latents = encoded["latents"]
        no_text, no_frame = self._dropped(draws)
        texts = {name: encoded[name] for name in ("text", "states") if name in encoded}
        empty = self._empty(texts)
        beside = self._beside(encoded["beside"], latents.shape[1], tuple(latents.shape[-2:]))
        frame = {"image": encoded["image"], "visual": encoded["visual"], "beside": beside}
        batch = {
            "latents": latents,
            **drawn_noise(latents, draws, self.base.noise_scheduler),
            "micro": encoded["micro"],
            **{name: _where(no_text, empty[name].float().cpu(), values) for name, values in texts.items()},
            **{name: _where(no_frame, torch.zeros(()), values) for name, values in frame.items()},
        }
        return {name: values.to(self.base.device) for name, values in batch.items()}

    def _dropped(self, draws: Draws) -> tuple[torch.Tensor, torch.Tensor]:
        """Draw the clips whose text, and those whose given frame is dropped; half of the dropped texts with the frame.

            u ~ U(0, 1):   text dropped for u < p_T,   frame dropped for p_T / 2 <= u < p_T / 2 + p_V

        Source: InstructPix2Pix's code in diffusers, where p_T = p_V.
        """
        u = torch.tensor(draws.uniform("dropped"), dtype=torch.float64)
        first = self._tree.drop_text / 2
        return u < self._tree.drop_text, (first <= u) & (u < first + self._tree.drop_frame)

    def save(self, folder: Path) -> None:
        """Save the base with its text encoder in diffusers' layout, and the trained network as ``aid``."""
        self.base.save(folder)
        config = {key: value for key, value in self.base.unet.config.items() if not key.startswith("_")}
        tree = self._tree.model_dump(mode="json")
        pretrained = PretrainedAID(tree=tree, unet=config, sizes=self._sizes().as_list())
        pretrained.network.load_state_dict(self.network.state_dict())
        pretrained.save_pretrained(folder / "aid")

    # ----------------------------------------------------------------------------------------------------- sampling

    def sample(
        self,
        prompts: Sequence[str],
        streams: Streams,
        protocol: Protocol,
        given: torch.Tensor | None = None,
        further: Mapping[str, Sequence[str]] | None = None,
    ) -> Sample:
        """Sample clips that continue the last given frame as the prompts say.

        Raises:
            ValueError: No frame is given, or a further text that the states are read from is missing.
        """
        self.base.latent_shape(protocol)  # a size that latents cannot have is refused before anything is encoded
        self.network.eval()
        image = last_given(given).to(self.base.device)
        conditions = self.conditions(image, prompts, further or {}, streams, protocol.frames)
        guide = self._tree.guidance.build(protocol.guidance, protocol.frames)
        together = self._tree.decoded_together
        predict = self.network.predict
        return sample_clips(self.base, predict, conditions, guide, streams, protocol, decoded_together=together)

    @torch.no_grad()
    def conditions(
        self,
        image: torch.Tensor,
        prompts: Sequence[str],
        further: Mapping[str, Sequence[str]],
        streams: Streams,
        num_frames: int,
    ) -> Conditions:
        """Make the denoiser's conditions without frame and text, with the frame alone, and with both.

        Shape:
            image (b 3 H W) -> image (b 1 c), beside (b f c h w), micro (b 3), context (b f m c).
        """
        own = self.base.conditions(image, streams, num_frames, self._tree.micro())
        seen, nothing = dict(own[CONDITIONAL]), own[UNCONDITIONAL]
        first = seen["beside"][:, 0]
        seen["beside"] = self._beside(first, num_frames, tuple(first.shape[-2:]))
        texts = self._texts(prompts, further)
        empty = {name: values.expand(len(prompts), *values.shape[1:]) for name, values in self._empty(texts).items()}
        visual = self.base.encode_image_tokens(image)
        context = functools.partial(self.network.context, num_frames)
        return {
            UNCONDITIONAL: {**nothing, **context(visual=torch.zeros_like(visual), **empty)},
            FRAME: {**seen, **context(visual=visual, **empty)},
            CONDITIONAL: {**seen, **context(visual=visual, **texts)},
        }

    def condition_of(
        self, prompts: Sequence[str], protocol: Protocol, given: torch.Tensor, further: Mapping[str, Sequence[str]]
    ) -> torch.Tensor:
        """Return MCondition of each frame, averaged over its tokens; a single 0 without a condition."""
        self.network.eval()
        image = last_given(given).to(self.base.device)
        visual = self.base.encode_image_tokens(image)
        with torch.no_grad():
            made = self.network.context(protocol.frames, visual=visual, **self._texts(prompts, further))
        if "context" not in made:
            return torch.zeros(len(prompts), protocol.frames, 1)
        return made["context"].mean(dim=2).float().cpu()

    # ---------------------------------------------------------------------------------------------------- conditions

    def _texts(self, texts: Sequence[str], further: Mapping[str, Sequence[str]]) -> dict[str, torch.Tensor]:
        """Encode instructions, and the states of every clip if there are some: text (b l c), states (b s l c)."""
        encoded = {"text": self.base.text_tower.encode(texts)}
        if states := self._tree.states.texts(texts, further):
            flat = self.base.text_tower.encode([state for of_clip in states for state in of_clip])
            encoded["states"] = rearrange(flat, "(b s) l c -> b s l c", b=len(states))
        return encoded

    def _empty(self, texts: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        """Return the states of the empty prompt in the place of texts: (1 l c), (1 s l c)."""
        return {name: self._empty_prompt.expand(1, *values.shape[1:]) for name, values in texts.items()}

    @functools.cached_property
    def _empty_prompt(self) -> torch.Tensor:
        return self.base.text_tower.encode([""])

    def _beside(self, first: torch.Tensor, num_frames: int, size: tuple[int, ...]) -> torch.Tensor:
        return self._tree.frame_condition.build(first, num_frames, functools.partial(self._grey, *size))

    def _grey(self, height: int, width: int) -> torch.Tensor:
        """Encode a grey frame, once for each size of its latents: (1 c h w)."""
        if (height, width) not in self._greys:
            cell = self.base.pixels_per_latent
            frame = torch.zeros(1, 3, cell * height, cell * width)
            self._greys[height, width] = self.base.encode_beside(frame)
        return self._greys[height, width]


def _where(dropped: torch.Tensor, otherwise: torch.Tensor, values: torch.Tensor) -> torch.Tensor:
    """Replace the values of dropped clips."""
    return torch.where(dropped.view(-1, *[1] * (values.ndim - 1)), otherwise, values)


class PretrainedAID(ModelMixin, ConfigMixin):  # type: ignore[misc]  # diffusers ships no types
    """A trained AID network in diffusers' format: ``PretrainedAID.from_pretrained(folder)``.

    Args:
        tree: The parts, as plain data.
        unet: Configuration of the base's denoiser.
        sizes: Sizes of texts and visual tokens on the base.
    """

    @register_to_config  # type: ignore[untyped-decorator]
    def __init__(self, tree: dict[str, Any], unet: dict[str, Any], sizes: Sequence[int]) -> None:
        super().__init__()
        from models.aid import AID

        denoiser = UNetSpatioTemporalConditionModel.from_config(unet)
        self.network = build_network(AID.model_validate_json(json.dumps(tree)), denoiser, Sizes(*sizes))
