"""Low-rank adapters as a choice of what is trained, with peft."""

from abc import abstractmethod
from collections.abc import Iterable
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, Protocol

from pydantic import Field

from models.bases import Count
from models.system import Aliases, Part

if TYPE_CHECKING:
    from torch import nn


class Adaptable(Protocol):
    """A network with new parts, and pretrained modules that adapters can be added to."""

    def new_parameters(self) -> "Iterable[nn.Parameter]":
        """Return the parameters that the system adds to the base."""
        ...

    def adaptable(self) -> "Iterable[nn.Module]":
        """Return the pretrained modules in which low-rank adapters may be injected."""
        ...


class Trainable(Part):
    """Weights that are trained."""

    @abstractmethod
    def build(self, network: Any) -> "Iterable[nn.Parameter]":
        """Return the parameters to train; a kind may add some to the network first."""


class LowRank(Trainable):
    """New parts whole, and low-rank adapters on pretrained attention.

        W' x = W x + (alpha / rank) B A x,   A (rank d_in) random, B (d_out rank) = 0 at first

    Args:
        rank: Rank of the adapters.
        alpha: Scale of the adapters, divided by the rank.
        targets: Names of the linear layers that get adapters, or their last parts.

    Source: LoRA (arXiv 2106.09685), as in peft.
    """

    aliases: ClassVar[tuple[str, ...]] = ("low-rank adaptation", "LoRA")

    kind: Literal["low_rank"] = "low_rank"
    rank: Annotated[Count, Aliases("LoRA rank")] = 16
    alpha: Annotated[Count, Field(description="scale of the adapters, divided by the rank")] = 16
    targets: Annotated[
        list[Annotated[str, Field(min_length=1)]],
        Field(min_length=1, description="linear layers, by name or its last part"),
        Aliases("target modules"),
    ] = ["to_q", "to_k", "to_v", "to_out.0"]

    def build(self, network: Adaptable) -> "Iterable[nn.Parameter]":
        """Inject the adapters; return them with the new parts.

        Raises:
            ValueError: A target is not the name of a linear layer.
        """
        from peft import LoraConfig, inject_adapter_in_model

        modules = list(network.adaptable())
        self._check_targets(modules)
        config = LoraConfig(r=self.rank, lora_alpha=self.alpha, target_modules=self.targets, bias="none")
        adapters = []
        for module in modules:
            inject_adapter_in_model(config, module)
            adapters += [weight for name, weight in module.named_parameters() if ".lora_" in name]
        return [*network.new_parameters(), *adapters]

    def _check_targets(self, modules: "Iterable[nn.Module]") -> None:
        """Check that each target names a linear layer in every module."""
        from torch import nn

        linear = [
            {name for name, layer in module.named_modules() if isinstance(layer, nn.Linear)} for module in modules
        ]
        for target in self.targets:
            if not all(any(f".{name}".endswith(f".{target}") for name in names) for names in linear):
                known = sorted({".".join(name.split(".")[-2:]) for names in linear for name in names})
                raise ValueError(f"trainable.targets: {target} -> linear layers: {', '.join(known)}")


def adapters_of(network: "nn.Module") -> dict[str, "nn.Module"]:
    """Return the adapters' first factors by name: their weights are random, those of the second are zero."""
    return {name: module for name, module in network.named_modules() if ".lora_A." in name}
