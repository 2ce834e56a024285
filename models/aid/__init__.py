"""AID: an image-to-video model that continues a frame as an instruction says, by adapters and a text condition.

Source: AID (arXiv 2406.06465, ICCV 2025); no code was published.
"""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

from pydantic import Field

from models.aid.adapter_kinds import (
    CausalLongTerm,
    DenseShortTerm,
    DepthwiseShortTerm,
    FeedForwardBottleneck,
    FullLongTerm,
    NoAdapter,
    SpatialBottleneck,
    WindowedLongTerm,
)
from models.aid.condition_kinds import (
    BothBranches,
    InstructionTokens,
    LowerBranch,
    MeanOverFrames,
    NoCondition,
    UpperBranch,
)
from models.aid.frame_kinds import GreyBehind, Repeated
from models.aid.guidance_kinds import DualGuidance, Guidance
from models.aid.injection_kinds import NewCrossAttention, TunedCrossAttention
from models.aid.state_kinds import (
    FileStates,
    NoStates,
    OracleStates,
    PredictedStates,
    RepeatedInstruction,
    ShuffledStates,
)
from models.aid.trainable_kinds import Everything, NewParts, Untrained, WithTemporalBlocks
from models.bases import Count
from models.bases.families import STABLE_VIDEO_DIFFUSION, Family
from models.contracts import MetaDenoiser, TrainedModel
from models.low_rank import LowRank
from models.predictor import Predictor
from models.system import Aliases
from models.training import TrainedSystem

if TYPE_CHECKING:
    from torch import nn

    from models.aid.network import AIDNetwork
    from models.bases import Protocol
    from models.bases.stable_video_diffusion import MicroConditions, StableVideoDiffusion


