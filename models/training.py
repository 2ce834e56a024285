"""How a system is trained: one more part of its tree, which a study can move, search and compare like any other."""

from abc import abstractmethod
from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from pydantic import Field

from models.contracts import TrainedModel
from models.system import Part, System

if TYPE_CHECKING:
    from torch import nn

Count = Annotated[int, Field(ge=1)]
Momentum = Annotated[float, Field(ge=0, lt=1)]


class AdamW(Part):
    """AdamW on a cosine after a warm-up.

    Args:
        steps: Updates of the weights.
        global_batch_size: Clips per update, over all workers.
        lr: Highest learning rate.
        warm_up: Share of the steps over which it rises from 0.
        weight_decay: Decoupled.
        beta1: Decay of the gradients' moving mean.
        beta2: Decay of their squares'.
        eps: Added to the root of the squares.
        max_grad_norm: Larger gradients are scaled to this norm; 0 is no limit.
        ema: Decay of the moving average of weights that clips are drawn with; 0 draws with the last weights.
        clips: Training clips at most; 0 is all there are.

    Source: Seer's defaults (lr 1.28e-5 x 8 clips, warm-up 10,000 of 200,000 steps).
    """

    kind: Literal["adamw"] = "adamw"
    steps: Count = 200_000
    global_batch_size: Count = 8
    lr: Annotated[float, Field(gt=0)] = 1.024e-4
    warm_up: Annotated[float, Field(ge=0, lt=1, description="a share of the steps")] = 0.05
    weight_decay: Annotated[float, Field(ge=0)] = 1e-2
    beta1: Momentum = 0.9
    beta2: Momentum = 0.999
    eps: Annotated[float, Field(gt=0)] = 1e-8
    max_grad_norm: Annotated[float, Field(ge=0, description="0 is no limit")] = 0.3
    ema: Annotated[float, Field(ge=0, lt=1, description="0 draws with the last weights")] = 0.0
    clips: Annotated[int, Field(ge=0, description="0 is all there are")] = 0

    @property
    def warm_up_steps(self) -> int:
        """Updates over which the learning rate rises."""
        return round(self.warm_up * self.steps)


class TrainedSystem(System):
    """A system of which something is trained before it draws; all its arms by the same training unless they say so."""

    is_trained: ClassVar[bool] = True
    encoded_by: ClassVar[tuple[str, ...]] = ()
    """Slots and values that ``TrainedModel.encode`` depends on; arms that differ in others share what is encoded."""

    training: AdamW = AdamW()

    @abstractmethod
    def network_on_meta(self, networks: Mapping[str, Any]) -> "nn.Module":
        """What would be trained, on the meta device; what of it is trained requires a gradient.

        Args:
            networks: The base's, by name, on the meta device.
        """

    @abstractmethod
    def build(self, base: Any, seed: int = 0) -> TrainedModel:
        """Make the model that this tree describes on a loaded base, which stays as it is."""
