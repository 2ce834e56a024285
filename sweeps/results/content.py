"""Content of a study's data: as it is now or, where that cannot be known, as at the last run."""

import json
from collections.abc import Callable, Mapping
from pathlib import Path

from sweeps.plan import Plan
from sweeps.results.ledger import study_folder
from sweeps.results.record import Record
from sweeps.study.words import counted
from trainables.data.content import Content
from trainables.data.layout import REFERENCES
from trainables.files import json_hash
from trainables.trial_spec import TrialSpec

CONTENT = "content.json"
"""File in the study's folder with the content of its data at the last run."""


def with_read_content(plan: Plan, storage: Path, show: Callable[[int, int], None] | None = None) -> Plan:
    """Return the plan with the content of its data; clips that are new or have changed are read.

    Args:
        plan: The plan.
        storage: Folder of all studies.
        show: Called with the number of clips that were read, and of all clips to read.

    Raises:
        ValueError: Prompts or annotations cannot be read.
    """
    if _is_known(plan):
        return plan
    from trainables.data.manifest import Manifest
    from trainables.inputs import content

    manifest = Manifest(storage / REFERENCES, show=show)
    return plan.with_content(_once_per_data(lambda spec: content(spec, manifest)))


def with_known_content(plan: Plan, storage: Path) -> Plan:
    """Return the plan with the content of its data as far as no clip has to be read for it, else as at the last run."""
    if _is_known(plan):
        return plan
    from trainables.data.manifest import Manifest, UnreadError
    from trainables.inputs import content

    manifest, kept = Manifest(storage / REFERENCES, read=False), _kept(study_folder(storage, plan.study.name))

    def known(spec: TrialSpec) -> Content:
        try:
            return content(spec, manifest)
        except (UnreadError, ValueError, OSError):
            return kept.get(_key(spec), {})

    return plan.with_content(_once_per_data(known))


def with_kept_content(plan: Plan, folder: Path) -> Plan:
    """Return the plan with the content of its data at the last run, which may still go on.

    Args:
        plan: The plan.
        folder: The study's folder.
    """
    kept = _kept(folder)
    if all(kept.get(_key(spec), spec.content) == spec.content for spec in _one_of_each(plan)):
        return plan
    return plan.with_content(_once_per_data(lambda spec: kept.get(_key(spec), spec.content)))


def content_file(plan: Plan) -> bytes:
    """Return the content of the data as ``content.json`` keeps it."""
    return json.dumps({_key(spec): spec.content for spec in _one_of_each(plan)}, indent=1).encode()


def of_other_data(plan: Plan, records: Mapping[str, Record]) -> list[Record]:
    """Return results of arms and seeds of the plan that were computed from other data: they are in no table."""
    if not plan.cells[0].spec.content:  # not known
        return []
    cells = {(cell.arm, cell.seed): cell for cell in plan.cells}
    placed = ((record, cells.get((record.arm, record.seed))) for record in records.values())
    return [
        record
        for record, cell in placed
        if cell is not None and record.cell_id != cell.id and record.content != cell.spec.content
    ]


def older_results(records: Mapping[str, Record], folder: Path) -> str:
    """Word the message on results of earlier versions, without content of their data; empty if there are none."""
    older = sum(not record.content for record in records.values())
    if not older:
        return ""
    reason = "which did not record the content of the data, so they cannot be continued"
    return f"{folder}: {counted(older, 'result')} of an earlier version, {reason} -> another --storage to start anew"


def _is_known(plan: Plan) -> bool:
    """Whether the study file and its texts alone determine the content."""
    return bool(plan.cells[0].spec.content)


def _one_of_each(plan: Plan) -> list[TrialSpec]:
    """Return a specification of each arm, of the plan and of the search."""
    return [cell.spec for cell in plan.one_of_each] + list(plan.search.specs.values() if plan.search else ())


def _key(spec: TrialSpec) -> str:
    labels = [spec.by.columns] if spec.by and spec.by.columns else []
    return json_hash([spec.data.model_dump(mode="json"), spec.training and spec.training.clips, *labels])


def _once_per_data(content_of: Callable[[TrialSpec], Content]) -> Callable[[TrialSpec], Content]:
    """Compute the content once for all cells with the same data and number of training clips."""
    known: dict[str, Content] = {}

    def content(spec: TrialSpec) -> Content:
        key = _key(spec)
        if key not in known:
            known[key] = content_of(spec)
        return known[key]

    return content


def _kept(folder: Path) -> Mapping[str, Content]:
    try:
        kept = json.loads((folder / CONTENT).read_bytes())
    except (FileNotFoundError, ValueError):
        return {}
    return kept if isinstance(kept, dict) else {}
