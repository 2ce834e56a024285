"""Validation of a study's training: whether its system is trained, and whether workers can share the batch."""

from collections.abc import Iterator, Sequence

from models import SYSTEMS
from models.system import System
from models.training import TrainedSystem
from sweeps.study.document import Key
from sweeps.study.types import GROUP, Resources, Study
from sweeps.study.words import written


def training_problems(study: Study, arms: Sequence[System]) -> list[tuple[Key, str]]:
    """List all problems of the study's ``training`` and of its arms' worker groups.

    Args:
        study: A study whose system exists.
        arms: The systems of its arms, the control first.
    """
    is_trained = SYSTEMS[study.system].is_trained
    wrong = list(_steps(study)) if is_trained else list(_untrained(study))
    if any(arm.is_trained for arm in arms):
        return [*wrong, *_trained(study.resources), *_batches(study.resources, arms)]
    return [*wrong, *_without_group(study)]


def _untrained(study: Study) -> Iterator[tuple[Key, str]]:
    if study.training:
        yield ("training",), f"{study.system} is not trained -> remove this key"


def _without_group(study: Study) -> Iterator[tuple[Key, str]]:
    for key in GROUP:
        if getattr(study.resources, key) != Resources.model_fields[key].default:
            yield ("resources", key), f"{study.system} is not trained, one process runs a cell -> remove this key"


def _steps(study: Study) -> Iterator[tuple[Key, str]]:
    if "steps" not in study.training:
        place: Key = ("training",) if study.training else ("system",)
        yield place, f"{study.system} is trained, but training.steps is missing -> training: {{steps: 400}}"


def _trained(resources: Resources) -> Iterator[tuple[Key, str]]:
    if message := resources.zero.problem():
        yield ("resources", "zero"), message
    if resources.precision == "fp16" and resources.gpus_per_worker == 0:
        yield ("resources", "precision"), "fp16 without a GPU -> fp32 or bf16"


def _batches(resources: Resources, arms: Sequence[System]) -> Iterator[tuple[Key, str]]:
    """Find arms whose batch cannot be divided among the workers; each message once."""
    trainings = [arm.training for arm in arms if isinstance(arm, TrainedSystem)]
    messages = dict.fromkeys(resources.problem(training) for training in trainings)
    key = "workers" if resources.micro_batch_size is None else "micro_batch_size"
    for message in filter(None, messages):
        yield ("resources", key), f"{written(getattr(resources, key))}: {message}"
