"""MLflow record of a cell: name, tags, metrics, parameters and table, computed from its result alone."""

import io
import json
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from types import MappingProxyType

from sweeps.tracking.views import CLIPS
from trainables.cell_files import read_clips
from trainables.pictures import frame_strip
from trainables.trial_spec import Result, TrialSpec, leaves

TABLE = "per_clip.json"
"""Name of the table of scores per clip."""

PICTURED = "mlflow.loggedImages"
"""Tag of a run with logged images."""

CONTENT = "data.content."
"""First part of the parameters that name the content of a cell's data."""

NO_FILES: Mapping[str, bytes] = MappingProxyType({})

MAX_TAG = 5000  # characters
MAX_CLIPS = MAX_FRAMES = 4  # of an image; the image grid reserves a square for each
IMAGE_PX, THUMBNAIL_PX = 1024, 300  # longer side; three thumbnails beside each other fill a page


def name(spec: TrialSpec) -> str:
    """Return a run's name: ``arm/s0``, for a search trial ``arm/t007``, for a confirmation ``arm #1/s100``.

    Of further repeats of the search, ``arm/r2/t007`` and ``arm r2 #1/s100``; of a path's step ``arm path 1/s100``.
    """
    repeat = f"r{spec.repeat + 1}" if spec.repeat else ""
    if spec.stage == "search":
        return "/".join(filter(None, (spec.arm, repeat, f"t{spec.trial or 0:03d}")))
    if spec.stage == "path":
        return f"{spec.arm} path {spec.trial}/s{spec.seed}"
    rank = "" if spec.trial is None else f"{' ' * bool(repeat)}{repeat} #{spec.trial + 1}"
    return f"{spec.arm}{rank}/s{spec.seed}"


def outcome(result: Result) -> dict[str, str]:
    """Return the tags of a finished cell: status, attempts, failure, hashes, and numbers of measures between sets.

    The numbers are tags, ``eval.<metric>``, since parameters cannot change when a cell is scored again.
    """
    return {
        **{key: result.provenance.get(key, "") for key in ("commit", "code_hash", "base_hash")},
        "status": result.status,
        "attempts": str(result.attempt),
        "surrogate": str(any(score.surrogate for score in result.scores.values())).lower(),
        "failure": result.failure,
        "error": result.error[:MAX_TAG],
        "retries": "; ".join(result.retries)[:MAX_TAG],
        **{f"eval.{key}": json.dumps(score.set_numbers) for key, score in result.scores.items() if score.set_numbers},
    }


def end_of(result: Result) -> int:
    """Return a cell's end time in milliseconds since 1970."""
    return int(datetime.fromisoformat(result.finished).timestamp() * 1000)


def metrics(result: Result) -> dict[str, float]:
    """Return scores, their floors, bounds of corrected scores, statistics of the method, and times in seconds."""
    known = {
        key: score.uncertainty
        for key, score in result.scores.items()
        if score.uncertainty is not None and score.uncertainty.corrected is not None
    }
    floors = {key: score.floor for key, score in result.scores.items() if score.floor is not None}
    return {
        **{key: score.value for key, score in result.scores.items()},
        **{f"{key}.floor": floor.mean for key, floor in floors.items()},
        **{
            f"{key}.{bound}": getattr(uncertainty, bound)
            for key, uncertainty in known.items()
            for bound in ("low", "high")
        },
        **{f"statistics/{key}": value for key, value in result.statistics.items()},
        **{f"seconds/{key}": value for key, value in result.seconds.items()},
    }


def parameters(spec: TrialSpec) -> dict[str, str]:
    """Return all settings that decide the samples, flattened to dotted names; includes arm and seed."""
    tree = {"arm": spec.arm, "seed": spec.seed, "system": spec.system, "base": spec.base, **spec.tree}
    data = {**spec.data.model_dump(mode="json"), "content": spec.content}
    settings = {"data": data, "protocol": spec.protocol.model_dump(exclude_none=True)}
    sampled = {f"sampled.{path}": value for path, value in spec.sampled.items()}
    return {
        key: str(value) for key, value in leaves({**tree, **settings, "precision": spec.precision, **sampled}).items()
    }


def table(result: Result) -> dict[str, bytes]:
    """Return the scores per clip in the format of MLflow tables; empty if no metric has scores per clip."""
    columns = {key: score.per_clip for key, score in result.scores.items() if score.per_clip}
    if not columns:
        return {}
    scores = zip(*columns.values(), strict=True)
    rows = [[clip, prompt, *row] for clip, (prompt, row) in enumerate(zip(result.prompts, scores, strict=True))]
    return {TABLE: json.dumps({"columns": ["clip", "prompt", *columns], "data": rows}).encode()}


def images(cell_id: str, folder: Path) -> dict[str, bytes]:
    """Return a cell's first clips as a logged image, which the image grid shows beside those of other runs.

    The names are MLflow's: key, step, time and a unique part, here the same at every upload; and a smaller copy that
    the grid loads. Together they have some 100 kB at most. Empty for a cell without clips.
    """
    drawn = read_clips(folder)
    if drawn is None:
        return {}
    frames = drawn.clips.shape[1]
    chosen = sorted({round(place * (frames - 1) / (MAX_FRAMES - 1)) for place in range(MAX_FRAMES)})
    picture = frame_strip(drawn.clips[:MAX_CLIPS, chosen])
    name = f"images/{CLIPS}+step+0+timestamp+0+{cell_id}"
    files = {}
    for suffix, size in (("", IMAGE_PX), ("+compressed", THUMBNAIL_PX)):
        picture.thumbnail((size, size))
        content = io.BytesIO()
        picture.save(content, "WEBP", quality=85)
        files[f"{name}{suffix}.webp"] = content.getvalue()
    return files


def shown(tables: Mapping[str, bytes], pictures: Mapping[str, bytes] = NO_FILES) -> dict[str, str]:
    """Return the tags by which the UI shows files of a run as tables, and its images in the image grid."""
    listed = json.dumps([{"path": name, "type": "table"} for name in tables])
    tags = {"mlflow.loggedArtifacts": listed if tables else "", PICTURED: "True" if pictures else ""}
    return {key: value for key, value in tags.items() if value}
