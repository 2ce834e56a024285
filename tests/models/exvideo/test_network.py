"""The extended network: invariants at the start, the loss in closed form, what is trained, long clips by windows."""

import copy
from collections.abc import Mapping
from typing import Any

import pytest
import torch

from models.bases import Protocol, find_base
from models.bases.stable_video_diffusion import StableVideoDiffusion, motion_buckets, motion_of
from models.contracts import Clips, Tensors
from models.exvideo import ExVideo
from models.exvideo.network import ExtendedNetwork, ExVideoModel, build_network, sliding_windows
from models.image_to_video import noise_levels, transformers
from models.streams import Draws, Streams

PROTOCOL = Protocol(clips=2, frames=6, steps=2, guidance=2.0, height=32, width=32)
EPS = torch.finfo(torch.float64).eps


@pytest.fixture(scope="module")
def base() -> StableVideoDiffusion:
    """Random and tiny, made for 8 frames."""
    return StableVideoDiffusion.tiny()


def clips(frames: int = 6, height: int = 32, width: int = 32) -> Clips:
    rng = torch.Generator().manual_seed(3)
    return Clips(torch.rand(2, frames, 3, height, width, generator=rng) * 2 - 1, ["a", "b"])


def given() -> torch.Tensor:
    return clips().video[:, :1]


def built(base: StableVideoDiffusion, changes: Mapping[str, object] | None = None, seed: int = 5) -> ExVideoModel:
    model = ExVideo().edit(changes or {}).build(base, seed)
    assert isinstance(model, ExVideoModel)
    return model


def batch(model: ExVideoModel, frames: int = 6) -> Tensors:
    return model.batch(model.encode(clips(frames)), Draws(Streams(5), range(2)))


# ------------------------------------------------------------------------------------------------- before it is trained


@pytest.mark.parametrize("frames", [6, 8])
@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"identity_conv": "temporal"},
        {"identity_conv": "depthwise"},
        {"identity_conv": "residual"},
        {"identity_conv": "frozen"},
        {"identity_conv": "removed"},
        {"position": "static"},
        {"position.start": "modulo"},
        {"position.start": "clamp"},
        {"trainable": "low_rank"},
        {"trainable": "removed"},
    ],
    ids=str,
)
def test_up_to_its_own_length_it_is_the_base_exactly(
    changes: Mapping[str, object], frames: int, base: StableVideoDiffusion
) -> None:
    protocol = PROTOCOL.model_copy(update={"frames": frames})
    extended = built(base, {**changes, "guidance": "rising"}).sample(["a", "b"], Streams(1), protocol, given()).video
    untouched = ExVideo().edit({"extension": "removed", "guidance": "rising"}).build(base)
    assert torch.equal(extended, untouched.sample(["a", "b"], Streams(1), protocol, given()).video)


OTHER_STARTS = (
    {"identity_conv.start": "random"},
    {"position": "removed"},
    {"position": "rotary"},
    {"position.start": "random"},
)


@pytest.mark.parametrize("changes", OTHER_STARTS, ids=str)
def test_other_starts_are_not_the_base(changes: Mapping[str, object], base: StableVideoDiffusion) -> None:
    changed = built(base, changes).sample(["a", "b"], Streams(1), PROTOCOL, given()).video
    assert not torch.equal(changed, built(base).sample(["a", "b"], Streams(1), PROTOCOL, given()).video)


def test_beyond_its_own_length_static_and_mirrored_places_differ_from_the_base(base: StableVideoDiffusion) -> None:
    protocol = PROTOCOL.model_copy(update={"frames": 12})

    def sampled(changes: Mapping[str, object]) -> torch.Tensor:
        return ExVideo().edit(changes).build(base, 5).sample(["a", "b"], Streams(1), protocol, given()).video

    untouched, learnable = sampled({"extension": "removed"}), sampled({})
    assert torch.equal(sampled({"position": "static"}), untouched)
    assert torch.equal(sampled({"position": {"kind": "static", "places": "mirrored"}}), learnable)
    assert not torch.equal(learnable, untouched)


