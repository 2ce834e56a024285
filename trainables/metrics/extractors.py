"""Networks that turn decoded frames, clips and prompts into features: CLIP, FID's Inception, I3D, a base's classifier.

Pixels come in as uint8 and features go out as float64 arrays, whatever network is inside. All compute in float32 and in
batches of a fixed size, so that a value depends neither on how the weights are stored nor on the memory that is free.

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
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from models.bases import find_base
from trainables.metrics import HOW_TO_GET, I3D_FRAMES, ExtractorRef, MetricKey, Role, is_path

log = logging.getLogger(__name__)

Pixels: TypeAlias = npt.NDArray[np.uint8]
Features: TypeAlias = npt.NDArray[np.float64]

FRAMES_PER_BATCH = 64
BLACK_TO_WHITE = 151.3
_SETTINGS = ("*.json", "*.txt")


def load_extractor(key: MetricKey, device: str = "auto") -> FrameExtractor | ClipExtractor:
    """Load the network that a metric needs, from its folder, file or hub id.

    Args:
        key: A resolved metric with an extractor.
        device: ``auto`` is the GPU where there is one; else a torch device.

    Raises:
        ValueError: The folder, file or hub id is absent, incomplete or another network; the message says what belongs
            there and where to get it.
    """
    ref = key.extractor
    assert ref is not None, f"{key.key} needs no extractor"
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    if ref.kind == "clip":
        return ImageTextExtractor(ref, device)
    if ref.kind == "inception":
        return InceptionExtractor(ref, device)
    if ref.kind == "i3d":
        return I3DExtractor(ref, device)
    return ClassifierExtractor(ref, device)


class Extractor(ABC):
    """A loaded network, with all that a value must say about it.

    Attributes:
        name: Its name in metric keys.
        num_features: Width ``d`` of its features.
        sha256: Hash of its weight file (of several, of their contents in the order of their names).
        parameters: How pixels are prepared and which features are taken; safe for JSON.
    """

    name: str
    num_features: int
    sha256: str
    parameters: dict[str, Any]
    device: str

    @abstractmethod
    def _embed(self, batch: Pixels) -> Tensor:
        """Features (n d) of a batch of frames (n h w c) or of clips (n f h w c)."""

    def _embed_all(self, items: Pixels, batch_size: int) -> Features:
        """Features of all items, in batches of a fixed size."""
        parts = []
        # In full float32: TensorFloat-32 would make a GPU's features differ from a CPU's in the third digit.
        full = torch.backends.cudnn.flags(enabled=True, deterministic=True, allow_tf32=False)
        with torch.inference_mode(), full:
            for start in range(0, len(items), batch_size):
                # A copy, since torch takes neither reversed nor read-only arrays.
                features = self._embed(items[start : start + batch_size].copy())
                if features.ndim != 2 or features.shape[1] != self.num_features:
                    raise ValueError(
                        f"{self.name} gave features of the shape {tuple(features.shape)} in place of "
                        f"(n, {self.num_features}): the file holds another network"
                    )
                parts.append(features.double().cpu().numpy())
        return np.concatenate(parts)


class FrameExtractor(Extractor):
    """A network that sees one frame at a time."""

    def embed_frames(self, clips: Pixels) -> Features:
        """Features of every frame.

        Shape:
            clips (b f h w c) -> (b f d).

        Raises:
            ValueError: The network does not give features of the promised width.
        """
        frames = clips.reshape(-1, *clips.shape[2:])
        return self._embed_all(frames, FRAMES_PER_BATCH).reshape(*clips.shape[:2], -1)


class ClipExtractor(Extractor):
    """A network that sees a clip as a whole."""

    def embed_clips(self, clips: Pixels) -> Features:
        """Features of every clip.

        Shape:
            clips (b f h w c) -> (b d).

        Raises:
            ValueError: Too few frames, or the network does not give features of the promised width.
        """
        return self._embed_all(clips, max(1, FRAMES_PER_BATCH // clips.shape[1]))


class ImageTextExtractor(FrameExtractor):
    """CLIP: frames and prompts in one space, by the projected embeddings, not normalised and without logit scale.

    Frames are prepared by the folder's own image processor, in the variant that needs no torchvision, so that values do
    not depend on whether that is installed. Prompts longer than the text tower are cut, and the log says so.
    """

    def __init__(self, ref: ExtractorRef, device: str) -> None:
        from transformers import CLIPImageProcessorPil, CLIPModel, CLIPTokenizer

        folder = _clip_folder(ref)
        weights = _clip_weights(ref, folder)
        # The stored type is not the type to compute in: half precision shifts cosines in the third digit.
        model, report = CLIPModel.from_pretrained(folder, dtype=torch.float32, output_loading_info=True)
        if report["missing_keys"] or report["mismatched_keys"]:
            missing = ", ".join(sorted(map(str, (*report["missing_keys"], *report["mismatched_keys"])))[:3])
            raise ValueError(
                f"{ref.name} at {folder} is no whole CLIP model (it lacks {missing}, ...): get {_remedy(ref)}"
            )
        self._model = model.eval().to(device)
        self._processor = CLIPImageProcessorPil.from_pretrained(folder)
        self._tokenizer = CLIPTokenizer.from_pretrained(folder)
        self._num_tokens = int(model.config.text_config.max_position_embeddings)
        self.name = ref.name
        self.num_features = int(model.config.projection_dim)
        self.sha256 = _sha256(weights)
        self.device = device
        self.parameters = {"preprocessing": _processing_record(self._processor), "features": "projected embeddings"}

    def embed_text(self, prompts: Sequence[str]) -> Features:
        """Features of prompts.

        Shape:
            b prompts -> (b d).
        """
        lengths = [len(tokens) for tokens in self._tokenizer(list(prompts), verbose=False)["input_ids"]]
        for prompt, length in zip(prompts, lengths, strict=True):
            if length > self._num_tokens:
                log.warning("%s reads %d of %d tokens of the prompt %r", self.name, self._num_tokens, length, prompt)
        tokens = self._tokenizer(
            list(prompts), padding=True, truncation=True, max_length=self._num_tokens, return_tensors="pt"
        ).to(self.device)
        with torch.inference_mode():
            text = self._model.get_text_features(tokens["input_ids"], attention_mask=tokens["attention_mask"])
        return np.asarray(text.pooler_output.double().cpu().numpy())

    def _embed(self, batch: Pixels) -> Tensor:
        pixels = self._processor(images=list(batch), input_data_format="channels_last", return_tensors="pt")
        image = self._model.get_image_features(pixels["pixel_values"].to(self.device))
        return torch.as_tensor(image.pooler_output)


class InceptionExtractor(FrameExtractor):
    """The Inception-v3 of FID, a torchscript file that resizes as TensorFlow 1 did and scales its pixels by itself.

    The file is called with uint8 frames (n c h w) and ``return_features=True`` and gives (n, 2048).
    """

    def __init__(self, ref: ExtractorRef, device: str) -> None:
        self._network = _load_torchscript(ref, "inception", device, ("return_features",))
        self.name = ref.name
        self.num_features = 2048
        self.sha256 = _sha256([Path(ref.source).expanduser()])
        self.device = device
        self.parameters = {
            "preprocessing": "uint8 frames; the file resizes to 299 x 299, bilinear as TensorFlow 1, and scales",
            "features": "last pool",
        }

    def _embed(self, batch: Pixels) -> Tensor:
        frames = torch.from_numpy(batch).to(self.device).movedim(-1, 1)
        return torch.as_tensor(self._network(frames, return_features=True))


class I3DExtractor(ClipExtractor):
    """I3D for Kinetics-400, a torchscript file that resizes and scales by itself.

    The file is called with float clips (n c f h w) in [0, 255] and ``rescale=True, resize=True, return_features=True``
    and gives the 400 logits (n, 400). Its hash tells two files apart, not a right one from a wrong one; the self-test
    does: clips all black and all white, 30 frames of 64 x 64 pixels, should lie about 151.3 apart by Frechet's distance
    (common_metrics_on_video_quality's README). What it gives is recorded with every score.
    """

    def __init__(self, ref: ExtractorRef, device: str) -> None:
        self._network = _load_torchscript(ref, "i3d", device, ("rescale", "resize", "return_features"))
        self.name = ref.name
        self.num_features = 400
        self.sha256 = _sha256([Path(ref.source).expanduser()])
        self.device = device
        self.parameters = {
            "preprocessing": "clips in [0, 255]; the file resizes straight to 224 x 224, bilinear, and scales",
            "features": "logits",
        }
        self.parameters["self_test"] = {"black_to_white": self._black_to_white(), "published": BLACK_TO_WHITE}

    def _black_to_white(self) -> float:
        """Frechet distance of black clips to white ones: equal clips have no spread, so one of each is enough."""
        pair = np.stack([np.full((30, 64, 64, 3), level, np.uint8) for level in (0, 255)])
        black, white = self.embed_clips(pair)
        return float(np.square(black - white).sum())

    def _embed(self, batch: Pixels) -> Tensor:
        if batch.shape[1] < I3D_FRAMES:
            raise ValueError(
                f"{self.name} needs clips of at least {I3D_FRAMES} frames (published values use 16) and these have "
                f"{batch.shape[1]}: raise `protocol.frames`, or take fvd and kvd off the metrics"
            )
        clips = torch.from_numpy(batch).to(self.device, torch.float32).movedim(-1, 1)
        return torch.as_tensor(self._network(clips, rescale=True, resize=True, return_features=True))


class ClassifierExtractor(ClipExtractor):
    """A base's own video classifier, by the features before its heads."""

    def __init__(self, ref: ExtractorRef, device: str) -> None:
        from models.video_classifier import VideoClassifier

        folder = _base_folder(ref)
        weights = sorted(folder.glob("*.safetensors"))
        if not weights or not (folder / "config.json").is_file():
            raise ValueError(f"{ref.name}: {folder} lacks config.json or *.safetensors: restore the base {ref.source}")
        model = VideoClassifier.from_pretrained(folder, torch_dtype=torch.float32, low_cpu_mem_usage=False)
        self._model = model.eval().to(device)
        self.name = ref.name
        self.num_features = int(model.config.num_features)
        self.sha256 = _sha256(weights)
        self.device = device
        self.parameters = {"preprocessing": "scaled to [-1, 1], not resized", "features": "before the heads"}

    def _embed(self, batch: Pixels) -> Tensor:
        video = torch.from_numpy(batch).to(self.device, torch.float32).movedim(-1, 2) / 127.5 - 1
        return torch.as_tensor(self._model(video).features)


def _base_folder(ref: ExtractorRef) -> Path:
    """The folder inside a base where one of its own extractors lies."""
    base = find_base(ref.source)
    assert base.path is not None, "only a base in a folder brings extractors along"
    assert ref.subfolder is not None
    return base.path / ref.subfolder


def _remedy(ref: ExtractorRef) -> str:
    return HOW_TO_GET["clip"] if ref.subfolder is None else f"the whole base {ref.source} again"


def _clip_folder(ref: ExtractorRef) -> Path:
    """The local folder of a CLIP model; a hub id is downloaded, or found in the cache when offline."""
    if ref.subfolder is not None:
        return _base_folder(ref)
    if is_path(ref.source):
        return Path(ref.source).expanduser()
    try:
        return _download(ref.source)
    except (OSError, ValueError) as reason:
        raise ValueError(
            f"CLIP model {ref.source} is neither on the hub nor in its cache ({reason}): get {_remedy(ref)}"
        ) from reason


def _download(source: str) -> Path:
    """Fetch a CLIP model from the hub into its cache; pickled weights only where there are no others."""
    from huggingface_hub import snapshot_download

    repository, _, revision = source.partition("@")
    folder = Path(
        snapshot_download(repository, revision=revision or None, allow_patterns=[*_SETTINGS, "model*.safetensors"])
    )
    if not _weight_files(folder):
        snapshot_download(repository, revision=revision or None, allow_patterns=["pytorch_model*.bin"])
    return folder


def _weight_files(folder: Path) -> list[Path]:
    return sorted(folder.glob("model*.safetensors")) or sorted(folder.glob("pytorch_model*.bin"))


def _clip_weights(ref: ExtractorRef, folder: Path) -> list[Path]:
    """The weight files of a CLIP folder, after a look at whether the folder is whole.

    The look is needed: transformers makes an empty tokenizer, without a word, where the files of one are absent.
    """
    weights = _weight_files(folder)
    groups = {
        "config.json": ["config.json"],
        "model.safetensors": [file.name for file in weights],
        "preprocessor_config.json": ["preprocessor_config.json", "processor_config.json"],
        "tokenizer.json": ["tokenizer.json", "vocab.json"],
    }
    missing = [name for name, files in groups.items() if not any((folder / file).is_file() for file in files)]
    if missing:
        raise ValueError(f"{ref.name}: the CLIP folder {folder} lacks {', '.join(missing)}: get {_remedy(ref)}")
    return weights


def _load_torchscript(ref: ExtractorRef, role: Role, device: str, arguments: Sequence[str]) -> Any:
    """Load a torchscript file and look at its signature, which tells the networks apart."""
    path = Path(ref.source).expanduser()
    if not path.is_file():
        raise ValueError(f"extractors.{role}: there is no file at {path}; get {HOW_TO_GET[role]}")
    try:
        with warnings.catch_warnings():
            # Torch points to torch.export here, but these networks are published as torchscript only.
            warnings.filterwarnings("ignore", ".*torch.jit.load.*", DeprecationWarning)
            network = torch.jit.load(path, map_location=device).eval()  # type: ignore[no-untyped-call]
    except RuntimeError as reason:
        raise ValueError(f"extractors.{role}: {path} is no torchscript file; get {HOW_TO_GET[role]}") from reason
    taken = {argument.name for argument in network.forward.schema.arguments}
    missing = [name for name in arguments if name not in taken]
    if missing:
        raise ValueError(
            f"extractors.{role}: the network in {path} takes no {', '.join(missing)}, so it is another one; "
            f"get {HOW_TO_GET[role]}"
        )
    return network


def _processing_record(processor: Any) -> dict[str, Any]:
    """What the image processor does, without what is merely its name."""
    record = json.loads(processor.to_json_string())
    steps = ("size", "crop_size", "resample", "rescale_factor", "image_mean", "image_std")
    return {"resize": "Pillow"} | {step: record[step] for step in steps if step in record}


def _sha256(files: Sequence[Path]) -> str:
    digest = hashlib.sha256()
    for file in files:
        with file.open("rb") as stream:
            while block := stream.read(1 << 20):
                digest.update(block)
    return digest.hexdigest()
