"""What a study says of training, checked: whether its system is trained, and whether the batch can be shared out."""

from collections.abc import Iterator, Sequence

from models import SYSTEMS
from models.system import System
from models.training import TrainedSystem
from sweeps.study.document import Key
from sweeps.study.types import GROUP, Resources, Study
from sweeps.study.words import written


def training_problems(study: Study, arms: Sequence[System]) -> list[tuple[Key, str]]:
    """All that is wrong with a study's ``training`` and the worker groups of its arms.

    Args:
        study: A study whose system exists.
        arms: The systems of its arms, the control first.
    """
    if not SYSTEMS[study.system].is_trained:
        return list(_untrained(study))
    return [*_trained(study), *_batches(study.resources, arms)]


def _untrained(study: Study) -> Iterator[tuple[Key, str]]:
    if study.training:
        yield ("training",), f"{study.system} is not trained -> leave it out"
    for key in GROUP:
        if getattr(study.resources, key) != Resources.model_fields[key].default:
            yield ("resources", key), f"{study.system} is not trained, one process does a cell -> leave it out"


def _trained(study: Study) -> Iterator[tuple[Key, str]]:
    if "steps" not in study.training:
        place: Key = ("training",) if study.training else ("system",)
        yield place, f"{study.system} is trained, and nothing says for how long -> training: {{steps: 400}}"
    if message := study.resources.zero.problem():
        yield ("resources", "zero"), message
    if study.resources.precision == "fp16" and study.resources.gpus_per_worker == 0:
        yield ("resources", "precision"), "fp16 without a GPU -> fp32 or bf16"


def _batches(resources: Resources, arms: Sequence[System]) -> Iterator[tuple[Key, str]]:
    """Arms whose batch the worker group cannot share out; the same trouble once."""
    trainings = [arm.training for arm in arms if isinstance(arm, TrainedSystem)]
    messages = dict.fromkeys(resources.problem(training) for training in trainings)
    key = "workers" if resources.micro_batch_size is None else "micro_batch_size"
    for message in filter(None, messages):
        yield ("resources", key), f"{written(getattr(resources, key))}: {message}"
