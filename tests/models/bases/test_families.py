"""Requirements on every family of bases."""

import dataclasses
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from models.backbones import Base, load_base, networks_on_meta, num_parameters
from models.bases import Protocol, bases_of, find_base, missing_files, read_card
from models.bases.families import FAMILIES, STABLE_DIFFUSION, STABLE_VIDEO_DIFFUSION, Family
from models.streams import Streams
from models.system import NonFiniteError
from tests.tolerance import in_float64, network_bound, widened

PROTOCOL = Protocol(clips=2, frames=3, steps=2, guidance=2.0, height=32, width=48)
PROMPTS = ["a red circle moves right", "a blue square"]
PUBLISHED = {
    "stable-diffusion-v1-5": {"unet": 859_520_964, "vae": 83_653_863, "text_encoder": 123_060_480},
    "stable-video-diffusion-img2vid-xt": {"unet": 1_524_623_082, "vae": 97_742_847, "image_encoder": 632_076_800},
}

families = pytest.mark.parametrize("family", FAMILIES.values(), ids=FAMILIES)
every_network = pytest.mark.parametrize(
    ("family", "network"), [(family, name) for family in FAMILIES.values() for name in family.networks]
)


@pytest.fixture(scope="session")
def saved(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A tiny base of each family, saved; read only."""
    folder = tmp_path_factory.mktemp("families")
    for name, family in FAMILIES.items():
        family.implementation().tiny().save(folder / name)
    return {name: folder / name for name in FAMILIES}


@pytest.fixture(scope="session")
def loaded(saved: dict[str, Path]) -> dict[str, Base]:
    """The same, loaded; read only."""
    return {name: load_base(find_base(str(folder)), device="cpu") for name, folder in saved.items()}


def copied(folder: Path, to: Path, replaced: str, weights: dict[str, torch.Tensor]) -> Path:
    """A base with other weights in one network; all other files are linked."""
    for file in (file for file in folder.rglob("*") if file.is_file()):
        target = to / file.relative_to(folder)
        target.parent.mkdir(parents=True, exist_ok=True)
        if file.parent.name == replaced and file.suffix == ".safetensors":
            save_file(weights, target, {"format": "pt"})
        else:
            target.symlink_to(file)
    return to


def draw(base: Base, protocol: Protocol = PROTOCOL, seed: int = 5) -> torch.Tensor:
    shape = (PROTOCOL.clips, 1, 3, protocol.height, protocol.width)
    given = torch.rand(shape, generator=torch.Generator().manual_seed(2))[: protocol.clips] * 2 - 1
    return base.sample(PROMPTS[: protocol.clips], Streams(seed), protocol, given).video


@families
def test_what_is_saved_is_what_is_loaded(family: Family, saved: dict[str, Path], loaded: dict[str, Base]) -> None:
    base, made = loaded[family.name], family.implementation().tiny()
    assert type(base) is family.implementation()
    assert base.ref.family == family
    assert missing_files(base.ref) == []
    assert tuple(base.networks) == family.networks
    for name, network in base.networks.items():
        expected, actual = made.networks[name].state_dict(), network.state_dict()
        assert expected.keys() == actual.keys()
        assert all(torch.equal(expected[key], actual[key]) for key in expected)
        assert not network.training
        assert not any(weight.requires_grad for weight in network.parameters())
    schedules = ({k: v for k, v in one.noise_scheduler.config.items() if k[0] != "_"} for one in (base, made))
    assert next(schedules) == next(schedules)
    with pytest.raises(dataclasses.FrozenInstanceError):
        base.unet = None


@families
def test_a_seed_makes_another_tiny_base(family: Family) -> None:
    one, other = (family.implementation().tiny(seed).unet.state_dict() for seed in (0, 1))
    assert any(not torch.equal(one[name], other[name]) for name in one)


@families
def test_precision_is_as_asked(family: Family, saved: dict[str, Path]) -> None:
    kind = family.implementation()
    for precision, dtype in {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}.items():
        base = load_base(find_base(str(saved[family.name])), device="cpu", precision=precision)
        assert base.dtype == dtype
        for name, network in base.networks.items():
            assert {weight.dtype for weight in network.parameters()} == {kind.precision_of(name, dtype)}


@every_network
def test_weights_that_do_not_fit_are_refused(
    family: Family, network: str, saved: dict[str, Path], tmp_path: Path
) -> None:
    folder = saved[family.name]
    weights = load_file(next((folder / network).glob("*.safetensors")))
    name = sorted(weights)[0]
    without = {key: value for key, value in weights.items() if key != name}
    for case, wrong, message in (
        ("missing", without, f"missing keys: .*{name.rpartition('.')[2]}"),
        ("unexpected", weights | {"extra": torch.zeros(2)}, "unexpected keys: extra"),
        ("misshapen", weights | {name: torch.zeros(3, 3)}, name.rpartition(".")[0]),
    ):
        with pytest.raises(ValueError, match=f"{network}/.*{message}"):
            load_base(find_base(str(copied(folder, tmp_path / case, network, wrong))), device="cpu")


@families
def test_a_base_that_lacks_files_says_which(family: Family, saved: dict[str, Path], tmp_path: Path) -> None:
    for part, configuration in family.configurations.items():
        folder = copied(saved[family.name], tmp_path / part, "", {})
        (folder / part / configuration).unlink()
        assert missing_files(find_base(str(folder))) == [f"{part}/{configuration}"]
        with pytest.raises(ValueError, match=f"is incomplete: .* lacks {part}/{configuration}"):
            load_base(find_base(str(folder)), device="cpu")


@families
def test_networks_are_counted_without_weights(family: Family, loaded: dict[str, Base]) -> None:
    base = loaded[family.name]
    on_meta = networks_on_meta(base.ref)
    counted = {name: num_parameters(network) for name, network in on_meta.items()}
    assert counted == {name: num_parameters(network) for name, network in base.networks.items()}
    assert all(weight.is_meta for network in on_meta.values() for weight in network.parameters()), (
        "so a pass can be made"
    )


@pytest.mark.parametrize(("name", "counts"), PUBLISHED.items())
def test_published_configurations_have_the_published_counts(name: str, counts: dict[str, int]) -> None:
    ref = find_base(name)
    assert {network: num_parameters(actual) for network, actual in networks_on_meta(ref).items()} == counts
    with pytest.raises(ValueError, match=r"incomplete.*unet/\*\.safetensors"):
        load_base(ref)


@families
def test_every_family_has_an_embedded_base_that_is_its_default(family: Family) -> None:
    assert family.default_base in bases_of(family)
    assert find_base(family.default_base).family == family
    assert read_card(find_base(family.default_base)).name == family.default_base


def test_a_hub_id_is_of_the_family_that_asks_for_it() -> None:
    for family in FAMILIES.values():
        ref = find_base("org/name", family)
        assert ref.family == family
        assert read_card(ref).protocol == Protocol(**family.protocol)
    assert read_card(find_base("org/name", STABLE_VIDEO_DIFFUSION)).protocol.frames == 25
    assert find_base("shapes", STABLE_VIDEO_DIFFUSION).family == STABLE_DIFFUSION


@families
def test_frames_become_latents_and_latents_frames(family: Family, loaded: dict[str, Base]) -> None:
    with in_float64():
        encodes_and_decodes(widened(loaded[family.name]))


def encodes_and_decodes(base: Base) -> None:
    rounding = network_bound(base.vae)
    video = torch.rand(2, 3, 3, 32, 48, generator=torch.Generator().manual_seed(0)) * 2 - 1
    mean, std = base.encode_frames(video)
    assert mean.shape == std.shape == (2, 3, *base.latent_shape(PROTOCOL)) == (2, 3, 4, 4, 6)
    assert (std > 0).all()
    # Every frame is encoded separately.
    for part in (base.encode_frames(video, micro_batch=2)[0], base.encode_frames(video.flip(0))[0].flip(0)):
        torch.testing.assert_close(part, mean, rtol=0, atol=rounding * float(mean.abs().max()))
    assert not torch.allclose(mean[:, 0], mean[:, 1])

    back = base.decode_latents(mean)
    assert back.shape == video.shape
    assert back.abs().max() <= 1
    torch.testing.assert_close(base.decode_latents(mean, micro_batch=1), back, rtol=0, atol=rounding)
    broken = mean.clone()
    broken[1, 0, 0, 0, 0] = float("inf")
    with pytest.raises(NonFiniteError, match=r"while decoding \(clip 1\)"):
        base.decode_latents(broken)


@families
def test_a_base_samples_clips_of_any_shape(family: Family, loaded: dict[str, Base]) -> None:
    base = loaded[family.name]
    before = {name: weight.clone() for name, weight in base.unet.state_dict().items()}
    video = draw(base)
    assert video.shape == (2, 3, 3, 32, 48)
    assert video.dtype == torch.float32
    assert video.isfinite().all()
    assert torch.equal(video, draw(base))
    assert not torch.equal(video, draw(base, seed=6))
    assert draw(base, PROTOCOL.model_copy(update={"height": 48, "width": 32})).shape == (2, 3, 3, 48, 32)
    assert all(torch.equal(before[name], weight) for name, weight in base.unet.state_dict().items())
    assert base.noise_scheduler.num_inference_steps is None
    with pytest.raises(ValueError, match="both must be multiples of 8"):
        draw(base, PROTOCOL.model_copy(update={"width": 36}))


@families
def test_the_denoiser_can_be_let_go(family: Family) -> None:
    base = family.implementation().tiny()
    base.release_denoiser()
    assert {weight.device.type for weight in base.unet.parameters()} == {"meta"}
    assert base.encode_frames(torch.zeros(1, 1, 3, 32, 32))[0].shape == (1, 1, 4, 4, 4)
