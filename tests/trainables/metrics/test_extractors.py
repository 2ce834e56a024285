"""Networks loaded from random files of the real formats, against direct computation."""

from __future__ import annotations

import hashlib
import json
import logging
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from models.bases import find_base, read_card
from tests.tolerance import bound, in_float64, network_bound
from trainables.metrics import ExtractorRef, Extractors, MetricKey, extractors, resolve
from trainables.metrics.distances import frechet_distance
from trainables.metrics.extractors import ClipExtractor, FrameExtractor, ImageTextExtractor
from trainables.metrics.loading import load_extractor

Pixels = np.ndarray[Any, np.dtype[np.uint8]]


def key(kind: Any, source: str, subfolder: str | None = None) -> MetricKey:
    return MetricKey("fid", "fid/x", "min", False, "", ExtractorRef(kind, "x", source, subfolder), 1)


def load_clip(folder: Path) -> ImageTextExtractor:
    network = load_extractor(key("clip", str(folder)), "cpu")
    assert isinstance(network, ImageTextExtractor)
    return network


def prepared(frame: Pixels, side: int) -> torch.Tensor:
    """A frame as CLIP's authors prepare it: bicubic to the shorter side, centre crop, scale, normalise."""
    image = Image.fromarray(frame)
    width, height = image.size
    scale = side / min(width, height)
    image = image.resize((int(width * scale), int(height * scale)), Image.Resampling.BICUBIC)
    left, top = (image.width - side) // 2, (image.height - side) // 2
    pixels = torch.from_numpy(np.array(image.crop((left, top, left + side, top + side)))) / 255
    mean, std = torch.tensor([0.48145466, 0.4578275, 0.40821073]), torch.tensor([0.26862954, 0.26130258, 0.27577711])
    return ((pixels - mean) / std).movedim(-1, 0)


@pytest.mark.parametrize("size", [(32, 32), (48, 80), (64, 20)])
def test_clip_frames_equal_the_model_on_frames_prepared_by_hand(clip_folder: Path, size: tuple[int, int]) -> None:
    from transformers import CLIPModel

    clips = np.random.default_rng(0).integers(0, 256, (2, 3, *size, 3)).astype(np.uint8)
    network = load_clip(clip_folder)
    pictures = clips.reshape(-1, *size, 3)
    pixels = network._processor(images=list(pictures), input_data_format="channels_last", return_tensors="pt")
    frames = torch.stack([prepared(frame, 32) for frame in pictures])
    # Whole numbers scaled, shifted and divided by at least 0.26, in two ways.
    torch.testing.assert_close(pixels["pixel_values"], frames, rtol=0, atol=bound(torch.float32, 2 * 4, 1.5 / 0.26))

    model = CLIPModel.from_pretrained(clip_folder, dtype=torch.float32).eval().double()
    network._model.double()
    with torch.no_grad(), in_float64():
        embedded = network.embed_frames(clips)
        expected = model.get_image_features(pixels["pixel_values"].double()).pooler_output.numpy()
    assert embedded.shape == (2, 3, network.num_features) == (2, 3, 24)
    assert embedded.dtype == np.float64
    rounding = network_bound(model, size=float(np.abs(expected).max()))
    np.testing.assert_allclose(embedded.reshape(6, 24), expected, rtol=0, atol=rounding)


def test_clip_text_equals_the_model_and_does_not_depend_on_the_batch(clip_folder: Path) -> None:
    from transformers import CLIPModel, CLIPTokenizer

    network = load_clip(clip_folder)
    prompts = ["a red circle moves right", "a blue square", "a circle drops"]
    network._model.double()
    model = CLIPModel.from_pretrained(clip_folder, dtype=torch.float32).eval().double()
    with in_float64():
        together = network.embed_text(prompts)
    tokenizer = CLIPTokenizer.from_pretrained(clip_folder)
    for prompt, embedding in zip(prompts, together, strict=True):
        with torch.no_grad(), in_float64():
            expected = model.get_text_features(**tokenizer(prompt, return_tensors="pt")).pooler_output[0]
        rounding = network_bound(model, size=float(expected.abs().max()))
        np.testing.assert_allclose(embedding, expected.numpy(), rtol=0, atol=rounding)
    assert np.linalg.norm(together[0] - together[1]) > 1e-3


def test_weights_stored_in_half_precision_are_computed_in_single(clip_folder: Path, clips: Pixels) -> None:
    from safetensors import safe_open

    with safe_open(clip_folder / "model.safetensors", "pt") as file:
        assert file.get_tensor("text_projection.weight").dtype == torch.float16
    embedded = load_clip(clip_folder).embed_frames(clips)
    assert not np.array_equal(embedded, embedded.astype(np.float16))
    assert embedded.dtype == np.float64


