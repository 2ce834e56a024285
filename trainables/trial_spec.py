"""Specification and result of a cell: the data exchanged between driver and workers."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, FiniteFloat

from models import SYSTEMS
from models.bases import BaseRef, Precision, Protocol
from models.training import AdamW
from trainables.data import Data
from trainables.data.content import LABELS, Content
from trainables.files import json_hash
from trainables.grouping import Grouping
from trainables.metrics import Extractors
from trainables.scaling import Scaling, next_smaller

RESULT = "result.json"
"""Name of the result in a cell's folder."""

OBJECTIVE = "objective"
"""Name of a search's first objective in the reports to the trial_scheduler."""

UPDATE = "update"
"""Name of the number of completed updates in these reports."""

Stage = Literal["plan", "search", "confirm", "path"]
Status = Literal["done", "failed", "pruned"]
Failure = Literal["infrastructure", "disk full", "out of memory", "diverged", "refused", "error"]
"""Class of a failure: see ``trainables.failures.classify``."""


class LostWorkerError(RuntimeError):
    """A process of a cell's worker group was lost: an infrastructure failure, not a result of the cell."""


class TrialSpec(BaseModel):
    """Complete specification of one cell: everything a worker needs.

    ``study``, ``arm``, ``role``, ``part`` and ``action`` locate the cell in its study; ``stage``, ``trial``,
    ``repeat`` and ``search`` give its origin; ``metrics``, ``extractors``, ``scoring_base`` and ``by`` define the
    scores; ``scaling`` the worker group. All other fields determine the samples, and therefore the cell's id.

    Args:
        text_encoder: What the study names as text encoder; left out where it is the base's own.
        tree: The system with the arm's changes, then the sampled values, applied.
        sampled: Dotted path -> value proposed by a search; empty for an unsearched arm.
        stage: A cell of the plan, a trial of a search, the confirmation of a winner on a new seed, or a step of the
            ablation path from a winner.
        trial: Number of the trial within its arm, from 0; for a confirmation the winner's rank, for a path the step;
            None for an unsearched arm.
        repeat: Number of the independent search of its arm, from 0; left out where it is 0.
        search: Identity of the search; empty for cells of the plan.
        scoring_base: Base whose networks score the cell where ``extractors`` names none: that of the study, so that one
            network scores arms on several bases; empty for the cell's own.
        by: Groups of clips by which the metrics are computed as well.
        content: Hashes of the data: the same files with other content make another cell.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    study: str
    arm: str
    role: Literal["control", "arm"]
    part: str = ""
    action: str = ""
    system: str
    tree: dict[str, Any]
    base: str
    text_encoder: Annotated[str, Field(exclude_if=lambda value: not value)] = ""
    data: Data
    protocol: Protocol
    scaling: Scaling = Scaling()
    precision: Precision = "auto"
    seed: int = Field(ge=0)
    sampled: dict[str, Any] = {}
    stage: Stage = "plan"
    trial: int | None = None
    repeat: Annotated[int, Field(ge=0, exclude_if=lambda value: not value)] = 0
    search: str = ""
    metrics: tuple[str, ...]
    extractors: Extractors = Extractors()
    scoring_base: str = ""
    by: Grouping | None = None
    content: Content = {}

    def folder(self, storage: Path) -> Path:
        """Folder of the cell, under the folder of all studies."""
        return storage / self.study / "cells" / self.cell_id

    @property
    def ref(self) -> BaseRef:
        """Location of the cell's base.

        Raises:
            ValueError: The base does not exist.
        """
        return SYSTEMS[self.system].find_base(self.base, self.text_encoder)

    @property
    def training(self) -> AdamW | None:
        """Training settings; None for a system without training."""
        return AdamW.model_validate(self.tree["training"]) if SYSTEMS[self.system].is_trained else None

    def with_smaller_batches(self, *, trained: bool) -> "TrialSpec | None":
        """Return the same cell with a smaller micro-batch, after an out-of-memory failure; None if it is smallest.

        Training uses a smaller micro-batch and more gradient accumulation, at the same global batch; sampling uses one
        clip at a time.

        Args:
            trained: Whether its training is finished.
        """
        if self.training is not None and not trained:
            smaller = next_smaller(self.scaling.micro_batch(self.training))
            scaling = self.scaling.model_copy(update={"micro_batch_size": smaller})
            return self.model_copy(update={"scaling": scaling}) if smaller else None
        frames, now = self.protocol.frames, self.protocol.micro_batch
        if now is not None and now <= frames:
            return None
        return self.model_copy(update={"protocol": self.protocol.model_copy(update={"micro_batch": frames})})

    @property
    def cell_id(self) -> str:
        """Stable identity of the cell: 16 hexadecimal digits of the hash of all fields that determine the samples.

        Metrics and labels are not included, since stored clips can be scored later; nor are micro-batch, workers and
        report intervals, which change no random draw.
        """
        named = {
            "system",
            "tree",
            "base",
            "text_encoder",
            "data",
            "content",
            "protocol",
            "precision",
            "seed",
            "sampled",
        }
        identity = self.model_dump(
            mode="json",
            include=named,
            exclude={"protocol": {"micro_batch"}, "content": {LABELS}},
        )
        identity |= {"data": self.data.identity(), "training": None}
        return json_hash(identity)


class Uncertainty(BaseModel):
    """Block-jackknife uncertainty of a distance between sets (``metrics.resampling.block_jackknife``).

    It covers the clips of one cell only. Arms are compared by seed: see ``sweeps.statistics.paired``. ``corrected`` is
    None in results of earlier versions, whose interval is then biased like the value.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    corrected: FiniteFloat | None
    error: FiniteFloat
    low: FiniteFloat
    high: FiniteFloat
    blocks: int


