"""Families of metrics, and the networks that they need: plain data, which imports no torch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Role = Literal[
    "clip", "inception", "i3d", "dino", "musiq", "aesthetic", "aesthetic_clip", "amt", "vjepa", "raft", "classifier"
]
"""Networks; a study gives all but ``classifier``, which only a base has."""


@dataclass(frozen=True)
class MetricFamily:
    """Metric family, as a study names it under ``metrics``.

    Attributes:
        name: Name in the study.
        direction: Whether larger or smaller is better.
        meaning: Description for tables, without the extractor's name.
        extractor: Required network; None for metrics on pixels.
        instead: Measure on pixels that replaces it without the network, under a name of its own.
        needs_references: Whether it compares with reference clips of the data.
        needs_words: Whether it reads the prompts, so that they must be in the words of the procedural scenes.
        needs_continuation: Whether it compares with the true continuation of the given frames.
        inside: What it reads of the model, instead of pixels: the states that it is given, or its condition.
        per: Whether each clip has a value (averaged over the set) or only the set.
        companion: Family that must be reported with it, since this one alone is misleading.
        least_frames: Fewest frames per clip.
        least_clips: Fewest clips per cell.
        clips_per_feature: Fewest clips per cell for each feature of the network.
        least_side: Smallest height and width of a frame, in pixels.
        aliases: Other names in papers.
    """

    name: str
    direction: Literal["max", "min"]
    meaning: str
    extractor: Role | None = None
    instead: PixelMeasure | None = None
    needs_references: bool = False
    needs_words: bool = False
    needs_continuation: bool = False
    inside: Literal["states", "condition"] | None = None
    per: Literal["clip", "set"] = "clip"
    companion: str | None = None
    least_frames: int = 1
    least_clips: int = 1
    clips_per_feature: int = 0
    least_side: int = 1
    aliases: tuple[str, ...] = ()


@dataclass(frozen=True)
class PixelMeasure:
    """Measure on pixels that replaces a metric without its network.

    Attributes:
        key: Full name.
        meaning: Description for tables.
    """

    key: str
    meaning: str


@dataclass(frozen=True)
class MetricGroup:
    """Word of a study for several metrics: each that can be measured is reported under its own name.

    Attributes:
        name: Name in the study.
        members: Families, in the order of tables.
        meaning: Description.
        aliases: Other names in papers.
    """

    name: str
    members: tuple[str, ...]
    meaning: str
    aliases: tuple[str, ...] = ()


def _between_frames(
    name: str, meaning: str, extractor: Role | None = None, aliases: tuple[str, ...] = ()
) -> MetricFamily:
    """Make a score that is best for a frozen clip."""
    return MetricFamily(name, "max", meaning, extractor, companion=_MOTION, least_frames=2, aliases=aliases)


def _against_truth(name: str, meaning: str, alias: str, least_side: int = 1) -> MetricFamily:
    """Make a score of generated frames against the true continuation."""
    return MetricFamily(name, "max", meaning, needs_continuation=True, least_side=least_side, aliases=(alias,))


def _between_sets(name: str, extractor: Role, meaning: str, *aliases: str, clips_per_feature: int = 0) -> MetricFamily:
    """Make a distance to the reference clips."""
    return MetricFamily(
        name,
        "min",
        meaning,
        extractor,
        needs_references=True,
        per="set",
        least_clips=1 if extractor in ("inception", "clip") else 2,  # these have one row per frame, not per clip
        clips_per_feature=clips_per_feature,
        aliases=aliases,
    )


def _of_set(name: str, meaning: str, least_clips: int, *aliases: str) -> MetricFamily:
    """Make a measure of the clips as a set that is best when large."""
    return MetricFamily(
        name, "max", meaning, "i3d", needs_references=True, per="set", least_clips=least_clips, aliases=aliases
    )


def _of_states(name: str, attributes: str, aliases: tuple[str, ...] = ()) -> MetricFamily:
    """Make a score of the states that a model reads."""
    meaning = f"share of frames whose state has the right words for {attributes}, by the true frames"
    return MetricFamily(name, "max", meaning, inside="states", aliases=aliases)


def _of_condition(name: str, label: str) -> MetricFamily:
    """Make a score of the condition that a model makes."""
    meaning = f"share of frames of which a linear probe reads {label} from the condition, on clips it was not fitted on"
    aliases = ("MCondition quality", "condition quality", "quality of the condition")
    return MetricFamily(name, "max", meaning, inside="condition", least_clips=2, aliases=aliases)


_MOTION = "motion_magnitude"
_TO_BOTH = "mean cosine of a frame with the first and with the previous frame, negative cosines as 0"
SSIM_WINDOW = 11
"""Side of SSIM's window, in pixels."""