@in_float64()
def test_frames_are_embedded_in_batches_of_a_fixed_size(
    clip_folder: Path, clips: Pixels, monkeypatch: pytest.MonkeyPatch
) -> None:
    network = load_clip(clip_folder)
    network._model.double()
    whole = network.embed_frames(clips)
    monkeypatch.setattr(extractors, "FRAMES_PER_BATCH", 4)
    sizes: list[int] = []
    embed = network._embed
    monkeypatch.setattr(network, "_embed", lambda batch: sizes.append(len(batch)) or embed(batch))
    rounding = network_bound(network._model, size=float(np.abs(whole).max()))
    np.testing.assert_allclose(network.embed_frames(clips), whole, rtol=0, atol=rounding)
    assert sizes == [4] * 6 + [3]


def test_long_prompts_are_cut_and_the_log_says_so(clip_folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    network = load_clip(clip_folder)
    short, long = " ".join(["red"] * 10), " ".join(["red"] * 14)  # 12 and 16 tokens with start and end; 12 fit
    with caplog.at_level(logging.WARNING):
        embedded = network.embed_text([short])
    assert not caplog.messages
    with caplog.at_level(logging.WARNING):
        np.testing.assert_array_equal(network.embed_text([long]), embedded)
    assert "12 of 16 tokens" in caplog.text


def test_a_network_says_what_it_is(clip_folder: Path) -> None:
    network = load_clip(clip_folder)
    weights = (clip_folder / "model.safetensors").read_bytes()
    assert network.sha256 == hashlib.sha256(weights).hexdigest()
    assert network.parameters["preprocessing"]["crop_size"] == {"height": 32, "width": 32}
    assert json.loads(json.dumps(network.parameters)) == network.parameters


def test_a_hub_id_is_downloaded_by_id_and_revision(clip_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import huggingface_hub

    asked: list[tuple[str, str | None]] = []

    def snapshot(repository: str, *, revision: str | None, allow_patterns: list[str]) -> str:
        asked.append((repository, revision))
        return str(clip_folder)

    monkeypatch.setattr(huggingface_hub, "snapshot_download", snapshot)
    load_extractor(key("clip", "org/model@abc"), "cpu")
    load_extractor(key("clip", "org/model"), "cpu")
    assert asked == [("org/model", "abc"), ("org/model", None)]


def test_a_hub_id_that_cannot_be_had_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    import huggingface_hub

    def offline(*_: Any, **__: Any) -> str:
        raise FileNotFoundError("not in the cache, and offline")

    monkeypatch.setattr(huggingface_hub, "snapshot_download", offline)
    with pytest.raises(ValueError, match=r"org/model is neither on the hub nor in its cache .*offline"):
        load_extractor(key("clip", "org/model"), "cpu")


def test_inception_sees_every_frame_with_its_colours_in_place(inception_file: str, clips: Pixels) -> None:
    network = load_extractor(key("inception", inception_file), "cpu")
    assert isinstance(network, FrameExtractor)
    features = network.embed_frames(clips)
    assert features.shape == (3, 9, 2048)
    np.testing.assert_array_equal(features[..., :3], clips.mean(axis=(2, 3)))  # 1,024 whole numbers: exact in float32
    assert network.sha256 == hashlib.sha256(Path(inception_file).read_bytes()).hexdigest()


def test_i3d_sees_clips_as_a_whole(i3d_file: str, clips: Pixels) -> None:
    network = load_extractor(key("i3d", i3d_file), "cpu")
    assert isinstance(network, ClipExtractor)
    features = network.embed_clips(clips)
    assert features.shape == (3, 400)
    np.testing.assert_array_equal(features[:, :3], clips[:, 0].mean(axis=(1, 2)))  # exact in float32 too
    assert np.abs(network.embed_clips(clips[:, ::-1]) - features).max() > 1e-3
    assert network.sha256 == hashlib.sha256(Path(i3d_file).read_bytes()).hexdigest()


@pytest.mark.parametrize(("height", "width"), [(32, 48), (48, 32)])
@pytest.mark.parametrize("kind", ["clip", "inception", "i3d", "classifier"])
def test_every_network_takes_frames_of_any_shape(
    clip_folder: Path, inception_file: str, i3d_file: str, base_folder: Path, kind: str, height: int, width: int
) -> None:
    sources = {"clip": str(clip_folder), "inception": inception_file, "i3d": i3d_file, "classifier": str(base_folder)}
    network = load_extractor(key(kind, sources[kind], "classifier" if kind == "classifier" else None), "cpu")
    by_frame = isinstance(network, FrameExtractor)
    embed = network.embed_frames if isinstance(network, FrameExtractor) else network.embed_clips
    # Colours that change from the top to the bottom, but not from left to right.
    rows = np.random.default_rng(0).integers(0, 256, (2, 9, height, 1, 3)).astype(np.uint8)
    clips = rows.repeat(width, axis=3)
    features = embed(clips)
    assert features.shape == (2, *((9,) if by_frame else ()), network.num_features)
    assert np.isfinite(features).all()
    rounding = 1e-4 * np.abs(features).max()
    np.testing.assert_allclose(embed(clips[:, :, :, ::-1]), features, rtol=0, atol=rounding)
    assert np.abs(embed(clips[:, :, ::-1]) - features).max() > 10 * rounding, "rows are not columns"


def test_i3d_is_asked_to_resize_and_rescale(i3d_file: str, clips: Pixels) -> None:
    features = load_extractor(key("i3d", i3d_file), "cpu").embed_clips(clips)  # type: ignore[union-attr]
    assert np.abs(features[:, 3:]).max() < 10  # on unscaled pixels they are in the tens and hundreds


def test_i3d_records_how_far_it_sees_black_from_white(i3d_file: str) -> None:
    network = load_extractor(key("i3d", i3d_file), "cpu")
    assert isinstance(network, ClipExtractor)
    clips = np.zeros((16, 30, 64, 64, 3), np.uint8)
    clips[8:] = 255
    features = network.embed_clips(clips)
    measured = frechet_distance(features[:8], features[8:])
    # In float32 of a compiled file: weights of interpolation, sums of 3 x 64 products; the distance is a square.
    rounding = 2 * bound(torch.float32, 2 * (16 + 3 * 64))
    assert network.parameters["self_test"]["black_to_white"] == pytest.approx(measured, rel=rounding)
    assert network.parameters["self_test"]["published"] == 151.3


def test_i3d_refuses_short_clips(i3d_file: str, clips: Pixels) -> None:
    network = load_extractor(key("i3d", i3d_file), "cpu")
    assert isinstance(network, ClipExtractor)
    with pytest.raises(ValueError, match="at least 9 frames"):
        network.embed_clips(clips[:, :8])


def test_another_network_is_refused(inception_file: str, i3d_file: str) -> None:
    with pytest.raises(ValueError, match="another network, without the argument rescale, resize"):
        load_extractor(key("i3d", inception_file), "cpu")
    # I3D has the one argument that Inception needs, so its output gives it away.
    network = load_extractor(key("inception", i3d_file), "cpu")
    assert isinstance(network, FrameExtractor)
    with pytest.raises((ValueError, RuntimeError)):
        network.embed_frames(np.zeros((1, 2, 32, 32, 3), dtype=np.uint8))


def test_features_of_another_width_are_refused(i3d_file: str, clips: Pixels) -> None:
    network = load_extractor(key("i3d", i3d_file), "cpu")
    assert isinstance(network, ClipExtractor)
    network.num_features = 2048
    with pytest.raises(ValueError, match=r"\(3, 400\).*another network"):
        network.embed_clips(clips)


@in_float64()
def test_a_base_brings_its_own_networks(base_folder: Path, clips: Pixels) -> None:
    from models.video_classifier import VideoClassifier

    card = read_card(find_base(str(base_folder)))
    clip = load_extractor(resolve("fid", card, Extractors(), str(base_folder)), "cpu")
    classifier = load_extractor(resolve("fvd", card, Extractors(), str(base_folder)), "cpu")
    assert isinstance(clip, ImageTextExtractor)
    assert isinstance(classifier, ClipExtractor)
    assert (clip.name, classifier.name) == ("toy_clip", "toy_r3d")
    model = VideoClassifier.from_pretrained(base_folder / "classifier", torch_dtype=torch.float32).eval().double()
    classifier._model.double()
    video = torch.from_numpy(clips).permute(0, 1, 4, 2, 3) / 127.5 - 1
    with torch.no_grad():
        expected = model(video).features.numpy()
    rounding = network_bound(model, size=float(np.abs(expected).max()))
    np.testing.assert_allclose(classifier.embed_clips(clips), expected, rtol=0, atol=rounding)


def test_a_base_that_lost_its_classifier_is_refused(base_folder: Path, tmp_path: Path) -> None:
    folder = tmp_path / "base"
    shutil.copytree(base_folder, folder)
    shutil.rmtree(folder / "classifier")
    with pytest.raises(ValueError, match="lacks config.json"):
        load_extractor(key("classifier", str(folder), "classifier"), "cpu")
