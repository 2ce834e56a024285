"""Study files for tests: a sound one, and ways to spoil it; reports of results made up for the real planner's cells.

Reports are made once and shared by all tests: none may change them, or the files under them.
"""

import itertools
import os
import shutil
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

from sweeps.plan import Plan, load
from sweeps.plan.cells import Cell
from sweeps.report import save
from sweeps.report.figures import Plot
from sweeps.report.plots import plots
from sweeps.report.table import Report, build
from sweeps.results.ledger import Ledger
from sweeps.results.record import Record
from sweeps.results.winners import confirmation
from sweeps.study.document import SpecError
from tests.factories import make_record, make_result, make_scores, save_result
from trainables.cell_files import Drawn, save_clips

if TYPE_CHECKING:
    from playwright.sync_api import Browser

SOUND = """\
name: sound
system: zs2
base: shapes
metrics: [clip_score]
seeds: 2
ablations:
  - {part: noise, action: REMOVE}
"""

TINY_TRAINING = """\
name: tiny
system: seer
base: {base}
data: {{layout: shapes, references: 16}}
metrics: [motion_magnitude]
seeds: 1
protocol: {{clips: 2, frames: 4, steps: 2, guidance: 1.0, height: 32, width: 32}}
training: {{steps: {steps}, global_batch_size: 4, lr: 1.0e-3, clips: 32}}
control:
  text_decomposer.num_layers: 1
  text_decomposer.num_heads: 2
  text_decomposer.identity_steps: 2
  temporal_attention.num_heads: 2
"""

REPORTED = """\
name: reported
question: "Is `a_b` & <c> worth 5 % of |x|, for $1 #2 {} ~^ \\\\ or λ ≥ 0.5?"
system: zs2
base: shapes
metrics: [clip_score, temporal_consistency, fid]
protocol: {clips: 2, frames: 3}
"""
ARMS = """\
ablations:
  - {part: noise, action: REMOVE, hypothesis: "clips <come> apart & drift"}
  - {part: attention.mu, action: VALUES, values: [0.2, 0.6]}
  - {part: noise.threshold, action: VALUES, values: [0.001, 1.0]}
arms: {a_b + c: {noise: removed, attention: removed}}
"""
SEARCH = """\
search:
  space: {attention.mu: {uniform: [0, 1]}, noise.threshold: {log_uniform: [0.001, 1.5]}}
  trials_per_arm: 12
"""
BOTH = "  objectives: {clip_score: max, fid: min}\n"
CONFIRM = "  confirm: {top: 1, fresh_seeds: 3}\n"
ONCE = "  repeats: 1\n"

BROWSED = """\
name: browsed
question: Does it play?
system: zs2
base: shapes
metrics: [clip_score, temporal_consistency]
seeds: 8
protocol: {clips: 2, frames: 8}
ablations:
  - {part: noise, action: REMOVE}
  - {part: attention.mu, action: VALUES, values: [0.2, 0.4, 0.6, 0.8]}
arms: {an arm of a name that is longer than most names of arms are: {attention: removed, noise: removed}}
"""

Planned = Callable[[str], Plan]
Simulated = Callable[..., dict[str, Record]]

Write = Callable[[str | bytes], Path]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Puts a text into a study file and gives its path."""

    def put(text: str | bytes) -> Path:
        path = tmp_path / "study.yaml"
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return path

    return put


@pytest.fixture
def tiny_training(tiny_base_folder: Path) -> Callable[[int], str]:
    """The head of a study that trains Seer on the tiny base for so many steps, in seconds."""
    return lambda steps: TINY_TRAINING.format(base=tiny_base_folder, steps=steps)


@pytest.fixture
def problems(write: Write) -> Callable[[str | bytes], list[tuple[int, str, str]]]:
    """Everything that is wrong with a study text, as (line, dotted path, message); empty for a sound one."""

    def found(text: str | bytes) -> list[tuple[int, str, str]]:
        try:
            load(write(text))
        except SpecError as error:
            return [(problem.line, problem.path, problem.message) for problem in error.problems]
        return []

    return found


@pytest.fixture(scope="session")
def planned(tmp_path_factory: pytest.TempPathFactory) -> Planned:
    """The plan of a study with these lines besides its head."""

    def put(text: str) -> Plan:
        path = tmp_path_factory.mktemp("study") / "study.yaml"
        path.write_text(REPORTED + text, encoding="utf-8")
        return load(path)

    return put


def _values(cell: Cell, keys: list[str]) -> dict[str, float]:
    """A draw that all arms share, an effect of the arm, one of the sample, and a little that is the cell's own."""
    shared = np.random.default_rng(cell.seed).normal(size=len(keys))
    effect = np.random.default_rng([*cell.arm.encode()]).normal(size=len(keys)) * (cell.arm != "control")
    own = np.random.default_rng([cell.seed, *cell.id.encode()]).normal(size=len(keys))
    mu = float(cell.spec.sampled.get("attention.mu", 0.98))
    values = 10 + shared + 2 * effect + 0.2 * own + mu * np.array([1, -1, 1, -1])[: len(keys)]
    return dict(zip(keys, values.tolist(), strict=True))


