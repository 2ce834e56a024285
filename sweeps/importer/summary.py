"""Summary of an import, as tables or as plain values."""

from collections.abc import Mapping
from typing import Any

from rich.table import Table

from sweeps.importer import Imported
from sweeps.importer.questions import Question
from sweeps.study.words import counted, written


def tables(imported: Imported, names: Mapping[str, Question]) -> list[Table]:
    """Make the tables of plans and of studies.

    Args:
        imported: From ``read_plans``.
        names: Questions by the names of their studies.
    """
    plans = Table(title=counted(len(imported.documents), "plan"), title_justify="left")
    for heading in ("plan", "planner", "paper", "entries", "notes and problems"):
        plans.add_column(heading, overflow="fold")
    for document in imported.documents:
        notes = "; ".join([*document.notes, *document.problems])
        plans.add_row(document.file.name, document.planner, document.paper, str(len(document.suggestions)), notes)
    studies = Table(title="1 study" if len(names) == 1 else f"{len(names)} studies", title_justify="left")
    for heading in ("study", "planners", "arms", "open entries", "not measured", "remarks"):
        studies.add_column(heading, overflow="fold")
    for name, question in names.items():
        planners = ", ".join(dict.fromkeys(source.planner for source in question.sources))
        arms = ", ".join(question.changes)
        todos = "\n".join(written(todo.asked) for todo in question.todos)
        studies.add_row(name, planners, arms, todos, ", ".join(question.unmeasured), "\n".join(question.remarks))
    return [table for table in (plans, studies) if table.row_count]


def as_plain(imported: Imported, names: Mapping[str, Question]) -> dict[str, Any]:
    """Convert the summary to plain values.

    Args:
        imported: From ``read_plans``.
        names: Questions by the names of their studies.
    """
    plans = [
        {
            "file": str(document.file),
            "sha256": document.digest,
            "planner": document.planner,
            "paper": document.paper,
            "entries": len(document.suggestions),
            "notes": document.notes,
            "problems": document.problems,
        }
        for document in imported.documents
    ]
    studies = {
        name: {
            "system": question.system,
            "votes": question.votes,
            "planners": list(dict.fromkeys(source.planner for source in question.sources)),
            "arms": question.changes,
            "by": question.by,
            "blocks": question.blocks,
            "metrics": question.metrics,
            "not_measured": question.unmeasured,
            "to_settle": [todo.model_dump() for todo in question.todos],
            "remarks": question.remarks,
        }
        for name, question in names.items()
    }
    return {"plans": plans, "studies": studies}