class Floor(BaseModel):
    """A measure of real clips against the other real clips, as many as a cell has (``metrics.resampling.floor_of``)."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    mean: FiniteFloat
    sd: FiniteFloat
    draws: int


class GroupScore(BaseModel):
    """One metric over the clips of one group of a cell; None where there are too few of them."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    value: FiniteFloat | None
    clips: int


SET_NUMBERS = ("clips", "frames", "references", "num_features", "ddof")
"""Parameters of a measure between sets that belong to its value."""


class Score(BaseModel):
    """One metric of one cell: its value over all clips, with the parameters needed for a fair comparison.

    ``per_clip`` has the mean of each clip over its frames, ``per_frame`` the mean of each frame over the clips, None
    for a frame without a value: a score between frames has none for the first one. Both are absent for metrics of a
    whole set (Frechet distances), and ``uncertainty`` and ``floor`` for all others. ``groups`` has the values of the
    groups of the cell's ``by``: column or ``subset`` -> category or subset -> value. Two scores may be compared only if
    key and parameters agree.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    value: FiniteFloat
    per_clip: list[FiniteFloat] | None = None
    per_frame: list[FiniteFloat | None] | None = None
    uncertainty: Uncertainty | None = None
    floor: Floor | None = None
    groups: dict[str, dict[str, GroupScore]] = {}
    direction: Literal["max", "min"]
    surrogate: bool
    parameters: dict[str, Any]

    @property
    def set_numbers(self) -> dict[str, float]:
        """The numbers without which a measure between sets means nothing, and its floor; empty for other metrics."""
        if "references" not in self.parameters:
            return {}
        numbers = {name: self.parameters[name] for name in SET_NUMBERS if name in self.parameters}
        return numbers | ({} if self.floor is None else {"floor": self.floor.mean, "floor_sd": self.floor.sd})


class Result(BaseModel):
    """Result of one cell, written by atomic rename as ``cells/<id>/result.json``.

    ``attempt`` counts the starts of the cell, including those after a failure or a lost worker. ``failure`` is the
    class of its error, ``retries`` the errors of earlier attempts that ran out of memory. ``prompts`` has one prompt
    per clip.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    cell_id: str
    spec: TrialSpec
    status: Status
    error: str = ""
    failure: Failure | Literal[""] = ""
    retries: tuple[str, ...] = ()
    attempt: int = Field(default=1, ge=1)
    prompts: tuple[str, ...] = ()
    scores: dict[str, Score] = {}
    statistics: dict[str, float] = {}
    seconds: dict[str, float] = {}
    finished: str
    provenance: dict[str, str] = {}


def leaves(tree: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Flatten nested maps to values by dotted path."""
    flat: dict[str, Any] = {}
    for key, value in tree.items():
        flat |= leaves(value, f"{prefix}{key}.") if isinstance(value, Mapping) else {f"{prefix}{key}": value}
    return flat
