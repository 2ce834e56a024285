"""Feature extractors for frames, clips and prompts: CLIP, FID's Inception, I3D, a base's classifier.

Networks of quality and consistency are in ``quality``, the one that interpolates frames in ``interpolation``.

Inputs are uint8 pixels, outputs float64 features. All networks compute in float32 and in batches of fixed size, so that
values depend neither on the stored precision of the weights nor on free memory.

Legend: ``b`` clips, ``f`` frames, ``h w`` pixels, ``c`` = 3 colours, ``d`` features, ``n`` frames or clips of a batch.
"""

from __future__ import annotations

import hashlib
import json
import logging
import warnings
from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path
from pickle import UnpicklingError
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import numpy.typing as npt
import torch
from safetensors import SafetensorError
from torch import Tensor

from models.backbones import weights_variant
from models.bases import find_base
from models.bases.vocabulary import tells_words_apart
from trainables.metrics import HOW_TO_GET, I3D_FRAMES, ExtractorRef, Role, is_path
from trainables.metrics.clip_files import clip_problem, model_weights

if TYPE_CHECKING:
    from models.video_classifier import ClipPrediction

log = logging.getLogger(__name__)

Pixels: TypeAlias = npt.NDArray[np.uint8]
Features: TypeAlias = npt.NDArray[np.float64]
Classes: TypeAlias = npt.NDArray[np.int64]

FRAMES_PER_BATCH = 64
BLACK_TO_WHITE = 151.3
_SETTINGS = ("*.json", "*.txt")


class Extractor(ABC):
    """Base class of loaded networks, with the metadata recorded with every value.

    Attributes:
        name: Name in metric keys.
        num_features: Width ``d`` of the features.
        sha256: Hash of the weight file (for several: of their contents in the order of their names).
        parameters: Preprocessing and choice of features, as JSON values.
    """

    name: str
    num_features: int
    sha256: str
    parameters: dict[str, Any]
    device: str

    @abstractmethod
    def _embed(self, batch: Pixels) -> Tensor:
        """Compute features (n d) of a batch of frames (n h w c) or of clips (n f h w c)."""

    def _embed_all(self, items: Pixels, batch_size: int) -> Features:
        """Compute features of all items, in batches of fixed size."""
        parts = []
        with torch.inference_mode(), _full_precision():
            for start in range(0, len(items), batch_size):
                # A copy, since torch accepts neither reversed nor read-only arrays.
                features = self._embed(items[start : start + batch_size].copy())
                if features.ndim != 2 or features.shape[1] != self.num_features:
                    raise ValueError(
                        f"{self.name} returned features of shape {tuple(features.shape)}, not "
                        f"(n, {self.num_features}): the file has another network -> the network of this metric"
                    )
                parts.append(features.double().cpu().numpy())
        return np.concatenate(parts)


class FrameExtractor(Extractor):
    """Base class of networks on single frames."""

    def embed_frames(self, clips: Pixels) -> Features:
        """Compute features of every frame.

        Shape:
            clips (b f h w c) -> (b f d).

        Raises:
            ValueError: The network returns features of another width.
        """
        frames = clips.reshape(-1, *clips.shape[2:])
        return self._embed_all(frames, FRAMES_PER_BATCH).reshape(*clips.shape[:2], -1)


