"""Cells: an arm at a seed, with the complete specification for a worker."""

from dataclasses import dataclass

from models.bases import BaseRef, Card, Protocol
from sweeps.plan.arms import Arm
from sweeps.study.types import Study
from trainables.data import Data
from trainables.data.content import Content
from trainables.metrics import MetricKey
from trainables.trial_spec import TrialSpec


@dataclass(frozen=True)
class Cell:
    """An arm at a seed, run exactly once. Its id is the hash of everything that determines the samples."""

    id: str
    arm: str
    seed: int
    spec: TrialSpec

    @classmethod
    def of(cls, spec: TrialSpec) -> "Cell":
        """Make the cell of a specification."""
        return cls(spec.cell_id, spec.arm, spec.seed, spec)


@dataclass(frozen=True)
class Setting:
    """Settings of the study: base with its card, data, protocol and metrics.

    Arms share all of them, except that an arm may have its own base, and its own steps and guidance.

    ``content`` is empty for clips on disk: see ``sweeps.results.content``.
    """

    ref: BaseRef
    card: Card
    data: Data
    protocol: Protocol
    metrics: tuple[MetricKey, ...]
    notes: tuple[str, ...]
    content: Content


def specify(study: Study, arm: Arm, seed: int, setting: Setting) -> TrialSpec:
    """Make the specification of an arm at a seed, without sampled values."""
    scaling = study.resources.scaling
    if not arm.system.is_trained:  # one process runs the cell, however many train the other arms
        scaling = scaling.model_copy(update={"workers": 1})
    return TrialSpec(
        study=study.name,
        arm=arm.id,
        role=arm.role,
        part=arm.part,
        action=arm.action,
        system=arm.system.name,
        tree=arm.system.model_dump(mode="json"),
        base=arm.base,
        text_encoder=arm.text_encoder,
        data=setting.data,
        protocol=setting.protocol.model_copy(update=arm.sampling),
        scaling=scaling,
        precision=study.resources.precision,
        seed=seed,
        sampled={},
        metrics=tuple(metric.family for metric in setting.metrics),
        extractors=study.extractors,
        by=study.by,
        scoring_base="" if arm.base == study.base else study.base,
        content=setting.content,
    )
