"""The command line: ``python -m sweeps {check,plan,run,status,report,diff,parts,new,import,export,schema}``.

Heavy packages are imported inside the commands, so that help and checks are fast.
"""

import sys
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from sweeps.commands import Commands, refuse, refusing
from sweeps.output import prepare_streams, print_json
from sweeps.printing import (
    next_command,
    print_cells,
    print_forecast,
    print_memory,
    print_proof,
    print_remarks,
    print_status,
)

if TYPE_CHECKING:
    from sweeps.plan import Plan


app = typer.Typer(
    cls=Commands,
    help="Ablation studies of video diffusion models: what does each part contribute?",
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)

StudyFile = Annotated[Path, typer.Argument(metavar="STUDY", help="a study file, such as sweeps/quickstart.yaml")]
Profile = Annotated[str | None, typer.Option(help="apply this profile of the study")]
Block = Annotated[str | None, typer.Option(help="only this block of the study")]


def _folder(storage: Path) -> Path:
    """Refuse a storage path that is a file; a missing folder has no results."""
    if storage.exists() and not storage.is_dir():
        refuse(f"{storage}: storage is a file -> a folder, with --storage DIR")
    return storage


Storage = Annotated[Path, typer.Option(metavar="DIR", help="folder of all studies", callback=_folder)]
Json = Annotated[bool, typer.Option("--json", help="print JSON only")]


class Format(StrEnum):
    """Formats of a report."""

    TERMINAL = "terminal"
    MARKDOWN = "markdown"
    CSV = "csv"
    JSON = "json"
    LATEX = "latex"
    HTML = "html"


@app.callback()
def _begin() -> None:
    """Prepare the process for any command: output in any encoding, warnings that stay warnings."""
    from trainables.interpreter import tolerate_warnings

    prepare_streams()
    tolerate_warnings()


@app.command()
def check(study: StudyFile, profile: Profile = None, block: Block = None) -> None:
    """Check a study file, and report every mistake with its line."""
    for plan in _plans(study, profile, block).values():
        spec = plan.study
        print(f"{spec.name}: {spec.question}" if spec.question else spec.name)
        print(f"  {len(plan.arms)} arms x {len(spec.all_seeds)} seeds = {len(plan.cells)} cells")
        print(f"  arms: {', '.join(arm.id for arm in plan.arms)}")
        for metric in plan.metrics:
            print(f"  {metric.key}: {metric.words}")
        print_remarks(plan)


@app.command()
def plan(
    study: StudyFile,
    storage: Storage = Path("runs"),
    profile: Profile = None,
    block: Block = None,
    as_json: Json = False,
    memory: Annotated[
        bool, typer.Option("--memory", help="show the model state per worker, and whether it fits")
    ] = False,
    gpu_gib: Annotated[float | None, typer.Option(help="memory of one GPU in GiB; this machine's by default")] = None,
    proof: Annotated[bool, typer.Option("--proof", help="check that every arm changes the model")] = False,
    calibrate: Annotated[
        bool, typer.Option("--calibrate", help="time short test cells, and forecast hours, cost and memory")
    ] = False,
) -> None:
    """Show the arms and cells of a study, and forecast its cost."""
    plans = _plans(study, profile, block, storage, single=as_json)
    for planned in plans.values():
        if memory:
            print_memory(planned, gpu_gib, as_json=as_json)
        elif proof:
            print_proof(planned, storage, as_json=as_json)
        elif calibrate:
            print_forecast(planned, storage, as_json=as_json)
        else:
            print_cells(planned, storage, as_json=as_json)


@app.command()
def run(
    study: StudyFile,
    storage: Storage = Path("runs"),
    profile: Profile = None,
    block: Block = None,
    only: Annotated[list[str] | None, typer.Option(metavar="ARM", help="run only this arm; may be repeated")] = None,
    retry_failed: Annotated[bool, typer.Option("--retry-failed", help="run failed cells again")] = False,
    accept_code_change: Annotated[
        bool, typer.Option("--accept-code-change", help="keep results from other code; they are marked")
    ] = False,
    cold: Annotated[bool, typer.Option("--cold", help="reload base and metrics for every cell")] = False,
) -> None:
    """Run the unfinished cells of a study, then print the report."""
    plans = _plans(study, profile, block)
    from sweeps.run import blocks
    from sweeps.run.driver import Options

    options = Options(retry_failed, accept_code_change, tuple(only or ()), warm=not cold)
    raise typer.Exit(blocks.run(plans, storage, options))


@app.command()
def status(
    study: StudyFile,
    storage: Storage = Path("runs"),
    profile: Profile = None,
    block: Block = None,
    as_json: Json = False,
) -> None:
    """Show the progress of a study, also while it runs."""
    for planned in _plans(study, profile, block, single=as_json).values():
        print_status(planned, storage, as_json=as_json)


@app.command()
def report(
    study: StudyFile,
    storage: Storage = Path("runs"),
    profile: Profile = None,
    block: Block = None,
    output: Annotated[Format, typer.Option("--format", help="output format")] = Format.TERMINAL,
    save: Annotated[Path | None, typer.Option(metavar="DIR", help="also save tables and frame strips there")] = None,
) -> None:
    """Print the results: differences from the control, with intervals."""
    plans = _plans(study, profile, block, storage, single=output is not Format.TERMINAL)
    from sweeps import report as reports

    raise typer.Exit(reports.main(plans, storage, output.value, save))


