"""Arms and metrics as the words of a sentence: ``Removing the momentum attention``, ``temporal consistency``."""

from collections.abc import Sequence

from sweeps.plan.arms import Arm
from sweeps.study.fields import REMOVED
from sweeps.study.words import written
from trainables.metrics import MetricKey

UPPER = ("clip", "cmmd", "fd", "fid", "fvd", "jedi", "kd", "kid", "kvd", "mmd", "psnr", "ssim")
"""Words of metrics that are abbreviations."""

NOUNS = {
    "attention": {
        "momentum": "momentum attention",
        "previous_frame": "attention to the previous frame",
        "cross_frame": "attention to the first frame",
    },
    "noise": {
        "two_stage": "dependency noise",
        "random_search": "noise of the random search alone",
        "analytic": "correlated noise in closed form",
        "published_climb": "noise of the published search",
        "mixed": "mixed noise",
        "progressive": "progressive noise",
        "shared": "noise that all frames share",
    },
    "temporal_attention": {
        "scaled_window": "autoregressive spatial-temporal attention",
        "frame_causal_window": "frame-causal spatial-temporal attention",
        "full_window": "bidirectional spatial-temporal attention",
        "fixed_window": "spatial-temporal attention in windows of one size",
        "temporal": "bidirectional temporal attention",
        "causal_temporal": "causal temporal attention",
        "concatenation": "concatenation of consecutive frames",
    },
    "text_decomposer": {"frame_sequential": "frame-sequential text decomposer"},
    "identity_conv": {
        "dense": "identity convolution",
        "temporal": "identity convolution over time alone",
        "depthwise": "depthwise identity convolution",
        "residual": "residual convolution",
        "frozen": "identity convolution that is not trained",
    },
    "position": {
        "learnable": "learnt position embedding",
        "static": "static position embedding",
        "rotary": "rotary position embedding",
    },
    "extension": {"one_pass": "extension"},
    "states": {"llava": "predicted states", "oracle": "states of the true frames", "shuffled": "states of other clips"},
    "condition": {
        "both": "multi-condition",
        "upper": "upper branch alone",
        "lower": "lower branch alone",
        "mean": "average condition of all frames",
        "text": "plain text tokens",
    },
    "spatial_adapter": {"bottleneck": "spatial adapter"},
    "short_term_adapter": {"depthwise": "short-term adapter", "dense": "dense short-term adapter"},
    "long_term_adapter": {
        "full": "long-term adapter",
        "causal": "causal long-term adapter",
        "windowed": "windowed long-term adapter",
    },
    "feed_forward_adapter": {"bottleneck": "feed-forward adapter"},
    "ema": {"updates": "moving average over updates", "epochs": "moving average over epochs"},
    "guidance": {"classifier_free": "classifier-free guidance", "dual": "guidance by frame and text"},
    "sampling_schedule": {"training": "schedule of the training", "published": "published schedule"},
}
"""Slot -> kind -> what it is called after *the*; a kind that no noun names is absent."""

CLAUSES = {
    "trainable": {
        "all": "Training all weights",
        "low_rank": "Training low-rank adapters alone",
        "extension_only": "Training the position and the convolution alone",
        "with_cross_attention": "Training the cross-attention as well",
        "with_temporal_blocks": "Training the temporal blocks as well",
        "with_temporal_convolutions": "Training the temporal convolutions as well",
        REMOVED: "Training nothing",
    },
    "states": {"repeat": "Repeating the instruction in place of the states"},
    "injection": {"tuned": "Tuning the base's own cross-attention in place of a new one"},
    "frame_condition": {
        "grey": "Following the given frame by grey frames in the condition",
        "repeated": "Repeating the given frame in the condition",
    },
    "guidance": {
        "frame": "Guiding by the given frame alone",
        "text": "Guiding by the text alone",
        "rising": "Raising the guidance over the frames",
    },
    "group_norm": {"per_frame": "Normalising each frame by itself"},
    "text_decomposer": {
        "constant": "Giving all frames the same sub-instruction",
        "grouped": "Giving groups of frames the same sub-instruction",
    },
    "prediction": {REMOVED: "Repeating the last given frame in place of a prediction"},
    "extension": {
        "sliding_windows": "Sampling in sliding windows",
        "still": "Repeating the given frame in place of an extension",
    },
}
"""Slot -> kind -> what an arm with it does, where this is not to remove, replace or add a thing."""


def subject(arm: Arm, control: Arm) -> str:
    """Word what an arm does, as the beginning of a sentence; its id in quotes where there are no such words."""
    if arm.has_own_system or len(arm.changes) != 1:
        return f'"{arm.id}"'
    ((path, value),) = arm.changes.items()
    if arm.action == "VALUES":
        return f"Setting {path} to {written(value)}"
    if arm.action not in ("REMOVE", "REPLACE", "ADD") or not isinstance(value, str):
        return f'"{arm.id}"'
    if clause := CLAUSES.get(path, {}).get(value):
        return clause
    before, after = (_noun(path, of) for of in (control, arm))
    if value == REMOVED:
        return f"Removing the {before}" if before else f'"{arm.id}"'
    if arm.action == "ADD":
        return f"Adding the {after}" if after else f'"{arm.id}"'
    return f"Replacing the {before} by the {after}" if before and after else f'"{arm.id}"'


def _noun(slot: str, arm: Arm) -> str:
    """Name the part in a slot of an arm; empty where no noun does."""
    return NOUNS.get(slot, {}).get(getattr(getattr(arm.system, slot, None), "kind", ""), "")


def continued(words: str) -> str:
    """Put a subject behind other words: a verb in lower case, a quoted id as it is."""
    return words[0].lower() + words[1:]


def metric_words(metric: MetricKey, metrics: Sequence[MetricKey]) -> str:
    """Name a metric in a sentence, such as ``temporal consistency``; with its extractor where another has this name.

    Args:
        metric: The metric.
        metrics: All metrics of the table.
    """
    family, _, extractor = metric.key.partition("/")
    name = " ".join(word.upper() if word in UPPER else word for word in family.split("_"))
    is_ambiguous = any(other.key != metric.key and other.key.partition("/")[0] == family for other in metrics)
    return f"{name} ({extractor})" if is_ambiguous else name