RAFT_SIDE = 128
"""Smallest side of a frame for RAFT, in pixels: it looks for matches at 1/64 of the frame."""

CLIPS_PER_FEATURE = 4
"""Fewest clips for each feature for the correction, interval and extrapolation of a Frechet distance.

With at most as many clips as features the interval never covers the distance. Of 64 features with 80, 128 and 256 clips
it covers 0, 65 and 95 %, against 2,048 real clips.
"""

METRICS: dict[str, MetricFamily] = {
    family.name: family
    for family in (
        MetricFamily(
            "clip_score",
            "max",
            "100 times the mean cosine of frames and prompt",
            "clip",
            aliases=("CLIPScore", "CLIP similarity", "CLIPSIM"),
        ),
        _between_frames("temporal_consistency", "mean cosine of consecutive frames", "clip", ("frame consistency",)),
        _between_frames("video_coherence", "mean cosine of all pairs of frames", "clip"),
        _between_frames(
            "temporal_flickering",
            "1 minus the mean change of a pixel between frames: VBench's formula, without its filter for static clips",
            aliases=("flickering", "temporal flicker"),
        ),
        MetricFamily(
            "motion_smoothness",
            "max",
            "1 minus the mean error of every second frame, interpolated from its neighbours",
            "amt",
            PixelMeasure(
                "interp_residual_score/farneback",
                "1 minus the mean error of every second frame, interpolated from its neighbours by half of their "
                "optical flow (Farneback): the protocol of VBench's motion smoothness with another interpolation, so "
                "not its values",
            ),
            companion=_MOTION,
            least_frames=3,
            aliases=("smoothness of motion", "temporal smoothness"),
        ),
        _between_frames("subject_consistency", _TO_BOTH, "dino"),
        _between_frames("background_consistency", _TO_BOTH, "clip"),
        MetricFamily("imaging_quality", "max", "mean quality of frames, from 0 to 1", "musiq", aliases=("MUSIQ",)),
        MetricFamily(
            "aesthetic_quality",
            "max",
            "mean aesthetic score of frames, over 10",
            "aesthetic",
            aliases=("aesthetic score", "LAION aesthetic"),
        ),
        _against_truth(
            "psnr",
            "mean peak signal-to-noise ratio of the frames that were not given to the true continuation, in dB",
            "peak signal-to-noise ratio",
        ),
        _against_truth(
            "ssim",
            "mean structural similarity of the frames that were not given to the true continuation",
            "structural similarity",
            least_side=SSIM_WINDOW,
        ),
        MetricFamily(
            "warp_error",
            "min",
            "mean squared difference of a frame to the next one warped onto it by optical flow (Farneback), in [0, 1], "
            "without occluded pixels",
            companion=_MOTION,
            least_frames=2,
            aliases=("warping error", "flow warping error"),
        ),
        MetricFamily(
            _MOTION,
            "max",
            "mean Farneback flow between frames, over the frame's diagonal: 0 when frozen; context, not a goal",
            least_frames=2,
            aliases=("optical flow magnitude", "amount of motion"),
        ),
        MetricFamily(
            "dynamic_degree",
            "max",
            "share of clips with large motion",
            "raft",
            least_frames=3,
            least_side=RAFT_SIDE,
            aliases=("dynamic degree",),
        ),
        MetricFamily(
            "motion_accuracy",
            "max",
            "share of frames whose recognised motion is the one that the prompt names for them",
            "classifier",
            needs_words=True,
            aliases=("motion alignment",),
        ),
        _between_sets(
            "fid", "inception", "Frechet distance of frames to reference frames", "Frechet inception distance"
        ),
        _between_sets(
            "kid", "inception", "unbiased cubic-kernel MMD of frames to reference frames", "kernel inception distance"
        ),
        _between_sets("fvd", "i3d", "Frechet distance of clips to reference clips", "Frechet video distance"),
        _between_sets(
            "fvd_infinity",
            "i3d",
            "Frechet distance of clips to reference clips, extrapolated to infinitely many of both",
            "FVD-infinity",
            "FVD_inf",
            clips_per_feature=CLIPS_PER_FEATURE,
        ),
        _between_sets("kvd", "i3d", "unbiased cubic-kernel MMD of clips to reference clips", "kernel video distance"),
        _between_sets("jedi", "vjepa", "100 times the unbiased quadratic-kernel MMD of clips to reference clips"),
        _between_sets(
            "cmmd",
            "clip",
            "1000 times the unbiased Gaussian-kernel MMD of frames to reference frames",
            "CLIP maximum mean discrepancy",
        ),
        _of_set("improved_precision", "share of clips near a reference clip", 4),
        _of_set("improved_recall", "share of reference clips near a clip", 4),
        _of_set("diversity", "effective number of different clips (Vendi score)", 2, "Vendi score"),
        _of_states("state_accuracy", "size, colour, shape and motion", ("prediction accuracy",)),
        *(_of_states(f"state_{attribute}", attribute) for attribute in ("size", "colour", "shape", "motion")),
        _of_condition("condition_frame", "its number"),
        _of_condition("condition_phase", "the motion that is under way"),
    )
}
"""All metric families, in the order of tables."""

