"""Run a study: take its lock, put its folder in order, do what is not done, record it, end in the report."""

import os
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from models import SYSTEMS
from models.bases import base_hash, find_base
from sweeps.cost.budget import BudgetMeter
from sweeps.cost.calibration import read_calibration
from sweeps.plan import Plan, load, requirements
from sweeps.plan.diff import differences
from sweeps.proof import PROOF, proved, read_proof
from sweeps.results.ledger import Ledger, study_folder
from sweeps.results.record import Record
from sweeps.results.status import listed
from sweeps.run.lock import Locked, StudyLock
from sweeps.run.progress import Progress, say
from sweeps.run.queue import Queue
from sweeps.run.recorder import Recorder
from sweeps.study.document import SpecError
from sweeps.study.words import not_among
from sweeps.tracking.tracker import Tracker, tracking_uri
from trainables.files import write_atomically
from trainables.provenance import code_hash, commit

REFUSED = 2
INTERRUPTED = 130
RESOLVED = "study.yaml"
"""The study as it was last run, in its folder."""


@dataclass(frozen=True)
class Options:
    """What ``run`` was told beside the study.

    Args:
        retry_failed: Run failed cells once more; otherwise they stay as they are.
        accept_code_change: Keep results of other code beside new ones, marked.
        only: Arms to work on; all when empty.
        warm: Load each base once per worker; off, everything is loaded anew for each cell.
    """

    retry_failed: bool = False
    accept_code_change: bool = False
    only: tuple[str, ...] = ()
    warm: bool = True


def run(plan: Plan, storage: Path, options: Options = Options()) -> int:  # noqa: B008  # frozen
    """Run every cell of the plan that is not done, record each in MLflow, and end in the report.

    Args:
        plan: What to run.
        storage: Folder of all studies; this one lives in ``storage/<study>``.
        options: What else was asked.

    Returns:
        Exit code: 0 all cells done, 1 some cell failed or is missing, 2 refused before anything ran, 130 interrupted.
    """
    problems = [str(problem) for problem in requirements(plan)] + _unwritable(storage) + _no_arms(plan, options)
    if problems:
        print("\n".join(problems), file=sys.stderr)
        return REFUSED
    try:
        with StudyLock(study_folder(storage, plan.study.name)) as lock:
            return _Run(plan, storage, options, lock).run()
    except Locked as other:
        say(str(other))
        return REFUSED
    except KeyboardInterrupt:
        say("interrupted: finished cells stay, the same command goes on")
        return INTERRUPTED


