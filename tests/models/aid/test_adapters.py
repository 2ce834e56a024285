"""Adapters: the identity at first, the frames that each one sees, and its size."""

from collections.abc import Mapping

import pytest
import torch

from models.aid import AID
from models.aid.adapter_kinds import AdapterPart
from models.aid.adapters import Adapter, ShortTermAdapter, causal, windowed
from models.bases import find_base
from models.bases.stable_video_diffusion import StableVideoDiffusion
from models.image_to_video import transformers
from tests.tolerance import bound

FRAMES = 7
SLOTS = ("spatial_adapter", "short_term_adapter", "long_term_adapter", "feed_forward_adapter")
STARTED = {"spatial_adapter": "bottleneck", "feed_forward_adapter": "bottleneck"}


def part(slot: str, changes: Mapping[str, object]) -> AdapterPart:
    found = getattr(AID().edit({slot: changes}), slot)
    assert isinstance(found, AdapterPart)
    return found


def built(slot: str, changes: Mapping[str, object], dim: int = 32) -> Adapter:
    torch.manual_seed(0)
    factory = part(slot, changes).build()
    assert factory is not None
    return factory(dim).double()


def seen(adapter: Adapter, x: torch.Tensor, axis: int, frame: int) -> list[int]:
    """Frames of the input that one frame of the output depends on."""
    x = x.clone().requires_grad_(True)
    (gradient,) = torch.autograd.grad(adapter(x).select(axis, frame).square().sum(), x)
    return [i for i in range(x.shape[axis]) if gradient.select(axis, i).any()]


def noise(*shape: int) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


@pytest.mark.parametrize("kind", ["depthwise", "dense"])
@pytest.mark.parametrize(("kernel", "reach"), [("3x1x1", 1), ("3x3x3", 1), ("5x1x1", 2)])
def test_a_short_term_adapter_sees_neighbours_only(kind: str, kernel: str, reach: int) -> None:
    adapter = built("short_term_adapter", {"kind": kind, "kernel": kernel, "start": "default"})
    for frame in range(FRAMES):
        expected = [i for i in range(FRAMES) if abs(i - frame) <= reach]
        assert seen(adapter, noise(1, 32, FRAMES, 3, 3), 2, frame) == expected


@pytest.mark.parametrize("kind", ["depthwise", "dense"])
def test_a_kernel_over_time_alone_is_the_one_in_three_dimensions(kind: str) -> None:
    """It is computed in two dimensions, which is faster."""
    adapter = built("short_term_adapter", {"kind": kind, "kernel": "5x1x1", "start": "default"})
    assert isinstance(adapter, ShortTermAdapter)
    x = noise(2, adapter.width, FRAMES, 3, 4)
    products = adapter.conv.weight[0].numel()
    size = float(adapter.conv.weight.detach().abs().max()) * float(x.abs().max()) * products
    torch.testing.assert_close(
        adapter._convolved(x), adapter.conv(x), rtol=0, atol=bound(torch.float64, 2 * products, size)
    )


def test_a_kernel_of_one_pixel_sees_one_pixel() -> None:
    def columns(kernel: str) -> list[int]:
        adapter = built("short_term_adapter", {"kind": "depthwise", "kernel": kernel, "start": "default"})
        x = noise(1, 32, 3, 5, 5).requires_grad_(True)
        (gradient,) = torch.autograd.grad(adapter(x)[..., 2, 2].square().sum(), x)
        return [i for i in range(5) if gradient[..., i].any()]

    assert columns("3x1x1") == [2]
    assert columns("3x3x3") == [1, 2, 3]


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"kind": "full"}, lambda i, j: True),
        ({"kind": "causal"}, lambda i, j: j <= i),
        ({"kind": "windowed", "reach": 1}, lambda i, j: abs(i - j) <= 1),
        ({"kind": "windowed", "reach": 2}, lambda i, j: abs(i - j) <= 2),
    ],
    ids=("full", "causal", "windowed-1", "windowed-2"),
)
def test_the_frames_of_a_long_term_adapter(changes: dict[str, object], expected: object) -> None:
    adapter = built("long_term_adapter", {**changes, "start": "default"})
    for frame in range(FRAMES):
        frames = [other for other in range(FRAMES) if expected(frame, other)]  # type: ignore[operator]
        assert seen(adapter, noise(2, FRAMES, 32), 1, frame) == frames


