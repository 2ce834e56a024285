"""The command line: ``python -m sweeps {check,plan,run,report,parts,schema}``.

What a command needs is imported when it runs, so that help and checks answer at once.
"""

import json
import sys
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer

if TYPE_CHECKING:
    from sweeps.plan import Plan

REFUSED = 2

app = typer.Typer(
    help="Ablation studies of video diffusion models: what is each part worth?",
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)

StudyFile = Annotated[Path, typer.Argument(metavar="STUDY", help="a study file, such as sweeps/quickstart.yaml")]
Profile = Annotated[str | None, typer.Option(help="a profile of the study, laid over it")]
Storage = Annotated[Path, typer.Option(metavar="DIR", help="folder of all studies")]
Json = Annotated[bool, typer.Option("--json", help="JSON on standard output, and nothing else there")]


class Format(StrEnum):
    """Ways to write a report."""

    TERMINAL = "terminal"
    MARKDOWN = "markdown"
    JSON = "json"


@app.command()
def check(study: StudyFile, profile: Profile = None) -> None:
    """Check a study file: every mistake at once, with its line; or what it would run."""
    plan = _plan(study, profile)
    asked = plan.study
    print(f"{asked.name}: {asked.question}" if asked.question else asked.name)
    print(f"  {len(plan.arms)} arms x {len(asked.seeds)} seeds = {len(plan.cells)} cells")
    print(f"  arms: {', '.join(arm.id for arm in plan.arms)}")
    for metric in plan.metrics:
        print(f"  {metric.key}: {metric.words}")
    _print_remarks(plan)


@app.command()
def plan(study: StudyFile, storage: Storage = Path("runs"), profile: Profile = None, as_json: Json = False) -> None:
    """Show the arms and cells of a study, and which cells are done."""
    from sweeps.ledger import states

    planned = _plan(study, profile)
    state = states(planned, storage)
    if as_json:
        arms = [{"id": arm.id, "role": arm.role, "changes": arm.changes} for arm in planned.arms]
        cells = [{"id": cell.id, "arm": cell.arm, "seed": cell.seed, "state": state[cell.id]} for cell in planned.cells]
        _print_json({"study": planned.study.name, "arms": arms, "cells": cells})
        return
    from sweeps.tables import plan_table, show

    show(plan_table(planned, state))
    _print_remarks(planned)


@app.command()
def run(
    study: StudyFile,
    storage: Storage = Path("runs"),
    profile: Profile = None,
    retry_failed: Annotated[bool, typer.Option("--retry-failed", help="run failed cells once more")] = False,
    cold: Annotated[bool, typer.Option("--cold", help="load base and metrics anew for every cell")] = False,
) -> None:
    """Run the cells of a study that are not done, then print the report."""
    planned = _plan(study, profile)
    from sweeps import launch

    raise typer.Exit(launch.run(planned, storage, retry_failed=retry_failed, warm=not cold))


@app.command()
def report(
    study: StudyFile,
    storage: Storage = Path("runs"),
    profile: Profile = None,
    output: Annotated[Format, typer.Option("--format", help="how to write it")] = Format.TERMINAL,
    save: Annotated[Path | None, typer.Option(metavar="DIR", help="also save tables and frame strips there")] = None,
) -> None:
    """Print what came of a study: each arm's difference from the control, with its interval."""
    planned = _plan(study, profile)
    from sweeps import report as reports

    raise typer.Exit(reports.main(planned, storage, output.value, save))


@app.command()
def parts(
    system: Annotated[str, typer.Argument(metavar="SYSTEM", help="a system, such as zs2")],
    base: Annotated[str, typer.Option(help="an embedded base, a folder or a hub id")] = "shapes",
    as_json: Json = False,
) -> None:
    """List the slots of a system, the kinds that may fill each, and parameter counts."""
    from sweeps.parts import describe

    try:
        description = describe(system, base)
    except (ValueError, OSError) as error:
        _refuse(str(error))
    if as_json:
        _print_json(description)
        return
    from sweeps.tables import parts_tables, show

    show(*parts_tables(description))


@app.command()
def schema() -> None:
    """Print the JSON schema of a study file, for editors."""
    from sweeps.study import schema as study_schema

    _print_json(study_schema())


def _plan(study: Path, profile: str | None) -> "Plan":
    """The study worked out, or everything that is wrong with it on standard error and exit code 2."""
    from sweeps.plan import expand
    from sweeps.spec import SpecError, load

    try:
        return expand(load(study, profile))
    except SpecError as error:
        _refuse(str(error))


def _print_remarks(plan: "Plan") -> None:
    for note in plan.notes:
        print(f"  note: {note}")
    for warning in plan.warnings:
        print(f"  warning: {warning}")


def _print_json(value: object) -> None:
    print(json.dumps(value, indent=2, ensure_ascii=False))


def _refuse(message: str) -> NoReturn:
    print(message, file=sys.stderr)
    raise typer.Exit(REFUSED)


if __name__ == "__main__":
    app()