class _Run:
    """One driver's work on one study, under its lock."""

    def __init__(self, plan: Plan, storage: Path, options: Options, lock: StudyLock) -> None:
        self.plan = plan
        self.storage = storage
        self.options = options
        self.lock = lock
        self.ledger = Ledger(lock.folder)
        self.resolved = lock.folder / RESOLVED

    def run(self) -> int:
        for sentence in self.ledger.recover():
            say(f"{self.plan.study.name}: {sentence}")
        records = self.ledger.records()
        if changed := self._of_another_base(records):
            say(changed)
            return REFUSED
        if foreign := self._of_other_code(records):
            say(foreign)
            if not self.options.accept_code_change:
                return REFUSED
        self._say_changes()
        options = self.options
        meter = self._meter()
        queue = Queue(self.plan, records, retry_failed=options.retry_failed, only=options.only, meter=meter)
        tracker = self._tracker()
        tracker.catch_up({cell_id: self.ledger.cell_folder(cell_id) for cell_id in records})
        self._say_what_is_to_do(queue, records)
        worked = bool(queue)
        if worked and (wrong := self._disproved()):
            say(wrong)
            return REFUSED
        if meter is not None and not self._used(records) and (too_small := meter.shortfall()):
            say(too_small)
            return REFUSED
        if worked and not self._work(queue, tracker):
            return REFUSED
        if meter is not None:
            meter.keep()
        return self._end(tracker, worked, queue.stopped)

    def _meter(self) -> BudgetMeter | None:
        """What says when the study's budget is spent."""
        if self.plan.study.budget is None:
            return None
        return BudgetMeter(self.plan, self.lock.folder, read_calibration(self.plan, self.lock.folder))

    def _of_other_code(self, records: Mapping[str, Record]) -> str:
        """That results of other code are there, and what can be done; empty where there are none."""
        here = code_hash(self.plan.study.system)
        others = [record for record in self._used(records) if record.code_hash != here]
        if not others:
            return ""
        hashes = ", ".join(sorted({record.code_hash for record in others}))
        what = f"{self.plan.study.name}: {len(others)} results come from other code ({hashes}; this is {here})"
        if self.options.accept_code_change:
            return f"{what}: kept, and marked in the table"
        return f"{what} -> --accept-code-change keeps them beside new ones, marked; another --storage starts anew"

    def _of_another_base(self, records: Mapping[str, Record]) -> str:
        """That results are there which other weights of the base gave; empty where there are none."""
        base = self.plan.study.base
        known = [record for record in self._used(records) if record.base_hash]
        try:
            ref = find_base(base, SYSTEMS[self.plan.study.system].family)
            here = base_hash(ref) if known else ""  # reads all weights
        except ValueError:  # a hub id that is not on this machine yet
            return ""
        others = [record for record in known if record.base_hash != here]
        if not others:
            return ""
        what = f"{self.plan.study.name}: {len(others)} results come from other weights of base {base}"
        return f"{what} -> another --storage starts anew; the earlier weights go on with these"

    def _used(self, records: Mapping[str, Record]) -> list[Record]:
        """The results that the study's tables are made of."""
        cells = {cell.id for cell in self.plan.cells}
        search = self.plan.search.identity if self.plan.search else None
        return [record for record in records.values() if record.cell_id in cells or record.search == search]

    def _say_changes(self) -> None:
        """How the study differs from the form in which it last ran."""
        if not self.resolved.exists():
            return
        try:
            changed = differences(load(self.resolved), self.plan)
        except SpecError as error:
            say(f"{self.resolved}: the form in which this study last ran is not understood any more ({error})")
            return
        if changed:
            say(f"{self.plan.study.name} has changed since it last ran; cells of another form are never mixed:")
            say(changed.text("as it last ran", "as it is now"))

    def _tracker(self) -> Tracker:
        study = self.plan.study
        tags = {"commit": commit(), "code_hash": code_hash(study.system), "system": study.system, "base": study.base}
        uri = tracking_uri(self.storage, study.tracking.uri)
        return Tracker(uri, study.name, study.question, self.storage / "mlartifacts" / study.name, tags)

    def _say_what_is_to_do(self, queue: Queue, records: Mapping[str, Record]) -> None:
        cells = self.plan.cells
        there = sum(cell.id in records for cell in cells)
        search = f" and a search of {self.plan.search.num_proposed}" if self.plan.search else ""
        say(f"{self.plan.study.name}: {len(cells)} cells{search}, {there} there already, {queue.total} to do")

    def _disproved(self) -> str:
        """Why an arm does not do what it says, before it costs anything; empty where all do."""
        building = f"{self.plan.study.name}: building control and arms, to see what each changes"
        try:
            proof = proved(self.plan, self.lock.folder, lambda: say(building))
        except OSError as error:
            return f"{self.plan.study.name}: base {self.plan.study.base} cannot be built without weights ({error})"
        if not proof.problems:
            return ""
        problems = "\n".join(f"  {problem}" for problem in proof.problems)
        return f"{self.plan.study.name}: nothing was run, since an arm does not do what it says:\n{problems}"

    def _work(self, queue: Queue, tracker: Tracker) -> bool:
        """Run the queue's cells under Ray; False where Ray does not start, or has no room for a cell."""
        from sweeps.run.cluster import connect, disconnect, is_trained, num_slots, too_large, worker_resources
        from sweeps.run.tune import run_trials

        try:
            started = connect(dashboard=is_trained(self.plan))
        except Exception as reason:
            say(f"Ray did not start: {reason} -> free some processor or memory, or name a cluster with RAY_ADDRESS")
            return False
        try:
            if message := too_large(self.plan):
                say(message)
                return False
            self.ledger.cells.mkdir(parents=True, exist_ok=True)
            self._keep_resolved()
            queue.slots = num_slots(self.plan)
            if queue.meter is not None:
                queue.meter.slots, queue.meter.gpus = queue.slots, worker_resources(self.plan)["GPU"]
            with Progress(queue.total) as progress:
                recorder = Recorder(self.ledger, tracker, progress, self.lock)
                run_trials(queue, recorder, self.storage, warm=self.options.warm)
        finally:
            if started:
                disconnect()
        return True

    def _keep_resolved(self) -> bool:
        """Keep the study as it runs now; True where it was kept in another form, or not at all."""
        form = self.plan.study.to_yaml().encode()
        if self.resolved.exists() and self.resolved.read_bytes() == form:
            return False
        self.resolved.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(self.resolved, form)
        return True

    def _end(self, tracker: Tracker, worked: bool, stopped: str) -> int:
        """The report, the last uploads, and where everything is."""
        from sweeps.report import build, print_terminal, save

        records = self.ledger.records()
        report = build(self.plan, records, read_proof(self.lock.folder))
        incomplete = self._incomplete(records)
        folder = self.ledger.folder / "report"
        stale = self._keep_resolved() or worked or self._behind(folder)
        files = save(report, self.ledger, folder) if stale else sorted(folder.iterdir())
        proof = self.lock.folder / PROOF
        tracker.finish([self.resolved, *[proof] * proof.exists(), *files], incomplete, _show_uploads)
        for failure in tracker.failures:
            say(f"not uploaded, the next run tries again: {failure}")
        print_terminal(report)
        self._say_where()
        if stopped:
            say(f"{self.plan.study.name}: {stopped} -> a larger budget goes on from here")
            return 1 if report.errors or report.effort.problems else 0
        if incomplete:
            say("not every cell is done: the same command goes on, --retry-failed repeats failed cells")
        return 1 if incomplete or report.effort.problems else 0

    def _behind(self, report: Path) -> bool:
        """Whether a run that was cut short has left a report that is older than the last result."""
        written = [path.stat().st_mtime for path in report.glob("*")]
        return not written or min(written) < self.ledger.index.stat().st_mtime

    def _incomplete(self, records: Mapping[str, Record]) -> bool:
        """Whether a cell that was asked for failed, or is still to be done; a search's count like the plan's."""
        asked = self.options.only or [arm.id for arm in self.plan.arms]
        unfinished = any(
            cell["state"] not in ("done", "pruned", "proposed", "spared")
            for cell in listed(self.plan, records)
            if cell["arm"] in asked
        )
        return unfinished or bool(Queue(self.plan, records, only=self.options.only))

    def _say_where(self) -> None:
        """The lines that open what the study left."""
        uri = tracking_uri(self.storage, self.plan.study.tracking.uri)
        python = os.path.relpath(sys.executable)
        opened = f"{python} -m mlflow ui --backend-store-uri {uri}" if uri.startswith("sqlite:") else uri
        print(f"\ntables, page and pictures  {self.ledger.folder / 'report'}")
        print(f"clips and results          {self.ledger.cells}")
        print(f"every trial in MLflow      {opened}")


def _unwritable(storage: Path) -> list[str]:
    try:
        storage.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=storage):
            pass
    except OSError as reason:
        return [f"{storage}: storage cannot be written ({reason.strerror}) -> give another folder with --storage DIR"]
    return []


def _no_arms(plan: Plan, options: Options) -> list[str]:
    """Arms that were asked for and are not there."""
    arms = [arm.id for arm in plan.arms]
    return [f"--only {not_among(arm, arms)}" for arm in options.only if arm not in arms]


def _show_uploads(waiting: int) -> None:
    say(f"uploading to MLflow: {waiting} runs left")