def test_masks() -> None:
    assert causal(3).tolist() == [[True, False, False], [True, True, False], [True, True, True]]
    assert windowed(3, 1).tolist() == [[True, True, False], [True, True, True], [False, True, True]]


SHAPES = {
    "spatial_adapter": (2, 5, 32),
    "short_term_adapter": (1, 32, FRAMES, 3, 3),
    "long_term_adapter": (2, FRAMES, 32),
    "feed_forward_adapter": (2, 5, 32),
}
KINDS = [(slot, kind) for slot in SLOTS for kind in AID.slots()[slot].kinds if kind != "removed"]


@pytest.mark.parametrize(("slot", "kind"), KINDS)
def test_starts(slot: str, kind: str) -> None:
    x = noise(*SHAPES[slot])
    for start, changes_nothing in (("zero", True), ("gate", True), ("default", False)):
        adapter = built(slot, {"kind": kind, "start": start})
        out = adapter(x)
        assert out.shape == x.shape
        assert bool(out.any()) is not changes_nothing, start
        out.sum().backward()
        learns = adapter.up.weight.grad is not None and bool(adapter.up.weight.grad.any())
        gate = adapter.gate is not None and adapter.gate.grad is not None and bool(adapter.gate.grad.any())
        assert learns or gate, "it can leave its start"


@pytest.mark.parametrize("ratio", [0.125, 0.25, 0.5])
def test_a_ratio_is_that_of_the_channels(ratio: float) -> None:
    d = int(32 * ratio)
    spatial = built("spatial_adapter", {"kind": "bottleneck", "ratio": ratio})
    assert sum(weight.numel() for weight in spatial.parameters()) == 2 * 32 * d + d + 32
    short = built("short_term_adapter", {"kind": "depthwise", "ratio": ratio, "kernel": "3x3x3"})
    assert sum(weight.numel() for weight in short.parameters()) == 2 * 32 * d + d + 32 + 27 * d
    dense = built("short_term_adapter", {"kind": "dense", "ratio": ratio})
    assert sum(weight.numel() for weight in dense.parameters()) == 2 * 32 * d + d + 32 + 3 * d * d
    long = built("long_term_adapter", {"kind": "full", "ratio": ratio, "num_heads": 2})
    assert sum(weight.numel() for weight in long.parameters()) == 2 * 32 * d + d + 32 + 3 * d * d


def test_heads_that_do_not_divide_are_refused() -> None:
    with pytest.raises(ValueError, match="3 heads do not divide the 16 channels of the long-term adapter"):
        built("long_term_adapter", {"kind": "full", "num_heads": 3})


@pytest.mark.parametrize("base", ["shapes_video", "stable-video-diffusion-img2vid-xt"])
def test_removing_an_adapter_takes_away_its_parameters_and_no_others(base: str) -> None:
    networks = StableVideoDiffusion.on_meta(AID.find_base(base, "shapes_video"))
    whole = AID().edit({"feed_forward_adapter": "bottleneck"})

    def count(tree: AID) -> int:
        return sum(weight.numel() for weight in tree.network_on_meta(networks).parameters())

    total = count(whole)
    for slot in SLOTS:
        own = getattr(whole, slot).num_parameters(networks)
        assert own > 0
        assert total - count(whole.edit({slot: "removed"})) == own
    condition = whole.condition.num_parameters(networks) + whole.injection.num_parameters(networks)
    assert total - count(whole.edit({"condition": "removed"})) == condition
    assert total - count(whole.edit({"injection": "tuned"})) == whole.injection.num_parameters(networks)


def test_at_full_size_each_transformer_has_one_adapter_of_a_kind() -> None:
    networks = StableVideoDiffusion.on_meta(find_base("stable-video-diffusion-img2vid-xt", AID.family))
    dims = [module.inner_dim for module in transformers(networks["unet"])]
    assert len(dims) == 16
    own = AID().spatial_adapter.num_parameters(networks)
    assert own == sum(2 * c * (c // 4) + c // 4 + c for c in dims)
