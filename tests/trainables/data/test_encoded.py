"""Encoded training clips: caching, random draws of every step, and settings that change no draw."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from models.bases.stable_diffusion import StableDiffusion
from models.contracts import Clips, TrainedModel
from models.seer import Seer
from models.streams import Streams
from tests.tolerance import STANDARD_ERRORS, bound
from trainables.cache import Cache
from trainables.data import ClipsData, ShapesData
from trainables.data.encoded import SHARD, Batches, Encoded
from trainables.data.frames import to_video
from trainables.data.layout import ClipSet, ClipSize, continued

NUM = SHARD + 5
SIZE = (3, 32, 32)
WriteVideo = Callable[..., Path]


class RandomClips:
    """Random clips that count how often they are decoded."""

    def __init__(self, num: int = NUM) -> None:
        self.pixels = np.random.default_rng(0).integers(0, 256, (num, 3, 32, 32, 3), np.uint8)
        self.read_numbers: list[int] = []

    def read(self, numbers: Sequence[int]) -> NDArray[np.uint8]:
        self.read_numbers += numbers
        return self.pixels[list(numbers)]

    @property
    def training(self) -> ClipSet:
        texts = [f"clip {k}" for k in range(len(self.pixels))]
        return ClipSet(texts, list(range(len(self.pixels))), self.read)


@pytest.fixture
def model(tiny_base: StableDiffusion) -> TrainedModel:
    return seer(tiny_base)


@pytest.fixture
def wide_model(float64_base: StableDiffusion) -> TrainedModel:
    return seer(float64_base)


def seer(base: StableDiffusion) -> TrainedModel:
    changes = {"temporal_attention": "removed", "text_decomposer": "removed"}
    return Seer().edit(changes).build(base, 0)


def same(found: torch.Tensor, expected: torch.Tensor) -> None:
    """Encoded in float64, in other company: equal but for rounding, far below what float32 would leave."""
    rounding = bound(torch.float32, 1, float(expected.abs().max()))
    torch.testing.assert_close(found.double(), expected.double(), rtol=0, atol=rounding)


def equal(one: Any, other: Any) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


def batches(model: TrainedModel, seed: int = 0, num: int = NUM) -> Batches:
    return Batches(model, Encoded(model, RandomClips(num).training, {}), Streams(seed))


def test_encodings_are_the_models_own(wide_model: TrainedModel, float64_base: StableDiffusion) -> None:
    clips = RandomClips()
    found = Encoded(wide_model, clips.training, {}).of([SHARD + 1, 2])
    mean, std = float64_base.encode_frames(to_video(clips.pixels[[SHARD + 1, 2]]))
    same(found["mean"], mean)
    same(found["std"], std)
    same(found["text"], float64_base.encode_text([f"clip {SHARD + 1}", "clip 2"], "masked"))


def test_each_clip_is_decoded_once_for_all_that_share_a_cache(model: TrainedModel, tmp_path: Path) -> None:
    clips, cache = RandomClips(), Cache(tmp_path)
    kept = [Encoded(model, clips.training, {"base": "b"}, cache.arrays) for _ in range(2)]
    assert all(encoded.kept for encoded in kept)
    clips.read_numbers.clear()  # the first clip, by which each sees whether all have room
    first, second = (encoded.of(range(NUM)) for encoded in kept)
    assert sorted(clips.read_numbers) == list(range(NUM))
    assert equal(first, second)
    assert equal(first, Encoded(model, clips.training, {}).of(range(NUM)))
    clips.read_numbers.clear()
    other = Encoded(model, clips.training, {"base": "another"}, cache.arrays)
    other.of([0])
    assert sorted(clips.read_numbers) == [0, *range(SHARD)]


def test_what_would_outgrow_its_room_is_encoded_as_it_comes_and_is_the_same(
    wide_model: TrainedModel, tmp_path: Path
) -> None:
    clips, cache, some = RandomClips(), Cache(tmp_path), [SHARD + 1, 2]
    kept = Encoded(wide_model, clips.training, {})
    expected = kept.of(some)
    total = NUM * sum(values[0].nbytes for values in expected.values())
    assert Encoded(wide_model, clips.training, {}, room=total).kept
    direct = Encoded(wide_model, clips.training, {}, cache.arrays, room=total - 1)
    assert not direct.kept
    clips.read_numbers.clear()
    found = direct.of(some)
    assert found.keys() == expected.keys()
    for name in found:
        same(found[name], expected[name])
    assert clips.read_numbers == some, "no others are decoded for them"
    assert not list(tmp_path.glob("*.npz"))


@pytest.mark.slow
def test_a_batch_in_parts_is_the_batch(model: TrainedModel) -> None:
    whole = batches(model).batch(range(6, 12))
    for parts in ([range(6, 8), range(8, 12)], [[p] for p in range(6, 12)]):
        found = [batches(model).batch(part) for part in parts]
        for name, values in whole.items():
            assert torch.equal(torch.cat([part[name] for part in found]), values)
    assert not torch.equal(batches(model, seed=1).batch(range(6, 12))["noise"], whole["noise"])


def test_further_texts_reach_the_model_and_decide_what_is_kept(model: TrainedModel) -> None:
    clips, seen, kept = RandomClips().training, [], []

    class Spy:
        def encode(self, given: Clips) -> Any:
            seen.append(given)
            return model.encode(given)

    def keep(depends_on: Any, compute: Any) -> Any:
        kept.append(depends_on)
        return compute()

    states = [f"state of {k}" for k in range(NUM)]
    Encoded(cast(TrainedModel, Spy()), replace(clips, further={"states": states}), {}, keep).of([1])
    assert seen[-1].further == {"states": states[:SHARD]}
    assert kept[-1]["further"] == {"states": states[:SHARD]}
    assert clips.take([4, 4, 1]).texts == ["clip 4", "clip 4", "clip 1"]
    taken = replace(clips, further={"states": states}).take([4, 1])
    assert taken.further == {"states": [states[4], states[1]]}
    assert np.array_equal(taken.read([1]), clips.read([1]))


def test_fresh_noise_at_every_pass_over_the_clips_and_another_order(model: TrainedModel) -> None:
    every = batches(model, num=8).batch(range(16))
    assert every["noise"].flatten(1).unique(dim=0).shape[0] == 16
    assert every["latents"].flatten(1).unique(dim=0).shape[0] == 16
    texts = [tuple(row.flatten().tolist()) for row in every["text"]]
    assert set(texts[:8]) == set(texts[8:])
    assert len(set(texts[:8])) == 8
    assert texts[:8] != texts[8:]


def test_timesteps_are_uniform_and_noise_is_normal(model: TrainedModel) -> None:
    drawn = batches(model, num=4).batch(range(600))
    time, noise = drawn["time"], drawn["noise"]
    assert 0 <= time.min() < 20
    assert 980 < time.max() < 1000
    assert abs(time.double().mean() - 499.5) < STANDARD_ERRORS * 1000 / (12 * len(time)) ** 0.5
    assert abs(noise.mean()) < STANDARD_ERRORS / noise.numel() ** 0.5
    assert abs(noise.std() - 1) < STANDARD_ERRORS / (2 * noise.numel()) ** 0.5


# --------------------------------------------------------------------------------------------------------- what is read


def test_of_shapes_the_continued_clips_are_references_and_training_clips_are_not(tmp_path: Path) -> None:
    data, size = ShapesData(references=6), ClipSize(4, 32, 32)
    references = data.reference_clips(size, tmp_path)
    for streams in (Streams(0), Streams(1)):
        clips = continued(references, streams, 6)
        assert sorted(clip.tobytes() for clip in clips.all()) == sorted(clip.tobytes() for clip in references.all())
        assert continued(references, streams, 3).texts == clips.texts[:3], "more clips shift none"
        assert continued(references, streams, 8).texts[6:] == clips.texts[:2]
    assert len({tuple(continued(references, Streams(seed), 6).texts) for seed in (0, 1)}) == 2
    training = data.training_clips(size, 10, tmp_path)
    assert len(training.texts) == len(training.identity) == len(training) == 10
    assert training.read([3, 7]).shape == (2, 4, 32, 32, 3)
    assert np.array_equal(training.read([7]), training.read([3, 7])[1:])
    assert len(data.training_clips(size, None, tmp_path)) == 4096


@pytest.mark.slow
def test_of_a_dataset_of_ones_own_the_other_split_is_trained_on(write_video: WriteVideo, tmp_path: Path) -> None:
    captions_folder = tmp_path / "clips"
    for number in range(12):
        write_video(captions_folder / f"{number}.mp4")
    lines = "".join(f"{number}.mp4,text {number}\n" for number in range(12))
    (captions_folder / "captions.csv").write_text(f"path,text\n{lines}")
    data = ClipsData(layout="captions", path=str(captions_folder), held_out=0.5, references=4)
    size = ClipSize(4, 16, 16)
    training = data.training_clips(size, None, tmp_path)
    held_out = {entry.text for entry in data.entries()}
    assert training.texts
    assert not held_out & set(training.texts)
    assert training.read([0, 1]).shape == (2, 4, 16, 16, 3)
    assert len(data.training_clips(size, 2, tmp_path)) == 2
    clips = continued(data.reference_clips(size, tmp_path), Streams(0), 3)
    assert set(clips.texts) <= held_out
    assert clips.all().shape == (3, 4, 16, 16, 3)


@pytest.mark.slow
def test_a_clip_in_quarantine_is_no_example(write_video: WriteVideo, tmp_path: Path) -> None:
    folder = tmp_path / "clips"
    for number in range(60):
        write_video(folder / f"{number}.mp4")
    (folder / "captions.csv").write_text("path,text\n" + "".join(f"{n}.mp4,text {n}\n" for n in range(60)))
    data = ClipsData(layout="captions", path=str(folder), held_out=0.5, references=60)
    bad = data.entries()[0]
    bad.path.write_bytes(b"not a video")
    num = len(data.entries()) - 1
    clips = continued(data.reference_clips(ClipSize(4, 16, 16), tmp_path), Streams(0), num)
    assert bad.text not in clips.texts
    assert len(set(clips.texts)) == num
    assert len(clips.all()) == num


@pytest.mark.slow
def test_references_have_each_clip_once_and_trainings_each_caption(write_video: WriteVideo, tmp_path: Path) -> None:
    folder = tmp_path / "clips"
    lines = ["path,text"]
    for number in range(12):
        write_video(folder / f"{number}.mp4", 4)
        lines += [f"{number}.mp4,first {number}", f"{number}.mp4,second {number}"]
    (folder / "captions.csv").write_text("\n".join(lines))
    data = ClipsData(layout="captions", path=str(folder), held_out=0.5)
    size = ClipSize(2, 16, 16)
    references = data.reference_clips(size, tmp_path)
    num = len(data.entries()) // 2
    assert len(references) == len({str(identity) for identity in references.identity}) == num
    assert all(text.startswith("first") for text in references.texts)
    *files, _decoders = zip(*references.identity, strict=True)
    assert data.reference_identity() == [list(file) for file in zip(*files, strict=True)]
    training = data.training_clips(size, None, tmp_path)
    assert len(set(training.texts)) == len(training) == 24 - 2 * num
    assert all(text.startswith("first") for text in training.texts[: 12 - num]), "each clip before a second caption"
    assert len({*data.prompts(Streams(0), 2 * num)}) == 2 * num
    (folder / "one.csv").write_text("path,text\n" + "0.mp4,a\n0.mp4,b\n")
    one = [ClipsData(layout="captions", path=str(folder / "one.csv"), split=split) for split in ("train", "test")]
    for side in one:
        with pytest.raises(ValueError, match=r"has [01] clips -> at least 2"):
            side.entries()
