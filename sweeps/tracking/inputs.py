"""Data of a cell as an input of its run: MLflow lists, filters and groups runs by dataset."""

import json
from pathlib import PurePath
from typing import Any

from trainables.files import json_hash
from trainables.trial_spec import TrialSpec

_CONTEXT = "mlflow.data.context"  # the tag under which MLflow shows the use of a dataset


def dataset_digest(spec: TrialSpec) -> str:
    """Return the identity of the content of a cell's data: 16 hexadecimal digits; empty if the content is not known."""
    return json_hash(spec.content) if spec.content else ""


def dataset_inputs(spec: TrialSpec) -> list[Any]:
    """Return the data of a cell as MLflow's dataset: name, digest of the content, layout and folder.

    Of an absolute path only the last folder is given: paths of a machine are no part of a dataset.
    """
    from mlflow.entities import Dataset, DatasetInput, InputTag

    settings = spec.data.model_dump(mode="json", exclude_none=True)
    path = PurePath(str(settings.get("path", "")))
    folder = path.name if path.is_absolute() else str(path)
    layout = str(settings["layout"])
    name = layout if folder in ("", ".") else f"{layout}/{folder}"
    about = {key: settings[key] for key in ("layout", "split") if key in settings}
    dataset = Dataset(
        name=name,
        digest=dataset_digest(spec),
        source_type="local",
        source=json.dumps({"uri": name, **about}),
        profile=json.dumps(spec.content),
    )
    return [DatasetInput(dataset, [InputTag(_CONTEXT, "evaluation" if spec.training is None else "training")])]
