"""Classes of failures, and retries after out-of-memory failures."""

import errno
import os
from typing import Any

import pytest
import torch
from pydantic import BaseModel, ValidationError
from safetensors import SafetensorError

from models.bases import Protocol
from models.seer import Seer
from models.system import NonFiniteError
from models.zs2 import ZS2
from tests.factories import fresh, make_spec
from trainables.failures import OutOfMemoryError, classify, in_words, is_disk_full, is_unwritable, unwritten
from trainables.scaling import Scaling
from trainables.trial_spec import LostWorkerError, TrialSpec


def invalid() -> ValidationError:
    class Model(BaseModel):
        number: int

    with pytest.raises(ValidationError) as caught:
        Model.model_validate({"number": "x"})
    return caught.value


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (NonFiniteError("the loss became nan"), "diverged"),
        (torch.OutOfMemoryError("CUDA out of memory"), "out of memory"),
        (OutOfMemoryError("micro-batch 4 does not fit"), "out of memory"),
        (MemoryError(), "out of memory"),
        (RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory"), "out of memory"),
        (LostWorkerError("gone"), "infrastructure"),
        (ConnectionResetError("by peer"), "infrastructure"),
        (OSError(errno.ENOSPC, "No space left on device"), "disk full"),
        (SafetensorError("Error while serializing: I/O error: No space left on device (os error 28)"), "disk full"),
        (SafetensorError("I/O error: Permission denied (os error 13)"), "error"),
        (OSError(errno.EIO, "Input/output error"), "infrastructure"),
        (FileNotFoundError(errno.ENOENT, "No such file", "weights.pt"), "refused"),
        (ValueError("weights do not fit"), "refused"),
        (invalid(), "refused"),
        (PermissionError(errno.EACCES, "Permission denied"), "error"),
        (ZeroDivisionError(), "error"),
    ],
    ids=lambda value: value if isinstance(value, str) else type(value).__name__,
)
def test_every_error_has_one_class(error: BaseException, kind: str) -> None:
    assert classify(error) == kind


@pytest.mark.parametrize(
    ("number", "full", "unwritable"),
    [
        (errno.ENOSPC, True, True),
        (errno.EDQUOT, True, True),
        (errno.EFBIG, True, True),
        (errno.EROFS, False, True),
        (errno.EACCES, False, True),
        (errno.ENOENT, False, False),
    ],
)
def test_reasons_of_a_storage_that_cannot_be_written(number: int, full: bool, unwritable: bool) -> None:
    error = OSError(number, os.strerror(number), "clips.npz")
    assert (is_disk_full(error), is_unwritable(error)) == (full, unwritable)
    assert in_words(error).startswith(f"{type(error).__name__}: ")
    assert unwritten(error) == f"cannot be written ({os.strerror(number)}: clips.npz)"
    assert not is_unwritable(ValueError("no space"))


def test_to_classify_an_error_torch_is_not_loaded() -> None:
    assert "torch" not in fresh("from trainables.failures import classify; classify(OSError())").packages


def spec(system: type[Any], **changes: Any) -> TrialSpec:
    tree, protocol = system().model_dump(mode="json"), Protocol(clips=8, frames=4)
    return make_spec(system=system.name, tree=tree, protocol=protocol, metrics=("clip_score",), **changes)


def test_a_training_takes_smaller_micro_batches_down_to_one_and_the_global_batch_stays() -> None:
    cell = spec(Seer, scaling=Scaling(workers=2))
    sizes = []
    at: TrialSpec | None = cell
    while at is not None:
        assert at.training is not None
        sizes.append(at.scaling.micro_batch(at.training))
        assert sizes[-1] * at.scaling.accumulation(at.training) * 2 == at.training.global_batch_size
        assert at.cell_id == cell.cell_id
        at = at.with_smaller_batches(trained=False)
    assert sizes == [4, 2, 1]


@pytest.mark.parametrize("system", [ZS2, Seer])
def test_drawing_takes_one_clip_at_a_time_and_then_gives_up(system: type[Any]) -> None:
    cell = spec(system)
    smaller = cell.with_smaller_batches(trained=True)
    assert smaller is not None
    assert smaller.protocol.micro_batch == 4
    assert smaller.cell_id == cell.cell_id
    assert smaller.with_smaller_batches(trained=True) is None