GROUPS: dict[str, MetricGroup] = {
    "video_quality": MetricGroup(
        "video_quality",
        (
            "imaging_quality",
            "aesthetic_quality",
            "subject_consistency",
            "background_consistency",
            "psnr",
            "ssim",
            "warp_error",
        ),
        "the numbers that stand for the quality of a video, each under its own name; no mean of them is made",
    )
}
"""All groups by name."""

HOW_TO_GET: dict[Role, str] = {
    "clip": (
        "a CLIP model (folder in transformers' layout, or hub id such as openai/clip-vit-base-patch32): "
        "set `extractors: {clip: folder-or-hub-id}`"
    ),
    "inception": (
        "FID's Inception network as torchscript, from StyleGAN2-ADA: "
        "https://nvlabs-fi-cdn.nvidia.com/stylegan2-ada-pytorch/pretrained/metrics/inception-2015-12-05.pt, "
        "and set `extractors: {inception: path/to/inception-2015-12-05.pt}`"
    ),
    "i3d": (
        "I3D for Kinetics-400 as torchscript (i3d_torchscript.pt, as in StyleGAN-V), copy at "
        "https://huggingface.co/flateon/FVD-I3D-torchscript, "
        "and set `extractors: {i3d: path/to/i3d_torchscript.pt}`"
    ),
    "dino": (
        "a DINO ViT (folder in transformers' layout, or hub id such as facebook/dino-vitb16): "
        "set `extractors: {dino: folder-or-hub-id}`"
    ),
    "musiq": (
        "MUSIQ's weights for SPAQ: "
        "https://github.com/chaofengc/IQA-PyTorch/releases/download/v0.1-weights/musiq_spaq_ckpt-358bb6af.pth, "
        "and set `extractors: {musiq: path/to/musiq_spaq_ckpt-358bb6af.pth}`"
    ),
    "aesthetic": (
        "LAION's linear head for CLIP ViT-L/14: "
        "https://github.com/LAION-AI/aesthetic-predictor/raw/main/sa_0_4_vit_l_14_linear.pth, "
        "and set `extractors: {aesthetic: path/to/sa_0_4_vit_l_14_linear.pth}`"
    ),
    "aesthetic_clip": (
        "CLIP ViT-L/14 (folder in transformers' layout, or hub id openai/clip-vit-large-patch14): "
        "set `extractors: {aesthetic_clip: folder-or-hub-id}`"
    ),
    "amt": (
        "AMT-S (https://huggingface.co/lalala125/AMT, amt-s.pth) as torchscript, as in docs/bases_and_metrics.md, "
        "and set `extractors: {amt: path/to/amt-s.pt}`"
    ),
    "vjepa": (
        "V-JEPA ViT-H/16 (https://dl.fbaipublicfiles.com/jepa/vith16/vith16.pth.tar and ssv2-probe.pth.tar) as "
        "torchscript, as in docs/bases_and_metrics.md, and set `extractors: {vjepa: path/to/vjepa.pt}`"
    ),
    "raft": (
        "RAFT (raft-things.pth of https://github.com/princeton-vl/RAFT) as torchscript, as in "
        "docs/bases_and_metrics.md, and set `extractors: {raft: path/to/raft.pt}`"
    ),
}
"""Role -> network, its source, and its key in a study; a classifier comes with a base alone."""

PYIQA = (
    "the package pyiqa, which computes MUSIQ, is not installed: `pip install pyiqa`, with a torchvision that fits torch"
)
"""Message for a machine without the optional package; torchvision breaks machines whose torch has no CUDA."""

AESTHETIC_CLIP = "openai/clip-vit-large-patch14"
"""CLIP model for which LAION's linear head was trained."""

I3D_FRAMES = 9
"""Fewest frames for I3D: its temporal stride is 8 and its last pool spans 2. Published values use 16."""
