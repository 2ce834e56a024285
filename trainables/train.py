"""Cell on one rank of its worker group: training, then, on the first rank, clips and scores."""

import contextlib
import gc
import json
import os
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import cast

import torch
import torch.distributed as dist

from models import SYSTEMS
from models.backbones import Base, load_base
from models.bases import base_hash, precision_in_full
from models.contracts import Tensors, TrainedModel
from models.streams import Streams
from models.system import NonFiniteError
from models.training import TrainedSystem
from trainables.cell_files import ORIGIN, save_weights
from trainables.data.encoded import Batches, Encoded
from trainables.data.layout import ClipSet, continued
from trainables.evaluate import Workbench, fit_torch, run_cell
from trainables.files import write_atomically
from trainables.fit import Fit, explained
from trainables.inputs import continuable_clips, size, training_clips, tree_of
from trainables.provenance import code_hash, origin
from trainables.spool import Spool
from trainables.trial_spec import TrialSpec

HELD_OUT = 16
"""Number of clips of the validation loss."""
NUM_PREPARATION_TEXTS = 256
"""Number of texts of training clips given to a model's ``prepare``."""


def run_rank(spec: TrialSpec, storage: Path, *, warm: bool, needs_training: bool) -> None:
    """Train a cell on this rank of the process group; the first rank then samples and scores its clips.

    Args:
        spec: The cell.
        storage: Folder of all studies.
        warm: Whether to use the cache shared by the workers.
        needs_training: Whether no earlier attempt has finished the training.

    Raises:
        FailedCellError: The cell failed on the first rank, which has written the result.
    """
    # DeepSpeed uses collectives that are deprecated in torch 2.13, which warns at every step.
    warnings.filterwarnings("ignore", category=FutureWarning, module=r"torch\.distributed|deepspeed")
    fit_torch(spec.scaling.cpus_per_worker)
    if torch.cuda.is_available():  # the ranks of a node see all its GPUs
        torch.cuda.set_device(int(os.environ.get("LOCAL_RANK", "0")))
    bench = Workbench.on(storage, spec.scaling, shared=warm and spec.scaling.cache)
    folder = spec.folder(storage)

    def training() -> bool:
        return not needs_training or train(spec, folder, bench)

    if dist.get_rank() > 0:
        with contextlib.suppress(NonFiniteError):  # raised on all ranks; the first writes the result
            training()
        return
    result = run_cell(spec, folder, bench, training)
    if result is None or result.status != "failed" or dist.get_world_size() == 1:
        return
    if not result.error.startswith(NonFiniteError.__name__):
        raise FailedCellError(result.error)  # ends the other ranks, which may wait for this one


class FailedCellError(RuntimeError):
    """The cell failed on the first rank, which has written the result."""


def train(spec: TrialSpec, folder: Path, bench: Workbench) -> bool:
    """Train a cell's model and save its weights in ``folder``; return False if it was stopped early.

    Raises:
        NonFiniteError: The loss became NaN or infinite.
        OutOfMemoryError: A pass does not fit into memory.
        LostWorkerError: Another rank was lost.
    """
    assert spec.training is not None
    base = load_base(spec.ref, precision="fp32")  # DeepSpeed makes the master copy and casts
    if dist.get_rank() == 0:
        write_atomically(folder / ORIGIN, json.dumps(origin(spec)).encode())
    model = cast(TrainedModel, tree_of(spec).build(base, spec.seed))
    base.release_denoiser()  # the model has its own copy, and this base serves one training only
    try:
        return _train(spec, model, base, folder, bench)
    except RuntimeError as error:
        raise explained(error, spec.scaling.micro_batch(spec.training)) from error
    finally:
        del model, base  # frees memory for sampling
        gc.collect()
        torch.cuda.empty_cache()


def _train(spec: TrialSpec, model: TrainedModel, base: Base, folder: Path, bench: Workbench) -> bool:
    assert spec.training is not None
    if not model.learnt:
        return _save_untrained(folder, {})
    clips = training_clips(spec, bench.references, bench.predicting(spec))
    metrics = model.prepare(clips.texts[:NUM_PREPARATION_TEXTS], spec.protocol.frames)
    if metrics and dist.get_rank() == 0:
        Spool(folder).append(0, metrics)
    if not any(parameter.requires_grad for parameter in model.network.parameters()):
        return _save_untrained(folder, {name: model.network.get_parameter(name).detach() for name in model.learnt})
    held_out = _held_out(spec, model, bench)
    batches = Batches(model, _encoded(spec, model, base, clips, bench), Streams(spec.seed))
    precision = precision_in_full(spec.precision, gpu=base.device.type != "cpu")
    return Fit(spec, model, batches, held_out, folder, precision).run()


def _save_untrained(folder: Path, weights: Mapping[str, torch.Tensor]) -> bool:
    """Save weights that need no training."""
    if dist.get_rank() == 0:
        save_weights(folder, weights)
    return True


def _encoded(spec: TrialSpec, model: TrainedModel, base: Base, clips: ClipSet, bench: Workbench) -> Encoded:
    about = {
        "system": spec.system,
        "tree": {name: spec.tree[name] for name in cast(type[TrainedSystem], SYSTEMS[spec.system]).encoded_by},
        "base": base_hash(base.ref),
        "size": size(spec),
        "dtype": str(base.dtype),
        "code": code_hash(spec.system),
    }
    room = {} if bench.cache is None else {"room": bench.cache.max_bytes}
    return Encoded(model, clips, about, bench.keep, **room)


def _held_out(spec: TrialSpec, model: TrainedModel, bench: Workbench) -> Tensors:
    """Make a batch of reference clips with random draws that do not depend on the seed."""
    streams = Streams(0)
    clips = continued(continuable_clips(spec, bench.references, bench.predicting(spec)), streams, HELD_OUT)
    return Batches(model, Encoded(model, clips, {}), streams).batch(range(HELD_OUT))
