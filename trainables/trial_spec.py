"""What crosses from plan to worker and back: one typed specification in, one typed result out."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, FiniteFloat

from models import SYSTEMS
from models.bases import Protocol
from models.training import AdamW
from trainables.data import Data
from trainables.files import json_hash
from trainables.metrics import Extractors
from trainables.scaling import Scaling, next_smaller

RESULT = "result.json"
"""Name of the result in a cell's folder."""

OBJECTIVE = "objective"
"""Name under which a trainable reports a search's first objective to its trial_scheduler."""

UPDATE = "update"
"""Name under which it reports how far a training is, in updates."""

Precision = Literal["auto", "fp32", "bf16", "fp16"]
Stage = Literal["plan", "search", "confirm"]
Status = Literal["done", "failed", "pruned"]
Failure = Literal["infrastructure", "out of memory", "diverged", "refused", "error"]
"""Why a cell failed: see ``trainables.failures.classify``."""


class LostWorkerError(RuntimeError):
    """A process of a cell's worker group is gone: an accident of the machine, not a result of the cell."""


class TrialSpec(BaseModel):
    """One cell, complete: everything a worker needs, and nothing it has to look up.

    ``study``, ``arm``, ``role``, ``part`` and ``action`` say where the cell stands in its study; ``stage``, ``trial``
    and ``search`` say who asked for it; ``metrics`` and ``extractors`` say how its clips are scored; ``scaling`` says
    by what it is trained. All else decides what is sampled, and therefore the cell's id.

    Args:
        tree: The system, with the arm's changes and then the sampled values laid on it.
        sampled: Dotted path -> value that a search proposed; empty for an arm as it stands.
        stage: The plan's own cell, a search's trial, or a winner's confirmation on a fresh seed.
        trial: Number of a search's trial within its arm, from 0; of a confirmation the winner's rank, None for an arm
            as it stands.
        search: Identity of the search; empty for the plan's own cells.
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
    data: Data
    protocol: Protocol
    scaling: Scaling = Scaling()
    precision: Precision = "auto"
    seed: int = Field(ge=0)
    sampled: dict[str, Any] = {}
    stage: Stage = "plan"
    trial: int | None = None
    search: str = ""
    metrics: tuple[str, ...]
    extractors: Extractors = Extractors()

    def folder(self, storage: Path) -> Path:
        """Where the cell keeps its files, under the folder of all studies."""
        return storage / self.study / "cells" / self.cell_id

    @property
    def training(self) -> AdamW | None:
        """How the system is trained; None for one that is not."""
        return AdamW.model_validate(self.tree["training"]) if SYSTEMS[self.system].is_trained else None

    def in_smaller_pieces(self, *, trained: bool) -> "TrialSpec | None":
        """The same cell for a device whose memory did not suffice; None where it cannot be cut further.

        A training takes a smaller micro-batch, and more of them per update, so that the global batch stays what it is;
        drawing takes one clip at a time.

        Args:
            trained: Whether its training is over.
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
        """Stable identity of the cell: 16 hexadecimal digits of the hash of all that decides what is sampled.

        Metrics are not part of it, since clips are kept and scored in a second step; nor are micro-batch, workers and
        how often a training reports, which change no draw.
        """
        identity = self.model_dump(
            mode="json",
            include={"system", "tree", "base", "data", "protocol", "precision", "seed", "sampled"},
            exclude={"protocol": {"micro_batch"}},
        )
        identity["training"] = None
        return json_hash(identity)


class Uncertainty(BaseModel):
    """What leaving out blocks of clips says of a distance between sets (``metrics.distances.block_jackknife``).

    It speaks of one cell's clips. Between arms the unit is the seed: see ``sweeps.statistics.paired``.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    corrected: FiniteFloat | None
    error: FiniteFloat
    low: FiniteFloat
    high: FiniteFloat
    blocks: int


class Score(BaseModel):
    """One metric of one cell: its value over all clips, with everything needed to compare it fairly.

    ``per_clip`` is absent for metrics of a whole set (Frechet distances), and ``uncertainty`` for all others. Two
    scores may be compared only where key and parameters agree.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    value: FiniteFloat
    per_clip: list[FiniteFloat] | None = None
    uncertainty: Uncertainty | None = None
    direction: Literal["max", "min"]
    surrogate: bool
    parameters: dict[str, Any]


class Result(BaseModel):
    """What a worker leaves behind for one cell; written by atomic rename, as ``cells/<id>/result.json``.

    ``attempt`` counts the times the cell was begun: after a failure, or a worker that died. ``failure`` says of what
    kind its error is, and ``retries`` what was tried before for want of memory. ``prompts`` are what its clips were
    asked for, one each.
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
    """The values of nested maps by their dotted paths."""
    flat: dict[str, Any] = {}
    for key, value in tree.items():
        flat |= leaves(value, f"{prefix}{key}.") if isinstance(value, Mapping) else {f"{prefix}{key}": value}
    return flat
