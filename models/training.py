"""Training settings of a system: a part of its tree that a study can vary, search and compare like any other."""

from abc import abstractmethod
from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from pydantic import Field

from models.bases import Count
from models.contracts import TrainedModel
from models.system import Aliases, Part, System

if TYPE_CHECKING:
    from torch import nn

ClipOver = Literal["all", "unet"]
Momentum = Annotated[float, Field(ge=0, lt=1)]


class AdamW(Part):
    """AdamW with a warm-up, then cosine decay or a constant learning rate.

    Args:
        steps: Optimizer updates.
        global_batch_size: Clips per update, over all workers.
        lr: Highest learning rate.
        warm_up: Fraction of the steps over which the learning rate rises from 0.
        lr_scheduler: After the warm-up: ``cosine`` decays to 0 at the last step, ``constant_with_warmup`` stays.
        weight_decay: Decoupled weight decay.
        beta1: Decay of the moving mean of the gradients.
        beta2: Decay of the moving mean of the squared gradients.
        eps: Added to the root of the mean square.
        max_grad_norm: Gradients are clipped to this norm; 0 turns clipping off.
        clip_over: Parameters whose gradients are clipped, by their common norm: all that are trained, or only those of
            the denoiser (``unet`` in the trained network).
        clips: Largest number of training clips; 0 uses all clips.

    Source: Seer's defaults (lr 1.28e-5 x 8 clips, warm-up 10,000 of 200,000 steps).
    """

    kind: Literal["adamw"] = "adamw"
    steps: Count = 200_000
    global_batch_size: Count = 8
    lr: Annotated[float, Field(gt=0)] = 1.024e-4
    warm_up: Annotated[float, Field(ge=0, lt=1, description="fraction of the steps")] = 0.05
    lr_scheduler: Literal["cosine", "constant_with_warmup"] = "cosine"
    weight_decay: Annotated[float, Field(ge=0)] = 1e-2
    beta1: Momentum = 0.9
    beta2: Momentum = 0.999
    eps: Annotated[float, Field(gt=0)] = 1e-8
    max_grad_norm: Annotated[float, Field(ge=0, description="0 turns gradient clipping off")] = 0.3
    clip_over: Annotated[
        ClipOver, Field(description="trained parameters that are clipped, by their common norm; unet is the denoiser")
    ] = "all"
    clips: Annotated[int, Field(ge=0, description="0 uses all training clips")] = 0

    @property
    def warm_up_steps(self) -> int:
        """Updates over which the learning rate rises."""
        return round(self.warm_up * self.steps)


class MovingAverage(Part):
    """Moving average of the trained weights, which are then sampled with.

    a <- w at first,   a <- decay a + (1 - decay) w   after every interval
    """

    @abstractmethod
    def build(self, updates_per_epoch: int) -> tuple[int, float] | None:
        """Return the updates between two steps of the average, and its decay; None for no average."""


class EveryUpdate(MovingAverage):
    """Moving average over the updates.

    Args:
        decay: Weight of the earlier average.
    """

    aliases: ClassVar[tuple[str, ...]] = ("per-step EMA", "exponential moving average")

    kind: Literal["updates"] = "updates"
    decay: Momentum = 0.999

    def build(self, updates_per_epoch: int) -> tuple[int, float] | None:
        """Return the interval and the decay."""
        return 1, self.decay


class EveryEpoch(MovingAverage):
    """Moving average over the weights at the ends of epochs; the last weights where no epoch ended.

    Args:
        decay: Weight of the earlier average.

    Source: ExVideo (arXiv 2406.14130), its released code.
    """

    aliases: ClassVar[tuple[str, ...]] = ("per-epoch EMA",)

    kind: Literal["epochs"] = "epochs"
    decay: Momentum = 0.9

    def build(self, updates_per_epoch: int) -> tuple[int, float] | None:
        """Return the interval and the decay."""
        return updates_per_epoch, self.decay


class NoAverage(MovingAverage):
    """Removed: the last weights."""

    kind: Literal["removed"] = "removed"

    def build(self, updates_per_epoch: int) -> tuple[int, float] | None:
        """Return None."""
        return None


Ema = Annotated[
    EveryUpdate | EveryEpoch | NoAverage,
    Field(discriminator="kind"),
    Aliases("EMA", "moving average", "exponential moving average"),
]
"""Type of the slot ``ema``."""


class TrainedSystem(System):
    """A system that is trained before it samples; arms share the training settings unless they change them."""

    is_trained: ClassVar[bool] = True
    encoded_by: ClassVar[tuple[str, ...]] = ()
    """Slots and values that ``TrainedModel.encode`` depends on; arms that differ only in others share its output."""

    in_training: ClassVar[tuple[str, ...]] = ("training", "ema")

    training: AdamW = AdamW()
    ema: Ema = NoAverage()

    @abstractmethod
    def network_on_meta(self, networks: Mapping[str, Any]) -> "nn.Module":
        """Build the trained network on the meta device; parameters that are trained require a gradient.

        Args:
            networks: Networks of the base by name, on the meta device.
        """

    @abstractmethod
    def build(self, base: Any, seed: int = 0) -> TrainedModel:
        """Build the model that this tree describes on a loaded base, without changing the base."""