def test_new_weights_belong_to_the_seed_and_not_to_the_arm(base: StableVideoDiffusion) -> None:
    def weights(changes: Mapping[str, object], seed: int = 5) -> dict[str, torch.Tensor]:
        return {name: weight.detach() for name, weight in built(base, changes, seed).network.named_parameters()}

    one = weights({"identity_conv.start": "random"})
    other = weights({"identity_conv.start": "random", "position": "removed"})
    convolutions = [name for name in one if "position_conv" in name]
    assert convolutions
    assert all(torch.equal(one[name], other[name]) for name in convolutions)
    assert any(not torch.equal(one[name], weights({"identity_conv.start": "random"}, 6)[name]) for name in convolutions)


def test_the_base_is_not_changed(base: StableVideoDiffusion) -> None:
    before = copy.deepcopy(base.unet.state_dict())
    modules = [name for name, _ in base.unet.named_modules()]
    model = built(base, {"position": "rotary"})
    model.network(**batch(model)).backward()
    assert [name for name, _ in base.unet.named_modules()] == modules
    assert all(torch.equal(before[name], weight) for name, weight in base.unet.state_dict().items())


# ----------------------------------------------------------------------------------------------------------------- loss


class _Fixed(torch.nn.Module):
    """Stands in for the denoiser: predicts what it is told."""

    def __init__(self, predicted: torch.Tensor) -> None:
        super().__init__()
        self.predicted = predicted
        self.weight = torch.nn.Parameter(torch.zeros((), dtype=predicted.dtype))

    def forward(
        self, sample: torch.Tensor, time: torch.Tensor, image: torch.Tensor, **_: object
    ) -> tuple[torch.Tensor]:
        self.seen, self.time = sample, time
        return (self.predicted,)


def loss_of(predicted: torch.Tensor, inputs: Tensors, contrast: float = 1.01) -> tuple[float, _Fixed]:
    denoiser = _Fixed(predicted)
    return float(ExtendedNetwork(denoiser, contrast)(**inputs)), denoiser  # type: ignore[arg-type]


@pytest.fixture
def inputs() -> dict[str, torch.Tensor]:
    rng = torch.Generator().manual_seed(0)
    shape = (2, 3, 4, 2, 2)
    latents, noise = (torch.randn(shape, generator=rng, dtype=torch.float64) for _ in range(2))
    some = {"image": torch.zeros(2, 1, 8), "beside": torch.zeros(shape), "micro": torch.zeros(2, 3)}
    return {"latents": latents, "noise": noise, "sigma": torch.tensor([0.3, 20.0], dtype=torch.float64), **some}