class ClipExtractor(Extractor):
    """Base class of networks on whole clips."""

    def embed_clips(self, clips: Pixels) -> Features:
        """Compute features of every clip.

        Shape:
            clips (b f h w c) -> (b d).

        Raises:
            ValueError: Too few frames, or the network returns features of another width.
        """
        return self._embed_all(clips, max(1, FRAMES_PER_BATCH // clips.shape[1]))


class ImageTextExtractor(FrameExtractor):
    """CLIP: projected embeddings of frames and prompts, not normalised and without logit scale.

    Frames are preprocessed by the folder's image processor, in the variant without torchvision, so that values do not
    depend on whether it is installed. Prompts longer than the text tower are truncated, with a warning.
    """

    def __init__(self, ref: ExtractorRef, device: str) -> None:
        from transformers import CLIPImageProcessorPil, CLIPModel, CLIPTokenizer

        folder = model_folder(ref, "CLIP")
        weights = checked_weights(ref, folder, clip_problem(folder))
        model = load_strictly(CLIPModel, ref, folder, "CLIP")
        self._model = model.eval().to(device)
        self._processor = CLIPImageProcessorPil.from_pretrained(folder)
        self._tokenizer = CLIPTokenizer.from_pretrained(folder)
        if not tells_words_apart(self._tokenizer):
            raise ValueError(f"{ref.name}: the tokenizer in {folder} gives all words one id -> get {remedy(ref)}")
        self._num_tokens = int(model.config.text_config.max_position_embeddings)
        self.name = ref.name
        self.num_features = int(model.config.projection_dim)
        self.sha256 = sha256_of(weights)
        self.device = device
        self.parameters = {"preprocessing": _processing_record(self._processor), "features": "projected embeddings"}

    def embed_text(self, prompts: Sequence[str]) -> Features:
        """Compute features of prompts.

        Shape:
            b prompts -> (b d).
        """
        lengths = [len(tokens) for tokens in self._tokenizer(list(prompts), verbose=False)["input_ids"]]
        for prompt, length in zip(prompts, lengths, strict=True):
            if length > self._num_tokens:
                log.warning("%s: prompt truncated to %d of %d tokens: %r", self.name, self._num_tokens, length, prompt)
        tokens = self._tokenizer(
            list(prompts), padding=True, truncation=True, max_length=self._num_tokens, return_tensors="pt"
        ).to(self.device)
        with torch.inference_mode():
            text = self._model.get_text_features(tokens["input_ids"], attention_mask=tokens["attention_mask"])
        return np.asarray(text.pooler_output.double().cpu().numpy())

    def embed_batch(self, batch: Pixels) -> Tensor:
        """Compute features (n d) of a batch of frames (n h w c), in the type of the weights."""
        pixels = self._processor(images=list(batch), input_data_format="channels_last", return_tensors="pt")
        image = self._model.get_image_features(pixels["pixel_values"].to(self.device, self._model.dtype))
        return torch.as_tensor(image.pooler_output)

    def _embed(self, batch: Pixels) -> Tensor:
        return self.embed_batch(batch)


class InceptionExtractor(FrameExtractor):
    """Inception-v3 of FID, a torchscript file that itself resizes (as TensorFlow 1) and scales pixels.

    The network takes uint8 frames (n c h w) and ``return_features=True`` and returns (n, 2048).
    """

    def __init__(self, ref: ExtractorRef, device: str) -> None:
        self._network = load_torchscript(ref, "inception", device, ("return_features",))
        self.name = ref.name
        self.num_features = 2048
        self.sha256 = sha256_of([Path(ref.source).expanduser()])
        self.device = device
        self.parameters = {
            "preprocessing": "uint8 frames; the file resizes to 299 x 299, bilinear as TensorFlow 1, and scales",
            "features": "last pool",
        }

    def _embed(self, batch: Pixels) -> Tensor:
        frames = torch.from_numpy(batch).to(self.device).movedim(-1, 1)
        return torch.as_tensor(self._network(frames, return_features=True))


class I3DExtractor(ClipExtractor):
    """I3D for Kinetics-400, a torchscript file that itself resizes and scales pixels.

    The network takes float clips (n c f h w) in [0, 255] and ``rescale=True, resize=True, return_features=True`` and
    returns the 400 logits (n, 400). A self-test verifies the file: the Frechet distance between black and white clips,
    30 frames of 64 x 64 pixels, should be about 151.3 (common_metrics_on_video_quality's README). Its result is
    recorded with every score.
    """

    def __init__(self, ref: ExtractorRef, device: str) -> None:
        self._network = load_torchscript(ref, "i3d", device, ("rescale", "resize", "return_features"))
        self.name = ref.name
        self.num_features = 400
        self.sha256 = sha256_of([Path(ref.source).expanduser()])
        self.device = device
        self.parameters = {
            "preprocessing": "clips in [0, 255]; the file resizes straight to 224 x 224, bilinear, and scales",
            "features": "logits",
        }
        self.parameters["self_test"] = {"black_to_white": self._black_to_white(), "published": BLACK_TO_WHITE}

    def _black_to_white(self) -> float:
        """Compute the Frechet distance of black to white clips; one of each, since equal clips have no covariance."""
        pair = np.stack([np.full((30, 64, 64, 3), level, np.uint8) for level in (0, 255)])
        black, white = self.embed_clips(pair)
        return float(np.square(black - white).sum())

    def _embed(self, batch: Pixels) -> Tensor:
        if batch.shape[1] < I3D_FRAMES:
            raise ValueError(
                f"{self.name} needs at least {I3D_FRAMES} frames per clip (published values use 16), got "
                f"{batch.shape[1]} -> a larger `protocol.frames`, or remove fvd and kvd from the metrics"
            )
        clips = torch.from_numpy(batch).to(self.device, torch.float32).movedim(-1, 1)
        return torch.as_tensor(self._network(clips, rescale=True, resize=True, return_features=True))


class ClassifierExtractor(ClipExtractor):
    """Video classifier of a base; its features are those before the heads, and one head names motions."""

    def __init__(self, ref: ExtractorRef, device: str) -> None:
        from models.video_classifier import VideoClassifier

        folder = _base_folder(ref)
        weights = sorted(folder.glob("*.safetensors"))
        if not weights or not (folder / "config.json").is_file():
            raise ValueError(f"{ref.name}: {folder} lacks config.json or *.safetensors -> restore base {ref.source}")
        model = VideoClassifier.from_pretrained(folder, torch_dtype=torch.float32, low_cpu_mem_usage=False)
        self._model = model.eval().to(device)
        self.name = ref.name
        self.num_features = int(model.config.num_features)
        self.sha256 = sha256_of(weights)
        self.device = device
        self.parameters = {"preprocessing": "scaled to [-1, 1], not resized", "features": "before the heads"}

    def motions(self, clips: Pixels) -> Classes:
        """Name the motion of each half of every clip, by its number among ``data.scenes.MOTIONS``.

        Shape:
            clips (b f h w c) -> (b 2).
        """
        size = max(1, FRAMES_PER_BATCH // clips.shape[1])
        with torch.inference_mode(), _full_precision():
            parts = [self._predict(clips[start : start + size]).motion for start in range(0, len(clips), size)]
        return np.asarray(torch.cat(parts).argmax(dim=-1).cpu().numpy())

    def _embed(self, batch: Pixels) -> Tensor:
        return torch.as_tensor(self._predict(batch).features)

    def _predict(self, batch: Pixels) -> ClipPrediction:
        video = torch.from_numpy(batch.copy()).to(self.device, torch.float32).movedim(-1, 2) / 127.5 - 1
        prediction: ClipPrediction = self._model(video)
        return prediction


def _full_precision() -> Any:
    """Compute in full float32: with TF32 a GPU's features differ from a CPU's in the third digit."""
    return torch.backends.cudnn.flags(enabled=True, deterministic=True, allow_tf32=False)


def _base_folder(ref: ExtractorRef) -> Path:
    """Return the folder of an extractor inside a base."""
    base = find_base(ref.source)
    assert base.path is not None, "only bases in folders include extractors"
    assert ref.subfolder is not None
    return base.path / ref.subfolder


def remedy(ref: ExtractorRef) -> str:
    """Word where to get a network."""
    if ref.subfolder is not None or ref.kind == "classifier":
        return f"the whole base {ref.source} again"
    return HOW_TO_GET[ref.kind]


def model_folder(ref: ExtractorRef, title: str) -> Path:
    """Return the local folder of a model; a hub id is downloaded, or read from the cache when offline.

    Args:
        ref: The model.
        title: Kind of model, for messages.

    Raises:
        ValueError: The hub id is neither on the hub nor in its cache.
    """
    if ref.subfolder is not None:
        return _base_folder(ref)
    if is_path(ref.source):
        return Path(ref.source).expanduser()
    try:
        return _download(ref.source)
    except (OSError, ValueError) as reason:
        raise ValueError(
            f"{title} model {ref.source} is neither on the hub nor in its cache ({reason}) -> get {remedy(ref)}"
        ) from reason


def _download(source: str) -> Path:
    """Download a model from the hub into its cache; pickled weights only if there are no others."""
    from huggingface_hub import snapshot_download

    repository, _, revision = source.partition("@")
    folder = Path(
        snapshot_download(repository, revision=revision or None, allow_patterns=[*_SETTINGS, "model*.safetensors"])
    )
    if not model_weights(folder):
        snapshot_download(repository, revision=revision or None, allow_patterns=["pytorch_model*.bin"])
    return folder


def load_strictly(kind: Any, ref: ExtractorRef, folder: Path, title: str, **options: Any) -> Any:
    """Load a transformers model in float32: half precision changes cosines in the third digit.

    Args:
        kind: Class of the model.
        ref: The network, for messages.
        folder: Its folder.
        title: Name of the class in messages.
        options: Further arguments of ``from_pretrained``.

    Raises:
        ValueError: The weights cannot be loaded, or some are missing.
    """
    try:
        model, report = kind.from_pretrained(
            folder, dtype=torch.float32, variant=weights_variant(folder), output_loading_info=True, **options
        )
    except (OSError, ValueError, RuntimeError, SafetensorError, UnpicklingError) as reason:
        said = str(reason).partition("\n")[0]
        raise ValueError(
            f"{ref.name}: the weights in {folder} cannot be loaded ({said}) -> get {remedy(ref)}"
        ) from reason
    if report["missing_keys"] or report["mismatched_keys"]:
        missing = ", ".join(sorted(map(str, (*report["missing_keys"], *report["mismatched_keys"])))[:3])
        raise ValueError(
            f"{ref.name}: {folder} is an incomplete {title} model (missing {missing}, ...) -> get {remedy(ref)}"
        )
    return model


def checked_weights(ref: ExtractorRef, folder: Path, problem: str | None) -> list[Path]:
    """Return the weight files of a folder, unless there is a problem with it."""
    if problem:
        raise ValueError(f"{ref.name}: {problem} -> get {remedy(ref)}")
    return model_weights(folder)


def load_torchscript(ref: ExtractorRef, role: Role, device: str, arguments: Sequence[str]) -> Any:
    """Load a torchscript file and check its signature, which identifies the network.

    Raises:
        ValueError: No such file, not a torchscript file, or arguments are missing; the message names the source of the
            right one.
    """
    path = Path(ref.source).expanduser()
    if not path.is_file():
        reason = "is a folder, not a file" if path.is_dir() else "does not exist"
        raise ValueError(f"extractors.{role}: {path} {reason} -> get {HOW_TO_GET[role]}")
    try:
        with warnings.catch_warnings():
            # torch recommends torch.export, but these networks are published as torchscript only.
            warnings.filterwarnings("ignore", ".*torch.jit.load.*", DeprecationWarning)
            network = torch.jit.load(path, map_location=device).eval()  # type: ignore[no-untyped-call]
    except RuntimeError as reason:
        raise ValueError(f"extractors.{role}: {path} is not a torchscript file -> get {HOW_TO_GET[role]}") from reason
    taken = {argument.name for argument in network.forward.schema.arguments}
    missing = [name for name in arguments if name not in taken]
    if missing:
        raise ValueError(
            f"extractors.{role}: {path} is another network, without the argument {', '.join(missing)} -> "
            f"get {HOW_TO_GET[role]}"
        )
    return network


def _processing_record(processor: Any) -> dict[str, Any]:
    """Return the settings of the image processor that affect pixels."""
    record = json.loads(processor.to_json_string())
    steps = ("size", "crop_size", "resample", "rescale_factor", "image_mean", "image_std")
    return {"resize": "Pillow"} | {step: record[step] for step in steps if step in record}


def sha256_of(files: Sequence[Path]) -> str:
    """Hash the contents of files, in their order."""
    digest = hashlib.sha256()
    for file in files:
        with file.open("rb") as stream:
            while block := stream.read(1 << 20):
                digest.update(block)
    return digest.hexdigest()