@app.command()
def parts(
    system: Annotated[str, typer.Argument(metavar="SYSTEM", help="a system, such as zs2")],
    base: Annotated[str, typer.Option(help="an embedded base, a folder or a hub id; the system's own by default")] = "",
    as_json: Json = False,
) -> None:
    """List the slots of a system, their kinds, and parameter counts."""
    from sweeps.parts import describe

    with refusing():
        description = describe(system, base)
    if not description["fits"]:
        print(f"base {description['base']} {description['lacks']}: only its networks are counted", file=sys.stderr)
    if as_json:
        print_json(description)
        return
    from sweeps.console import parts_tables, show

    show(*parts_tables(description))


@app.command()
def diff(
    study_a: StudyFile, study_b: StudyFile, profile: Profile = None, block: Block = None, as_json: Json = False
) -> None:
    """Compare two studies: keys, arms and shared cells."""
    from sweeps.plan.diff import differences

    [of_a], [of_b] = (_plans(study, profile, block, single=True).values() for study in (study_a, study_b))
    difference = differences(of_a, of_b)
    if as_json:
        print_json(difference.as_json())
    else:
        print(difference.text(str(study_a), str(study_b)))


@app.command()
def new(
    system: Annotated[str, typer.Argument(metavar="SYSTEM", help="a system, such as zs2")],
    base: Annotated[str, typer.Option(help="an embedded base, a folder or a hub id; the system's own by default")] = "",
    name: Annotated[str | None, typer.Option(help="name of the study; SYSTEM-parts by default")] = None,
    output: Annotated[
        Path | None, typer.Option("-o", metavar="FILE", help="output file; - or none: standard output")
    ] = None,
) -> None:
    """Write a commented starting study for a system."""
    from sweeps.study.starter import starting_study, write

    output = None if output == Path("-") else output
    with refusing():
        text = starting_study(system, base, name, output.parent if output else Path())
        if output is not None:
            write(text, output)
    print(text if output is None else next_command(output), end="" if output is None else "\n")


@app.command("import")
def import_(
    plans: Annotated[list[Path], typer.Argument(metavar="PLAN...", help="Markdown, JSON lines, or folders of them")],
    output: Annotated[Path, typer.Option("-o", metavar="DIR", help="output folder")],
    system: Annotated[str, typer.Option(help="system of all plans; by default determined from their papers")] = "",
    as_json: Json = False,
) -> None:
    """Convert ablation plans to draft studies, one per question."""
    from models import SYSTEMS
    from sweeps.study import words

    if system and system not in SYSTEMS:
        refuse(f"--system {words.not_among(system, SYSTEMS)}")
    from sweeps.importer import read_plans
    from sweeps.importer.draft import file_names, write

    imported = read_plans(plans, system)
    names = file_names(imported.questions)
    with refusing():
        files = write(names, output)
    from sweeps.importer.summary import as_plain, tables

    if as_json:
        print_json(as_plain(imported, names))
    else:
        from sweeps.console import show

        show(*tables(imported, names))
        for file in files:
            print(next_command(file))
    if not files:
        refuse("no study was written -> see the problems of each plan above")


@app.command()
def export(
    cell: Annotated[str, typer.Argument(metavar="CELL", help="id of a trained cell, or its first characters")],
    output: Annotated[Path, typer.Option("-o", metavar="DIR", help="a new folder")],
    storage: Storage = Path("runs"),
) -> None:
    """Write the model of a trained cell in diffusers' layout."""
    from sweeps.export import export as write

    with refusing():
        print(write(cell, storage, output))


@app.command()
def schema() -> None:
    """Print the JSON schema of a study file, for editors."""
    from sweeps.study.schema import schema as study_schema

    print_json(study_schema())


def _plans(
    study: Path, profile: str | None, block: str | None, storage: Path | None = None, *, single: bool = False
) -> "dict[str, Plan]":
    """Return the plan of each block of a study; on problems, exit with code 2.

    Args:
        study: The study file.
        profile: Profile to apply.
        block: The only block; None for all.
        storage: With a storage, plans have the content of their data.
        single: Whether one plan is needed.
    """
    from sweeps.plan import load_blocks
    from sweeps.study.document import SpecError

    try:
        plans = load_blocks(study, profile)
    except SpecError as error:
        refuse(str(error))
    blocks = [name for name in plans if name]
    if block is not None:
        if block not in blocks:
            from sweeps.study import words

            refuse(f"--block {words.not_among(block, blocks) if blocks else f'{block} -> {study} has no blocks'}")
        plans = {block: plans[block]}
    if single and len(plans) > 1:
        refuse(f"{study} has {len(blocks)} blocks, and this output is of one -> --block {', '.join(blocks)}")
    if storage is None:
        return plans
    from sweeps.results.content import with_known_content
    from sweeps.results.ends import with_ends
    from sweeps.results.ledger import study_folder

    known = {name: with_known_content(planned, storage) for name, planned in plans.items()}
    return {name: with_ends(planned, study_folder(storage, planned.study.name)) for name, planned in known.items()}


if __name__ == "__main__":
    app()
