"""What many tests make: specifications, results and records of cells; commands, fresh interpreters, free ports."""

import multiprocessing
import os
import resource
import socket
import subprocess
import sys
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

from typer.testing import CliRunner
from typer.testing import Result as Invoked

from sweeps.plan import Cell, load
from sweeps.proof import proved
from sweeps.results.ledger import study_folder
from sweeps.results.record import Record
from trainables.trial_spec import RESULT, Result, Score, TrialSpec

ROOT = Path(__file__).resolve().parents[1]
TINY_STUDY = """
name: tiny
system: zs2
base: {base}
data: {{layout: prompts, prompts: [a red circle, a blue square]}}
metrics: [temporal_flickering]
"""
"""Head of a study of ZS² on a tiny base, to which a module adds seeds, protocol and arms."""
ACROSS_STUDY = """\
name: across
system: exvideo
base: shapes_video
metrics: [fvd, psnr]
seeds: 2
protocol: {clips: 4, frames: 8, steps: 4, guidance: 1.0}
training: {steps: 8, global_batch_size: 2}
ablations: [{part: position, action: REMOVE}]
arms:
  seer: {system: seer, base: shapes, training: {steps: 6, global_batch_size: 2}, references: 1, protocol: {steps: 9}}
"""
"""A study of ExVideo, one arm of which is Seer on its own base."""
AID_STUDY = """\
name: states
system: aid
base: shapes_video
data: shapes
metrics: [motion_magnitude]
seeds: 1
training: {steps: 2}
ablations:
  - {part: spatial_adapter, action: REMOVE}
"""
"""A study of AID on its small base."""
FORKS = multiprocessing.get_context("forkserver")
"""Starts processes from one that has imported everything, since that takes longer than what they do."""
FORKS.set_forkserver_preload(["deepspeed", "trainables.train", "sweeps.tracking.tracker"])


# --------------------------------------------------------------------------------------------------------------- cells


def make_spec(**fields: Any) -> TrialSpec:
    """A control's cell of ZS2 on the embedded base, with other values for the fields that are given."""
    default = {
        "study": "s",
        "arm": "control",
        "role": "control",
        "system": "zs2",
        "tree": {},
        "base": "shapes",
        "data": {"layout": "shapes"},
        "protocol": {},
        "seed": 0,
        "metrics": ["motion_magnitude"],
    }
    return TrialSpec.model_validate(default | fields)


def make_scores(metrics: Iterable[Any], value: float | Mapping[str, float]) -> dict[str, Score]:
    """A score for each of a plan's metrics: one value for all, or each its own by key."""
    return {
        metric.key: Score(
            value=value[metric.key] if isinstance(value, Mapping) else value,
            direction=metric.direction,
            surrogate=metric.surrogate,
            parameters={},
        )
        for metric in metrics
    }


def make_result(spec: TrialSpec, **fields: Any) -> Result:
    """The result of a cell: done and without scores, unless the fields say otherwise."""
    return Result.model_validate({"cell_id": spec.cell_id, "spec": spec, "status": "done", "finished": ""} | fields)


def save_result(result: Result, folder: Path) -> None:
    """Leave a result in a cell's folder, as a worker does."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / RESULT).write_text(result.model_dump_json())


def make_record(cell: Cell, scores: Mapping[str, float], /, **fields: Any) -> Record:
    """The record of a done cell with these scores, all computed with the same settings."""
    found = Record(
        cell_id=cell.id,
        arm=cell.arm,
        seed=cell.seed,
        stage=cell.spec.stage,
        trial=cell.spec.trial,
        repeat=cell.spec.repeat,
        search=cell.spec.search,
        sampled=cell.spec.sampled,
        status="done",
        error="",
        attempt=1,
        scores=dict(scores),
        settings=dict.fromkeys(scores, "a"),
        finished=f"2025-01-01T00:{cell.seed // 60 % 60:02}:{cell.seed % 60:02}+00:00",
        code_hash="c0de",
        base_hash="",
        references=0,
        per_clip={},
        prompts=[],
        content=cell.spec.content,
    )
    return replace(found, **fields)


# ----------------------------------------------------------------------------------------------------------- processes


def free_port() -> int:
    """A port of loopback at which nothing listens."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


@contextmanager
def full_disk(free: int) -> Iterator[None]:
    """Let no file of this process grow beyond so many bytes; modules that it imports leave no bytecode, cut off."""
    before, bytecode = resource.getrlimit(resource.RLIMIT_FSIZE), sys.dont_write_bytecode
    sys.dont_write_bytecode = True
    resource.setrlimit(resource.RLIMIT_FSIZE, (free, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        sys.dont_write_bytecode = bytecode


def sweeps(
    *arguments: object, cwd: Path = ROOT, seconds: float = 240, encoding: str = "utf-8", **environment: str
) -> subprocess.CompletedProcess[str]:
    """Run a command in a process of its own, with these variables; MLflow and Ray are where no variable names them."""
    inherited = {key: value for key, value in os.environ.items() if key not in ("MLFLOW_TRACKING_URI", "RAY_ADDRESS")}
    command = [sys.executable, "-m", "sweeps", *map(str, arguments)]
    return subprocess.run(
        command, cwd=cwd, env=inherited | environment, capture_output=True, encoding=encoding, timeout=seconds
    )


def sweeps_here(*arguments: object, **environment: str) -> Invoked:
    """Run a command in this process, on its Ray where there is one: libraries are imported here already."""
    from sweeps.__main__ import app

    variables: dict[str, str | None] = {"MLFLOW_TRACKING_URI": None, **environment}
    done = CliRunner().invoke(app, [str(argument) for argument in arguments], env=variables)
    if done.exception is not None and not isinstance(done.exception, SystemExit):
        raise done.exception
    return done


def prove_here(study: Path, storage: Path) -> None:
    """Leave a study's proof where its run in another process looks for it, which then has nothing to import for it."""
    plan = load(study)
    proved(plan, study_folder(storage, plan.study.name))


class Fresh(NamedTuple):
    """What became of a fresh interpreter.

    Args:
        stdout: What it printed.
        packages: What it had imported at its end: names of top-level packages.
    """

    stdout: str
    packages: frozenset[str]


_AT_ITS_END = "import atexit, sys; atexit.register(lambda: print('\\nimported:', *sys.modules, file=sys.stderr));"


def fresh(code: str, *arguments: object, returncode: int = 0, cwd: Path = ROOT) -> Fresh:
    """Run code in a fresh interpreter, which ends with this code and says nothing to standard error."""
    command = [sys.executable, "-c", _AT_ITS_END + code, *map(str, arguments)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True, timeout=120)
    said, _, modules = done.stderr.partition("\nimported:")
    assert (done.returncode, said) == (returncode, ""), said
    return Fresh(done.stdout, frozenset(name.partition(".")[0] for name in modules.split()))


def clip_of_pipeline(folder: Path) -> Any:
    """Continue a random image by 7 frames, with diffusers' own pipeline of a Stable Video Diffusion base."""
    import torch
    from diffusers import StableVideoDiffusionPipeline

    pipeline = StableVideoDiffusionPipeline.from_pretrained(folder)
    pipeline.set_progress_bar_config(disable=True)
    image = torch.rand(1, 3, 32, 32)
    return pipeline(image, height=32, width=32, num_frames=8, num_inference_steps=2, output_type="np").frames