def _record(cell: Cell, keys: list[str]) -> Record:
    values = _values(cell, keys)
    # Frames grow worse or better around the value; the first has none between frames, and a distance has none at all.
    per_frame = {
        key: [None if key.startswith("temporal") else value - 1, value - 0.5, value + 0.5]
        for key, value in values.items()
        if not key.startswith("fd")
    }
    return make_record(cell, values, per_frame=per_frame)


@pytest.fixture(scope="session")
def simulated() -> Simulated:
    """Results of a plan's cells, of its search, and of the winners' confirmation; some of them lost."""

    def results(plan: Plan, lost: Mapping[tuple[str, int], str] | None = None) -> dict[str, Record]:
        keys = [metric.key for metric in plan.metrics]
        records = {}
        for cell in plan.cells:
            fate = (lost or {}).get((cell.arm, cell.seed), "done")
            record = _record(cell, keys)
            if fate in ("failed", "pruned"):
                error = "NonFiniteError: NaN at step 3 of <clip> 0 & on" if fate == "failed" else ""
                kind = "diverged" if fate == "failed" else ""
                record = replace(record, status=fate, error=error, failure=kind, scores={}, settings={})
            if fate == "other code":
                record = replace(record, code_hash="01d", finished="2020-01-01T00:00:00+00:00")
            if fate != "missing":
                records[cell.id] = record
        return records | _searched(plan, keys, records)

    return results


def _searched(plan: Plan, keys: list[str], records: Mapping[str, Record]) -> dict[str, Record]:
    search = plan.search
    if search is None:
        return {}
    found = {}
    for space, repeat in itertools.product(search.arms, range(search.repeats)):
        for number in range(search.num_trials(space)):
            draw = np.random.default_rng([number, *space.arm.id.encode(), *[repeat] * bool(repeat)]).random(2).tolist()
            sampled = {path: 0.001 + 0.999 * value for path, value in zip(space.space, draw, strict=False)}
            cell = search.trial(space.arm.id, number, sampled, repeat)
            found[cell.id] = _record(cell, keys)
            if number == 3:
                found[cell.id] = replace(
                    found[cell.id], status="failed", error="OutOfMemory: no room", failure="out of memory", scores={}
                )
    if search.confirm is not None:
        found |= {cell.id: _record(cell, keys) for cell in confirmation(search, {**records, **found})}
    return found


LOST = {
    ("noise=removed", 2): "failed",
    ("noise=removed", 4): "pruned",
    ("attention.mu=0.2", 0): "missing",
    ("attention.mu=0.6", 1): "other code",
}


@pytest.fixture(scope="session")
def report(planned: Planned, simulated: Simulated) -> Report:
    """Six arms at nine seeds, of which a failed, a pruned, a missing cell and one of other code; a search's front."""
    plan = planned(ARMS + "seeds: 9\n" + SEARCH + BOTH + CONFIRM + ONCE)
    return build(plan, simulated(plan, LOST))


@pytest.fixture(scope="session")
def one_objective(planned: Planned, simulated: Simulated) -> Report:
    """A search of a single objective, in two arms of one seed."""
    plan = planned("ablations: [{part: noise, action: REMOVE}]\nseeds: 1\n" + SEARCH)
    return build(plan, simulated(plan))