class AID(TrainedSystem):
    """Instruction-guided video prediction: a frozen image-to-video model with adapters and a text condition.

    Source: AID (arXiv 2406.06465). It gives no sizes, rates or scales; the defaults are SimDA's (arXiv 2308.09710)
    where they exist. Departures: see the kinds.
    """

    name: ClassVar[str] = "aid"
    family: ClassVar[Family] = STABLE_VIDEO_DIFFUSION
    aliases: ClassVar[tuple[str, ...]] = (
        "AID",
        "Adapting Image2Video Diffusion",
        "instruction-guided video prediction",
    )
    components: ClassVar[tuple[str, ...]] = ("condition", "spatial_adapter", "short_term_adapter", "long_term_adapter")
    continues_clips: ClassVar[bool] = True
    reads_texts: ClassVar[bool] = True
    inside: ClassVar[tuple[str, ...]] = ("states", "condition")
    encoded_by: ClassVar[tuple[str, ...]] = ("states", "fps")
    in_training: ClassVar[tuple[str, ...]] = ("training", "ema", "drop_text", "drop_frame")

    states: Annotated[
        PredictedStates | RepeatedInstruction | FileStates | OracleStates | ShuffledStates | NoStates,
        Field(discriminator="kind"),
        Aliases("predicted states", "MLLM states", "state prediction", "LLaVA states", "video prediction prompting"),
    ] = PredictedStates()
    llava: Annotated[
        str,
        Field(description="Llava that predicts states: a folder or a hub id; empty for the one that the base names"),
        Aliases("MLLM", "LLaVA model", "multimodal language model"),
    ] = ""
    condition: Annotated[
        BothBranches | UpperBranch | LowerBranch | MeanOverFrames | InstructionTokens | NoCondition,
        Field(discriminator="kind"),
        Aliases("MCondition", "DQFormer", "Dual Query Transformer", "text condition"),
    ] = BothBranches()
    injection: Annotated[
        NewCrossAttention | TunedCrossAttention,
        Field(discriminator="kind"),
        Aliases("condition injection", "text cross-attention"),
    ] = NewCrossAttention()
    frame_condition: Annotated[
        GreyBehind | Repeated, Field(discriminator="kind"), Aliases("conditioning video", "initial frame condition")
    ] = GreyBehind()
    spatial_adapter: Annotated[
        SpatialBottleneck | NoAdapter, Field(discriminator="kind"), Aliases("spatial adapter", "S-Adapter")
    ] = SpatialBottleneck()
    short_term_adapter: Annotated[
        DepthwiseShortTerm | DenseShortTerm | NoAdapter,
        Field(discriminator="kind"),
        Aliases("short-term temporal adapter", "short-term adapter", "ST-Adapter"),
    ] = DepthwiseShortTerm()
    long_term_adapter: Annotated[
        FullLongTerm | CausalLongTerm | WindowedLongTerm | NoAdapter,
        Field(discriminator="kind"),
        Aliases("long-term temporal adapter", "long-term adapter", "LT-Adapter"),
    ] = FullLongTerm()
    feed_forward_adapter: Annotated[
        FeedForwardBottleneck | NoAdapter, Field(discriminator="kind"), Aliases("feed-forward adapter", "FFN adapter")
    ] = NoAdapter()
    trainable: Annotated[
        NewParts | WithTemporalBlocks | LowRank | Everything | Untrained,
        Field(discriminator="kind"),
        Aliases("frozen U-Net", "freezing", "fine-tuning strategy", "trainable layers", "adaptation"),
    ] = NewParts()
    guidance: Guidance = DualGuidance()
    drop_text: Annotated[
        float,
        Field(ge=0, le=1, description="fraction of training clips without text; half of them also without frame"),
        Aliases("text dropout", "condition dropout"),
    ] = 0.1
    drop_frame: Annotated[
        float,
        Field(ge=0, le=0.5, description="fraction of training clips without the given frame"),
        Aliases("frame dropout", "image dropout"),
    ] = 0.1
    decoded_together: Annotated[
        int, Field(ge=0, description="frames that the autoencoder decodes together; 0: all, if memory suffices")
    ] = 0
    fps: Annotated[Count, Field(description="frame rate that the denoiser is told")] = 7
    motion: Annotated[int, Field(ge=0, le=255, description="motion that the denoiser is told while sampling")] = 127

    @property
    def given_frames(self) -> int:
        """One image."""
        return 1

    @property
    def further_texts(self) -> tuple[str, ...]:
        """The texts that the states are read from."""
        return self.states.reads

    @property
    def predictor(self) -> Predictor | None:
        """The Llava that predicts the states."""
        return self.states.predictor(self.llava)

    def states_of(self, prompts: Sequence[str], further: Mapping[str, Sequence[str]]) -> list[list[str]]:
        """Return the states of each clip."""
        return self.states.texts(prompts, further) or [[] for _ in prompts]

    def arranged(self, further: Mapping[str, Sequence[str]]) -> Mapping[str, Sequence[str]]:
        """Return the further texts as the states read them, such as shuffled."""
        return self.states.arranged(further)

    def micro(self) -> "MicroConditions":
        """Return the numeric conditions of sampling."""
        from models.bases.stable_video_diffusion import MicroConditions

        return MicroConditions(fps=self.fps, motion=self.motion)

    def network_on_meta(self, networks: "Mapping[str, Any]") -> "nn.Module":
        """Build the adapted denoiser with its condition, without weights."""
        return self._on_meta(networks)

    def _on_meta(self, networks: "Mapping[str, Any]") -> "AIDNetwork":
        import copy

        import torch

        from models.aid.condition import Sizes
        from models.aid.network import build_network

        with torch.device("meta"):
            return build_network(self, copy.deepcopy(networks["unet"]), Sizes.of(networks))

    def denoiser_on_meta(self, networks: "Mapping[str, Any]", protocol: "Protocol") -> MetaDenoiser | None:
        """Build a pass of condition and denoiser."""
        import torch

        from models.bases.stable_video_diffusion import meta_inputs
        from models.bases.text_tower import text_shape

        network = self._on_meta(networks)
        inputs, (width, length) = meta_inputs(networks, protocol), text_shape(networks)
        vision = networks["image_encoder"].config
        tokens = (vision.image_size // vision.patch_size) ** 2 + 1
        number = getattr(self.states, "number", 0)
        with torch.device("meta"):
            texts = {"text": torch.empty(1, length, width), "visual": torch.empty(1, tokens, vision.hidden_size)}
            texts |= {"states": torch.empty(1, number, length, width)} if number else {}

        def denoise_clip() -> Any:
            context = network.context(protocol.frames, **texts)
            sample, beside = inputs["sample"].chunk(2, dim=2)
            return network.predict(
                sample,
                inputs["timestep"],
                image=inputs["encoder_hidden_states"],
                beside=beside,
                micro=inputs["added_time_ids"],
                **context,
            )

        modules = {"unet": network.unet, "condition": network.condition}
        return MetaDenoiser({name: part for name, part in modules.items() if part is not None}, denoise_clip)

    def build(self, base: "StableVideoDiffusion", seed: int = 0) -> TrainedModel:
        """Build the model on a loaded base, whose denoiser is copied."""
        from models.aid.network import AIDModel
        from models.streams import Streams

        return AIDModel(self, base, Streams(seed))