def test_the_loss_is_that_of_the_released_code(inputs: dict[str, torch.Tensor]) -> None:
    predicted = torch.randn(inputs["latents"].shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    found, denoiser = loss_of(predicted, inputs)
    parts = []
    for x, n, s, f in zip(inputs["latents"], inputs["noise"], inputs["sigma"], predicted.float().double(), strict=True):
        noisy = x + s * n
        denoised = noisy / (s**2 + 1) - s / (s**2 + 1).sqrt() * f
        parts.append(((denoised - 1.01 * x) ** 2).mean() * (1 + s**2).sqrt() / s)
    assert found == pytest.approx(float(sum(parts) / 2), rel=1e-6)
    torch.testing.assert_close(denoiser.time, inputs["sigma"].log() / 4)
    scaled = (inputs["latents"] + inputs["sigma"].view(-1, 1, 1, 1, 1) * inputs["noise"]) / (
        inputs["sigma"].view(-1, 1, 1, 1, 1) ** 2 + 1
    ).sqrt()
    torch.testing.assert_close(denoiser.seen[:, :, :4], scaled)


def test_an_exact_denoiser_has_no_loss_and_is_what_the_sampler_takes(
    inputs: dict[str, torch.Tensor], base: StableVideoDiffusion
) -> None:
    s = inputs["sigma"].view(-1, 1, 1, 1, 1)
    exact = (inputs["noise"] - s * inputs["latents"]) / (s**2 + 1).sqrt()  # v at 1 / sqrt(s^2 + 1), s / sqrt(s^2 + 1)
    found, _ = loss_of(exact, inputs, contrast=1.0)
    assert found < 1e-10
    scheduler = copy.deepcopy(base.noise_scheduler)
    scheduler.set_timesteps(10)
    sigma = scheduler.sigmas[3]
    x, n = inputs["latents"].float(), inputs["noise"].float()
    v = (n - sigma * x) / (sigma**2 + 1) ** 0.5
    step = scheduler.step(v, scheduler.timesteps[3], x + sigma * n)
    torch.testing.assert_close(step.pred_original_sample, x, rtol=0, atol=1e-3)


def test_contrast_scales_the_target(inputs: dict[str, torch.Tensor]) -> None:
    s = inputs["sigma"].view(-1, 1, 1, 1, 1)
    exact = (inputs["noise"] - s * inputs["latents"]) / (s**2 + 1).sqrt()
    found, _ = loss_of(exact, inputs, contrast=1.5)
    weights = (inputs["sigma"] ** 2 + 1).sqrt() / inputs["sigma"]
    expected = (weights * inputs["latents"].square().mean(dim=(1, 2, 3, 4)) * 0.25).mean()
    assert found == pytest.approx(float(expected), rel=1e-5)


def test_noise_levels_are_karras_grid_of_the_base(base: StableVideoDiffusion) -> None:
    levels = noise_levels(base.noise_scheduler)
    assert len(levels) == 1000
    assert [float(levels[0]), float(levels[-1])] == pytest.approx([700, 0.002], rel=1e-6)
    assert float(levels.median()) == pytest.approx(15.5, abs=0.1), "as measured of the released code"
    assert float((levels > 10).double().mean()) == pytest.approx(0.54, abs=0.005)
    scheduler = copy.deepcopy(base.noise_scheduler)
    scheduler.set_timesteps(1000)
    torch.testing.assert_close(scheduler.sigmas[:-1], levels, rtol=1e-4, atol=0)


def test_a_batch_is_the_same_for_every_arm_and_has_the_base_s_conditions(base: StableVideoDiffusion) -> None:
    model, other = built(base), built(base, {"identity_conv": "removed", "trainable": "all"})
    one, two = batch(model), batch(other)
    assert all(torch.equal(one[name], two[name]) for name in one)
    encoded = model.encode(clips())
    conditions = base.conditions(clips().video[:, 0], Streams(0), 6, ExVideo().micro())["conditional"]
    torch.testing.assert_close(one["image"], conditions["image"])
    assert one["micro"][:, 0].tolist() == [29.0, 29.0]
    assert one["micro"][:, 2].tolist() == [0.0, 0.0], "no augmentation in training"
    assert torch.equal(one["beside"], encoded["beside"][:, None].expand(-1, 6, -1, -1, -1))
    scaled = batch(built(base, {"latent_scale": 0.5}))
    assert torch.equal(scaled["latents"], 0.5 * one["latents"])
    assert torch.equal(scaled["beside"], one["beside"]), "the condition is not scaled"


def test_encodings_depend_on_the_frame_rate_that_is_told(base: StableVideoDiffusion) -> None:
    """So arms with another one do not share them."""
    one, other = (built(base, {"fps": fps}).encode(clips()) for fps in (7, 30))
    assert {name for name in one if not torch.equal(one[name], other[name])} == {"micro"}
    assert ExVideo.encoded_by == ("fps",)


def test_the_motion_that_is_told(base: StableVideoDiffusion) -> None:
    still = torch.zeros(2, 3, 4, 4)
    blinking = torch.stack([still[0] - 1, still[0] + 1])  # 0 and 1: a deviation of 0.5
    motions = motion_of(torch.stack([still, 0.1 * blinking, blinking]))
    assert motions.tolist() == pytest.approx([0, 0.05, 0.5])
    assert motion_buckets(motions, base.clear_motion).tolist() == [
        0,
        round(127 * 0.05 / 0.4409),
        round(127 * 0.5 / 0.4409),
    ]
    assert motion_buckets(motions, 0.05).tolist() == [0, 127, 255]


# -------------------------------------------------------------------------------------------------------------- trained


def trained(base: StableVideoDiffusion, changes: Mapping[str, object]) -> set[str]:
    named = built(base, changes).network.named_parameters()
    return {name for name, weight in named if weight.requires_grad}


def test_the_method_trains_temporal_blocks_only(base: StableVideoDiffusion) -> None:
    names = trained(base, {})
    places = (".temporal_transformer_blocks.", ".time_pos_embed.", ".time_proj.", ".position_conv.")
    assert all(any(place in name for place in places) for name in names)
    everything = {name for name, _ in built(base).network.named_parameters()}
    assert names == {name for name in everything if any(place in name for place in places)}
    for place in places:
        assert any(place in name for name in names)


def test_the_other_choices(base: StableVideoDiffusion) -> None:
    method = trained(base, {})
    new = trained(base, {"trainable": "extension_only"})
    assert new == {name for name in method if ".time_proj." in name or ".position_conv." in name}
    convolutions = trained(base, {"trainable": "with_temporal_convolutions"}) - method
    assert convolutions
    assert all(".temporal_res_block." in name for name in convolutions)
    assert trained(base, {"trainable": "removed"}) == set()
    assert trained(base, {"trainable": "all"}) > method
    frozen = trained(base, {"identity_conv": "frozen"})
    assert frozen == method - {name for name in method if ".position_conv." in name}
    assert trained(base, {"position": "static"}) == {name for name in method if ".time_proj." not in name}
    adapters = trained(base, {"trainable": "low_rank"})
    assert adapters - new == {name for name in adapters if ".lora_" in name}
    assert {name.split(".lora_")[0].rsplit(".attn", 1)[1][2:] for name in adapters - new} == {
        "to_q", "to_k", "to_v", "to_out.0",
    }  # fmt: skip


@pytest.mark.parametrize("guided", [True, False])
def test_removed_and_frozen_convolutions_have_the_same_losses(guided: bool, base: StableVideoDiffusion) -> None:
    losses: dict[str, list[float]] = {}
    for kind in ("removed", "frozen"):
        model = built(base, {"identity_conv": kind, "trainable": "temporal_blocks" if guided else "all"})
        weights = [weight for weight in model.network.parameters() if weight.requires_grad]
        optimizer = torch.optim.SGD(weights, lr=0.05)
        inputs, losses[kind] = batch(model), []
        for _ in range(4):
            loss = model.network(**inputs)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            losses[kind].append(float(loss.detach()))
    assert losses["frozen"] == pytest.approx(losses["removed"], rel=1e-5)
    assert losses["removed"][-1] < losses["removed"][0]


def test_trained_weights_are_loaded_by_name(base: StableVideoDiffusion) -> None:
    model = built(base)
    weights = {
        name: torch.full_like(weight, 0.01) for name, weight in model.network.named_parameters() if name in model.learnt
    }
    model.load(weights)
    assert all(
        torch.equal(weights[name], weight) for name, weight in model.network.named_parameters() if name in weights
    )
    with pytest.raises(ValueError, match="1 names differ"):
        model.load(dict(list(weights.items())[1:]))


# ---------------------------------------------------------------------------------------------------------- full size


def test_at_full_size_convolutions_and_tables_have_the_published_parameters() -> None:
    ref = find_base("stable-video-diffusion-img2vid-xt", ExVideo.family)
    networks = StableVideoDiffusion.on_meta(ref)
    tree = ExVideo()
    assert len(transformers(networks["unet"])) == 16
    assert tree.identity_conv.num_parameters(networks) == 334_553_280
    assert tree.position.num_parameters(networks) == 1_597_440
    network = tree.network_on_meta(networks)
    total = sum(weight.numel() for weight in network.parameters() if weight.requires_grad)
    assert total == pytest.approx(833e6, rel=1e-3), "as measured of the released code"
    for kind in ("removed", "sliding_windows"):
        untrained = tree.edit({"extension": kind}).network_on_meta(networks)
        assert not any(weight.requires_grad for weight in untrained.parameters())
        assert sum(weight.numel() for weight in untrained.parameters()) == 1_524_623_082
    with torch.device("meta"):
        assert build_network(tree.edit({"identity_conv": "removed"}), copy.deepcopy(networks["unet"]))


# -------------------------------------------------------------------------------------------------------------- windows


def test_windows_of_a_denoiser_of_single_frames_change_nothing() -> None:
    def per_frame(latents: torch.Tensor, time: torch.Tensor, beside: torch.Tensor) -> torch.Tensor:
        return 2 * latents + beside

    rng = torch.Generator().manual_seed(0)
    latents, beside = (torch.randn(2, 11, 1, 2, 2, generator=rng) for _ in range(2))
    for stride in (1, 2, 5):
        out = sliding_windows(per_frame, 5, stride)(latents, torch.tensor(1.0), beside=beside)
        torch.testing.assert_close(out, 2 * latents + beside)


def test_windows_are_blended_by_ramps() -> None:
    calls: list[torch.Tensor] = []

    def numbered(latents: torch.Tensor, time: torch.Tensor, beside: torch.Tensor) -> torch.Tensor:
        calls.append(latents[0, :, 0, 0, 0])
        return torch.full_like(latents, float(len(calls)))

    frames = torch.arange(7.0).view(1, 7, 1, 1, 1)
    out = sliding_windows(numbered, 4, 2)(frames, torch.tensor(1.0), beside=frames).flatten()
    assert [call.tolist() for call in calls] == [[0, 1, 2, 3], [2, 3, 4, 5], [3, 4, 5, 6]]
    ramp = [1, 2, 2, 1]
    expected = []
    for i in range(7):
        weights = {k: ramp[i - start] for k, start in enumerate((0, 2, 3), 1) if 0 <= i - start < 4}
        expected.append(sum(k * weight for k, weight in weights.items()) / sum(weights.values()))
    assert out.tolist() == pytest.approx(expected)


def test_a_clip_of_one_window_is_the_base_itself(base: StableVideoDiffusion) -> None:
    windows, untouched = (
        ExVideo().edit({"extension": kind}).build(base).sample(["a", "b"], Streams(1), PROTOCOL, given()).video
        for kind in ("sliding_windows", "removed")
    )
    assert torch.equal(windows, untouched)


def test_a_still_clip_is_the_given_frame(base: StableVideoDiffusion) -> None:
    video = ExVideo().edit({"extension": "still"}).build(base).sample(["a", "b"], Streams(1), PROTOCOL, given()).video
    assert torch.equal(video, given()[:, -1:].expand(-1, PROTOCOL.frames, -1, -1, -1))


def test_frames_that_are_not_square(base: StableVideoDiffusion) -> None:
    model = built(base, {"identity_conv.start": "random"})
    protocol = PROTOCOL.model_copy(update={"height": 32, "width": 64})
    wide = torch.rand(2, 1, 3, 32, 64, generator=torch.Generator().manual_seed(0)) * 2 - 1
    assert model.sample(["a", "b"], Streams(1), protocol, wide).video.shape == (2, 6, 3, 32, 64)


@pytest.mark.parametrize(
    ("together", "frames", "smaller"), [(0, 12, 8), (0, 6, 3), (5, 12, 2), (1, 12, 1)], ids=lambda value: str(value)
)
def test_a_clip_too_long_to_decode_says_what_would_fit(
    together: int, frames: int, smaller: int, base: StableVideoDiffusion, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The tiny base has 8 frames."""

    def full(*rest: Any, **more: Any) -> Any:
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(base.vae, "decode", full)
    model = ExVideo(decoded_together=together).build(base)
    protocol = Protocol(clips=1, frames=frames, steps=1, guidance=1.0, height=32, width=32)
    with pytest.raises(
        MemoryError, match=rf"decoding {together or frames} frames .* \{{decoded_together: {smaller}\}}"
    ):
        model.sample(["a"], Streams(0), protocol, torch.zeros(1, 1, 3, 32, 32))


def test_other_errors_of_decoding_stay_what_they_are(
    base: StableVideoDiffusion, monkeypatch: pytest.MonkeyPatch
) -> None:
    def wrong(*rest: Any, **more: Any) -> Any:
        raise RuntimeError("shapes differ")

    monkeypatch.setattr(base.vae, "decode", wrong)
    protocol = Protocol(clips=1, frames=2, steps=1, guidance=1.0, height=32, width=32)
    with pytest.raises(RuntimeError, match="shapes differ"):
        ExVideo().build(base).sample(["a"], Streams(0), protocol, torch.zeros(1, 1, 3, 32, 32))