@pytest.fixture(scope="session")
def nothing_scored(planned: Planned, simulated: Simulated) -> Report:
    """A study in which no cell has a value for its first metric, and no arm has any."""
    plan = planned(ARMS + "seeds: 2\n")
    first = plan.metrics[0].key
    records = {
        cell_id: replace(record, scores={key: value for key, value in record.scores.items() if key != first})
        for cell_id, record in simulated(plan).items()
        if record.arm == "control"
    }
    return build(plan, records)


@pytest.fixture(scope="session")
def ledger(report: Report, tmp_path_factory: pytest.TempPathFactory) -> Ledger:
    """The first seed's cells with clips: each arm has its own grey, and frames grow lighter."""
    ledger = Ledger(tmp_path_factory.mktemp("runs") / "reported")
    for number, cell in enumerate(cell for cell in report.plan.cells if cell.seed == 0):
        if cell.arm == "attention.mu=0.2":
            continue  # the missing cell
        folder = ledger.cell_folder(cell.id)
        folder.mkdir(parents=True)
        clips = np.full((2, 3, 32, 32, 3), 30 * number, np.uint8) + np.arange(0, 60, 20, np.uint8)[:, None, None, None]
        save_clips(Drawn(clips, {}, "c0de", ("a red circle moves right",) * len(clips)), folder)
    return ledger


@pytest.fixture(scope="session")
def drawn(report: Report) -> list[Plot]:
    """The figures of the report."""
    return list(plots(report))


@pytest.fixture(scope="session")
def saved(report: Report, ledger: Ledger, tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """The files of the report, saved."""
    return save(report, ledger, tmp_path_factory.mktemp("saved") / "report")


@pytest.fixture(scope="session")
def stored(report: Report, ledger: Ledger, simulated: Simulated) -> Path:
    """The storage folder of a study whose cells' results are the report's."""
    records = simulated(report.plan, LOST)
    for cell in report.plan.cells:
        if cell.id not in records:
            continue
        record = records[cell.id]
        result = make_result(
            cell.spec,
            status=record.status,
            error=record.error,
            failure=record.failure,
            scores=make_scores(report.plan.metrics, record.scores) if record.scores else {},
            finished=record.finished,
            provenance={"code_hash": record.code_hash},
        )
        save_result(result, ledger.cell_folder(cell.id))
    return ledger.folder.parent


@pytest.fixture(scope="session")
def browser() -> "Iterator[Browser]":
    """Debian's Chromium (``make browser`` installs it), without a window."""
    chromium = shutil.which("chromium") or shutil.which("google-chrome")
    if chromium is None:
        assert "CI" not in os.environ, "no Chromium -> make browser"
        pytest.skip("no Chromium here -> make browser")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=chromium)
        yield browser
        browser.close()


@pytest.fixture(scope="session")
def browsed(tmp_path_factory: pytest.TempPathFactory) -> Plan:
    path = tmp_path_factory.mktemp("study") / "study.yaml"
    path.write_text(BROWSED)
    return load(path)


@pytest.fixture(scope="session")
def browsed_storage(browsed: Plan, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A storage folder in which every cell of the study is done: a bar that moves, and made-up scores."""
    storage = tmp_path_factory.mktemp("runs")
    ledger = Ledger(storage / browsed.study.name)
    clips = np.zeros((2, 8, 32, 32, 3), np.uint8)
    for frame in range(8):
        clips[:, frame, 8:24, 3 * frame : 3 * frame + 8] = (200, 80, 40)
    effects = {arm.id: (0, 1, -1)[place % 3] for place, arm in enumerate(browsed.arms)}
    for cell in browsed.cells:
        folder = ledger.cell_folder(cell.id)
        folder.mkdir(parents=True)
        save_clips(Drawn(clips, {}, "c0de", ("a red circle moves right",) * len(clips)), folder)
        value = 30 + cell.seed + effects[cell.arm]
        scores = make_scores(browsed.metrics, value)
        save_result(make_result(cell.spec, scores=scores, finished="2026-11-21T00:00:00+00:00"), folder)
    return storage
