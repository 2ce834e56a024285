"""Summary of a cell's result for tables: one line of the ledger's index."""

from dataclasses import dataclass, field
from typing import Any, Literal, Self

from trainables.data.content import Content
from trainables.data.prompts import PromptsData
from trainables.files import json_hash
from trainables.trial_spec import UPDATE, Failure, Result, Stage, Status


@dataclass(frozen=True)
class Record:
    """Summary of one result; a line of the index.

    ``per_frame`` maps each metric of frames to its mean by frame index, None for a frame without a value; empty for
    cells of a search, which are not drawn. ``groups`` maps each metric and each group of clips, by its column or
    ``subset`` and its name, to the value, None where there are too few clips, and the number of clips; ``by`` is the
    identity of the study's groups. ``references`` is the number of reference clips that the study asked for when the
    cell was scored: 0 without a measure against them, None in results that do not tell all that a caption needs.
    ``sets`` maps each such measure to the numbers that belong to its value, with its floor. ``per_clip`` maps each
    metric of single clips to their values, and ``prompts`` has a hash of each clip's prompt where the study lists
    prompts; both are empty for trained cells, whose unit is the seed.
    """

    cell_id: str
    arm: str
    seed: int
    stage: Stage
    trial: int | None
    search: str
    sampled: dict[str, Any]
    status: Status
    error: str
    attempt: int
    scores: dict[str, float]
    settings: dict[str, str]
    finished: str
    code_hash: str
    base_hash: str
    references: int | None
    per_clip: dict[str, list[float]]
    prompts: list[str]
    failure: Failure | Literal[""] = ""
    retries: int = 0
    updates: int = 0
    clips: int = 0
    seconds: float = 0.0
    workers: int = 1
    gpus: float = 0.0
    content: Content = field(default_factory=dict)
    per_frame: dict[str, list[float | None]] = field(default_factory=dict)
    by: str = ""
    groups: dict[str, dict[str, dict[str, tuple[float | None, int]]]] = field(default_factory=dict)
    sets: dict[str, dict[str, float]] = field(default_factory=dict)
    repeat: int = 0

    @property
    def diverged(self) -> bool:
        """Whether values became NaN or infinite: a result of the method, where other failures are accidents."""
        return self.failure == "diverged"

    @property
    def kind(self) -> str:
        """Failure class in parentheses, to be appended to the cell's name; empty without one."""
        return f" ({self.failure})" if self.failure not in ("", "error") else ""

    @property
    def lost(self) -> bool:
        """Whether the machine failed, not the arm: the cell is rerun."""
        return self.failure in ("infrastructure", "disk full")

    @classmethod
    def of(cls, result: Result) -> Self:
        """Summarise a result."""
        return cls(
            cell_id=result.cell_id,
            arm=result.spec.arm,
            seed=result.spec.seed,
            stage=result.spec.stage,
            trial=result.spec.trial,
            repeat=result.spec.repeat,
            search=result.spec.search,
            sampled=result.spec.sampled,
            status=result.status,
            error=result.error,
            failure=result.failure,
            retries=len(result.retries),
            updates=_updates(result),
            clips=result.spec.protocol.clips if result.status == "done" else 0,
            seconds=sum(result.seconds.values()),
            workers=result.spec.scaling.workers,
            gpus=result.spec.scaling.workers * (result.spec.scaling.gpus_per_worker or 0),
            content=result.spec.content,
            attempt=result.attempt,
            scores={key: score.value for key, score in result.scores.items()},
            per_clip=_per_clip(result),
            prompts=_prompts(result),
            per_frame=_per_frame(result),
            by=result.spec.by.identity if result.spec.by and result.status == "done" else "",
            groups=_groups(result),
            settings={key: _settings(score.parameters) for key, score in result.scores.items()},
            finished=result.finished,
            code_hash=result.provenance.get("code_hash", ""),
            base_hash=result.provenance.get("base_hash", ""),
            references=_references(result),
            sets={key: score.set_numbers for key, score in result.scores.items() if score.set_numbers},
        )


def _per_frame(result: Result) -> dict[str, list[float | None]]:
    """Return the means by frame of a cell of the plan."""
    if result.spec.stage != "plan":
        return {}
    return {key: score.per_frame for key, score in result.scores.items() if score.per_frame is not None}


def _per_clip(result: Result) -> dict[str, list[float]]:
    """Return the values by clip of a cell without training."""
    if result.spec.training is not None:
        return {}
    return {key: score.per_clip for key, score in result.scores.items() if score.per_clip is not None}


def _prompts(result: Result) -> list[str]:
    """Return a hash of each clip's prompt, where the study lists them and nothing is trained."""
    if result.spec.training is not None or not isinstance(result.spec.data, PromptsData):
        return []
    return [prompt_hash(prompt) for prompt in result.prompts]


def prompt_hash(prompt: str) -> str:
    """Return a short hash of a prompt: the index of ten thousand cells would be large with the texts."""
    return json_hash(prompt)[:8]


def _groups(result: Result) -> dict[str, dict[str, dict[str, tuple[float | None, int]]]]:
    """Return the values of groups of clips."""
    return {
        key: {
            grouping: {name: (group.value, group.clips) for name, group in of_grouping.items()}
            for grouping, of_grouping in score.groups.items()
        }
        for key, score in result.scores.items()
        if score.groups
    }


def _references(result: Result) -> int | None:
    """Return the number of reference clips that were asked for; see ``Record``."""
    between_sets = [score.parameters for score in result.scores.values() if "n_real" in score.parameters]
    if not all("references" in parameters for parameters in between_sets):
        return None
    return int(getattr(result.spec.data, "references", 0)) if between_sets else 0


def _updates(result: Result) -> int:
    """Return the number of optimizer updates: all of a finished training, else the last reported number."""
    if result.spec.training is None:
        return 0
    return result.spec.training.steps if result.status == "done" else int(result.statistics.get(UPDATE, 0))


_BESIDE = ("libraries", "warning", "self_test", "chance")
"""Recorded with a score without affecting comparability: versions are in the code hash, chance is in the clips."""


def _settings(parameters: dict[str, Any]) -> str:
    """Hash the settings that comparable scores share: extractor, clips, frames, size, numbers of rows."""
    deciding = {key: value for key, value in parameters.items() if key not in _BESIDE}
    return json_hash(deciding)
