"""Low-rank adapters on any trained system: closed form, start, what is trained, targets that do not exist."""

from typing import cast

import pytest
import torch
from torch import nn

from models.bases.stable_video_diffusion import StableVideoDiffusion
from models.contracts import TrainedModel
from models.exvideo import ExVideo
from models.low_rank import LowRank, adapters_of
from models.seer import Seer
from models.training import TrainedSystem


class Network(nn.Module):
    """Two layers that may get adapters, and a new one."""

    def __init__(self) -> None:
        super().__init__()
        self.pretrained = nn.ModuleDict({"to_q": nn.Linear(6, 4), "to_k": nn.Linear(6, 4)})
        self.new = nn.Linear(4, 2)

    def new_parameters(self) -> list[nn.Parameter]:
        """The new layer's."""
        return list(self.new.parameters())

    def adaptable(self) -> list[nn.Module]:
        """The pretrained layers."""
        return [self.pretrained]


def test_an_adapter_adds_a_product_of_two_factors() -> None:
    torch.manual_seed(0)
    network, x = Network().double(), torch.randn(3, 6, dtype=torch.float64)
    before = network.pretrained["to_q"](x), network.pretrained["to_k"](x)
    trained = list(LowRank(rank=2, alpha=6, targets=["to_q"]).build(network))
    assert torch.equal(network.pretrained["to_q"](x), before[0]), "the second factor is zero"
    adapters = {name: weight for name, weight in network.named_parameters() if ".lora_" in name}
    assert {name.split(".lora_")[0] for name in adapters} == {"pretrained.to_q"}
    (first,) = (weight for name, weight in adapters.items() if ".lora_A." in name)
    (second,) = (weight for name, weight in adapters.items() if ".lora_B." in name)
    assert (first.shape, second.shape) == ((2, 6), (4, 2))
    assert {id(weight) for weight in trained} == {id(w) for w in (*network.new.parameters(), first, second)}
    nn.init.normal_(second)
    torch.testing.assert_close(network.pretrained["to_q"](x), before[0] + 6 / 2 * x @ first.T.to(x) @ second.T.to(x))
    assert torch.equal(network.pretrained["to_k"](x), before[1])
    assert list(adapters_of(network)) == ["pretrained.to_q.lora_A.default"]


@pytest.mark.parametrize("target", ["to_x", "to", "q", "pretrained.to_q"])
def test_a_target_that_names_no_layer_is_refused(target: str) -> None:
    with pytest.raises(ValueError, match=rf"trainable.targets: {target} -> linear layers: to_k, to_q"):
        LowRank(targets=["to_k", target]).build(Network())


SYSTEMS = pytest.mark.parametrize("system", [Seer, ExVideo])


def built(system: type[TrainedSystem], tiny_base: object, **values: object) -> TrainedModel:
    base = tiny_base if system is Seer else StableVideoDiffusion.tiny()
    return system().edit({"trainable": {"kind": "low_rank", **values}}).build(base, 5)


@SYSTEMS
def test_rank_and_targets_decide_how_much_is_trained(system: type[TrainedSystem], tiny_base: object) -> None:
    def sizes(**values: object) -> dict[str, int]:
        named = built(system, tiny_base, **values).network.named_parameters()
        return {name: weight.numel() for name, weight in named if weight.requires_grad and ".lora_" in name}

    four, eight = sizes(rank=4), sizes(rank=8)
    assert four.keys() == eight.keys()
    assert 2 * sum(four.values()) == sum(eight.values())
    queries = sizes(rank=4, targets=["to_q"])
    assert queries == {name: size for name, size in four.items() if ".to_q." in name}


@SYSTEMS
def test_only_new_parts_and_adapters_are_trained(system: type[TrainedSystem], tiny_base: object) -> None:
    network = cast(nn.Module, built(system, tiny_base).network)
    trained = {name for name, weight in network.named_parameters() if weight.requires_grad}
    new = {id(weight) for weight in network.new_parameters()}  # type: ignore[operator]
    assert {name for name, w in network.named_parameters() if id(w) in new or ".lora_" in name} == trained
    assert any(".lora_" in name for name in trained)


@SYSTEMS
def test_adapters_belong_to_the_seed(system: type[TrainedSystem], tiny_base: object) -> None:
    one, same = (
        {name: w.detach() for name, w in built(system, tiny_base).network.named_parameters() if ".lora_A." in name}
        for _ in range(2)
    )
    assert one
    assert all(torch.equal(one[name], same[name]) for name in one)
    assert all(weight.any() for weight in one.values())
