"""Export of a trained cell's model in diffusers' layout: consolidated safetensors for ``from_pretrained``."""

import shutil
import tempfile
from pathlib import Path
from typing import cast

from models.contracts import TrainedModel
from models.words import did_you_mean
from trainables.cell_files import TRAINED
from trainables.failures import disk_failure
from trainables.trial_spec import RESULT, Result


def export(cell: str, storage: Path, output: Path) -> Path:
    """Write the model of a cell, with base and trained weights.

    Args:
        cell: Its id, or the first characters of it.
        storage: Folder of all studies.
        output: A new or empty folder.

    Raises:
        ValueError: No such cell, a cell without trained weights, or an output folder that is not empty.
    """
    folder = _find(cell, storage)
    if output.exists() and (not output.is_dir() or any(output.iterdir())):
        raise ValueError(f"{output} already exists -> a new folder with -o")
    from models.backbones import load_base
    from trainables.cell_files import trained_weights
    from trainables.inputs import built

    spec = Result.model_validate_json((folder / RESULT).read_bytes()).spec
    if not (folder / TRAINED).is_file():
        raise ValueError(f"cell {folder.name} ({spec.arm}, seed {spec.seed}) has no trained weights -> a trained cell")
    trained = trained_weights(folder)
    base = load_base(spec.ref, device="cpu", precision="fp32")
    _save(cast(TrainedModel, built(spec, base, trained)), output)
    return output


def _save(model: TrainedModel, output: Path) -> None:
    """Save a model beside the output folder, then move it there; if that fails, nothing is left."""
    output.parent.mkdir(parents=True, exist_ok=True)
    unfinished = Path(tempfile.mkdtemp(dir=output.parent, prefix=f".{output.name}."))
    try:
        model.save(unfinished)
        output.mkdir(exist_ok=True)
        for item in unfinished.iterdir():
            item.rename(output / item.name)
    except Exception as error:
        if (failure := disk_failure(error)) is None:
            raise
        failure.filename = failure.filename or str(output)
        raise failure from (None if failure is error else error)
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)


def _find(cell: str, storage: Path) -> Path:
    """Find the folder of the cell whose id starts like this; of several studies' copies, one with weights."""
    cells = [path.parent for path in sorted(storage.glob(f"*/cells/*/{RESULT}"))]
    cells.sort(key=lambda path: (path / TRAINED).is_file())
    matches = list({path.name: path for path in cells if cell and path.name.startswith(cell)}.values())
    if len(matches) == 1:
        return matches[0]
    if matches:
        raise ValueError(
            f"{cell}: {len(matches)} cells match -> more characters of the id: "
            f"{', '.join(path.name for path in matches[:4])}"
        )
    hint = did_you_mean(cell, (path.name for path in cells)) or f" ({len(cells)} finished cells)"
    raise ValueError(f"{cell}: no finished cell with this id under {storage} -> an id from `status --json`{hint}")
