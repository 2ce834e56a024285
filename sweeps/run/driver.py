"""Driver of a study: lock, recovery, checks, execution of the unfinished cells, report."""

import os
import shlex
import sys
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from sweeps.cost.budget import BudgetMeter
from sweeps.cost.calibration import read_calibration
from sweeps.plan import Plan, load, requirements
from sweeps.plan.arms import CONTROL
from sweeps.plan.diff import differences
from sweeps.proof import PROOF, proved, read_proof
from sweeps.results.content import CONTENT, content_file, older_results, with_kept_content, with_read_content
from sweeps.results.ends import note_end, with_ends
from sweeps.results.ledger import Ledger, study_folder
from sweeps.results.record import Record
from sweeps.results.status import listed
from sweeps.run.address import unreachable
from sweeps.run.endings import INCOMPLETE, REFUSED, EndingSignals
from sweeps.run.lock import Locked, StudyLock
from sweeps.run.progress import Progress, Reading, cannot_continue, notify
from sweeps.run.queue import Queue
from sweeps.run.recorder import Recorder
from sweeps.run.review import review_of
from sweeps.study.document import SpecError
from sweeps.study.words import counted, not_among
from sweeps.tracking.location import artifacts_folder, database_file, follow_move, tracking_uri
from sweeps.tracking.tracker import Tracker
from trainables.failures import is_disk_full, is_unwritable, unwritten
from trainables.files import write_atomically
from trainables.provenance import code_hash, commit, weights_of

RESOLVED = "study.yaml"
"""Copy of the study as it last ran, in its folder."""


@dataclass(frozen=True)
class Options:
    """Options of the command ``run``.

    Args:
        retry_failed: Run failed cells again.
        accept_code_change: Keep results of other code beside new ones, marked.
        only: Arms to run; empty for all.
        warm: Load each base once per worker, instead of once per cell.
    """

    retry_failed: bool = False
    accept_code_change: bool = False
    only: tuple[str, ...] = ()
    warm: bool = True


def run(plan: Plan, storage: Path, options: Options = Options()) -> int:  # noqa: B008  # frozen
    """Run every unfinished cell of the plan, record each in MLflow, and print the report.

    Args:
        plan: The plan.
        storage: Folder of all studies; the study's folder is ``storage/<study>``.
        options: Options of the command.

    Returns:
        Exit code: 0 all cells done; 1 cells failed or missing, also since the storage cannot be written any more;
        2 refused before any cell ran; 130 interrupted by Ctrl-C, 143 by SIGTERM, 129 by SIGHUP.
    """
    if problems := refusals(plan, storage, options):
        print("\n".join(problems), file=sys.stderr)
        return REFUSED

    def work(lock: StudyLock) -> int:
        planned = with_ends(with_read_content(plan, storage, Reading(plan.study.name)), lock.folder)
        return _Run(planned, storage, options, lock).run()

    return _locked(plan, storage, work)


def prove(plan: Plan, storage: Path) -> int:
    """Make the ablation proof of a plan, or read the one in its folder; print why it fails.

    Returns:
        Exit code: 0 for a sound plan; otherwise as that of ``run``.
    """

    def work(lock: StudyLock) -> int:
        if message := _failed_proof(plan, lock.folder):
            notify(message)
        return REFUSED if message else 0

    return _locked(plan, storage, work)


def _locked(plan: Plan, storage: Path, work: Callable[[StudyLock], int]) -> int:
    """Do some work under the lock of a study; word what ends it, and return the exit code."""
    signals = EndingSignals()
    try:
        with signals, StudyLock(study_folder(storage, plan.study.name)) as lock:
            return work(lock)
    except Locked as error:
        notify(str(error))
        return REFUSED
    except OSError as error:
        if not is_unwritable(error):
            raise
        notify(cannot_continue(plan.study.name, unwritten(error)))
        return INCOMPLETE
    except KeyboardInterrupt:
        notify("Interrupted. Finished cells are kept; run the same command to resume")
        return signals.exit_code


def refusals(plan: Plan, storage: Path, options: Options) -> list[str]:
    """List what keeps a plan from running on this machine, with these options."""
    return [str(problem) for problem in requirements(plan)] + _unwritable(storage) + _no_arms(plan, options)


class _Run:
    """One run of a study by a driver that holds its lock."""

    def __init__(self, plan: Plan, storage: Path, options: Options, lock: StudyLock) -> None:
        self.plan = plan
        self.storage = storage
        self.options = options
        self.lock = lock
        self.ledger = Ledger(lock.folder)
        self.resolved = lock.folder / RESOLVED

    def run(self) -> int:
        for message in self.ledger.recover():
            notify(f"{self.plan.study.name}: {message}")
        records = self.ledger.records()
        if message := older_results(records, self.ledger.folder):
            notify(message)
            return REFUSED
        if message := self._results_of_other_weights(records):
            notify(message)
            return REFUSED
        if message := self._results_of_other_code(records):
            notify(message)
            if not self.options.accept_code_change:
                return REFUSED
        self._print_changes()
        options = self.options
        meter = self._meter()
        queue = Queue(self.plan, records, retry_failed=options.retry_failed, only=options.only, meter=meter)
        tracker = self._tracker()
        tracker.catch_up({cell_id: self.ledger.cell_folder(cell_id) for cell_id in records})
        self._print_counts(queue, records)
        has_work = bool(queue)
        if has_work and (message := unreachable() or _failed_proof(self.plan, self.lock.folder)):
            notify(message)
            return REFUSED
        if meter is not None and not self._used(records) and (message := meter.shortfall()):
            notify(message)
            return REFUSED
        if has_work and not self._run_cells(queue, tracker):
            return REFUSED
        if queue.unwritten:
            return INCOMPLETE
        if meter is not None:
            meter.keep()
        return self._finish(tracker, has_work, queue.stopped)

    def _meter(self) -> BudgetMeter | None:
        """Make the budget meter; None for a study without a budget."""
        if self.plan.study.budget is None:
            return None
        return BudgetMeter(self.plan, self.lock.folder, read_calibration(self.plan, self.lock.folder))

    def _results_of_other_code(self, records: Mapping[str, Record]) -> str:
        """Word the message on results of other code; empty without such results."""
        current = self._codes()
        others = [record for record in self._used(records) if record.code_hash != self._of_arm(current, record)]
        if not others:
            return ""
        hashes = ", ".join(sorted({record.code_hash for record in others}))
        now = " and ".join(dict.fromkeys(current.values()))
        results = counted(len(others), "result")
        count = f"{self.plan.study.name}: {results} from other code ({hashes}; this is {now})"
        if self.options.accept_code_change:
            return f"{count}: kept, and marked in the table"
        return f"{count} -> --accept-code-change to keep them, marked, or another --storage to start anew"

    def _results_of_other_weights(self, records: Mapping[str, Record]) -> str:
        """Word the message on results of other weights of the base; empty without such results."""
        known = [record for record in self._used(records) if record.base_hash]
        bases = {arm: spec.base for arm, spec in self.plan.specs.items()}
        current = {arm: weights_of(spec) for arm, spec in self.plan.specs.items()} if known else {}
        others = [record for record in known if self._of_arm(current, record) not in (record.base_hash, "")]
        if not others:
            return ""
        named = " and ".join(dict.fromkeys(self._of_arm(bases, record) for record in others))
        count = f"{self.plan.study.name}: {counted(len(others), 'result')} from other weights of base {named}"
        return f"{count} -> another --storage to start anew, or the earlier weights to resume"

    def _codes(self) -> dict[str, str]:
        """Return the code hash of each arm's system."""
        return {arm.id: code_hash(arm.system.name) for arm in self.plan.arms}

    @staticmethod
    def _of_arm(values: Mapping[str, str], record: Record) -> str:
        """Return the value of a result's arm; the control's for an arm that the study has no more."""
        return values.get(record.arm, values[CONTROL])

    def _used(self, records: Mapping[str, Record]) -> list[Record]:
        """Return the results that the study's tables use."""
        cells = {cell.id for cell in self.plan.cells}
        search = self.plan.search.identity if self.plan.search else None
        return [record for record in records.values() if record.cell_id in cells or record.search == search]

    def _print_changes(self) -> None:
        """Print the differences from the study as it last ran."""
        if not self.resolved.exists():
            return
        try:
            changed = differences(with_kept_content(load(self.resolved), self.lock.folder), self.plan)
        except SpecError as error:
            notify(f"{self.resolved}: cannot be compared, no longer a valid study ({error})")
            return
        if changed:
            notify(f"{self.plan.study.name} has changed since the last run; cells of the two versions are never mixed:")
            notify(changed.text("last run", "now"))

    def _tracker(self) -> Tracker:
        plan, study = self.plan, self.plan.study
        tags = {
            "commit": commit(),
            "code_hash": ", ".join(dict.fromkeys(self._codes().values())),
            "system": ", ".join(plan.systems),
            "base": ", ".join(plan.bases),
        }
        uri = tracking_uri(self.storage, study.tracking.uri)
        if message := follow_move(uri, self.storage, study.name):
            notify(message)
        artifacts = artifacts_folder(self.storage, study.name)
        return Tracker(uri, study.name, study.question, artifacts, tags, review_of(plan))

    def _print_counts(self, queue: Queue, records: Mapping[str, Record]) -> None:
        cells = self.plan.cells
        done = sum(cell.id in records for cell in cells)
        search = f" and {counted(self.plan.search.num_proposed, 'search cell')}" if self.plan.search else ""
        notify(f"{self.plan.study.name}: {counted(len(cells), 'cell')}{search}: {done} done, {queue.total} to run")

    def _run_cells(self, queue: Queue, tracker: Tracker) -> bool:
        """Run the queue's cells with Ray; False if Ray does not start, or the cluster is too small for a cell."""
        from sweeps.run.cluster import connect, disconnect, num_slots, too_large, worker_resources
        from sweeps.run.tune import run_trials

        try:
            started = connect(dashboard=self.plan.is_trained)
        except Exception as reason:
            notify(f"Ray did not start: {reason} -> free memory or CPU cores, or name a cluster with RAY_ADDRESS")
            return False
        try:
            if message := too_large(self.plan):
                notify(message)
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
        """Save the resolved study and the content of its data; True if one was new or had changed."""
        now = {self.resolved: self.plan.study.to_yaml().encode(), self.lock.folder / CONTENT: content_file(self.plan)}
        changed = [path for path, content in now.items() if not path.exists() or path.read_bytes() != content]
        for path in changed:
            path.parent.mkdir(parents=True, exist_ok=True)
            write_atomically(path, now[path])
        return bool(changed)

    def _finish(self, tracker: Tracker, has_run: bool, stopped: str) -> int:
        """Save and print the report, finish the uploads, print the paths, and return the exit code."""
        from sweeps.report import REPORT, build, print_terminal, save

        records = self.ledger.records()
        incomplete = self._incomplete(records)
        note_end(self.plan, records, self.lock.folder)
        report = build(self.plan, records, read_proof(self.lock.folder))
        folder = self.ledger.folder / REPORT
        stale = self._keep_resolved() or has_run or self._is_outdated(folder)
        files = save(report, self.ledger, folder) if stale else sorted(folder.iterdir())
        proof = self.lock.folder / PROOF
        tracker.finish([self.resolved, *[proof] * proof.exists(), *files], incomplete, _show_uploads)
        for failure in tracker.failures:
            notify(f"not uploaded, the next run tries again: {failure}")
        for refusal in tracker.refusals:
            notify(f"not uploaded, since this MLflow server does not accept it: {refusal}")
        print_terminal(report)
        self._print_paths(folder, tracker.link)
        if stopped:
            notify(f"{self.plan.study.name}: {stopped} -> a larger budget to resume")
            return 1 if report.errors or report.effort.problems else 0
        if incomplete:
            notify("Not all cells are done -> run the same command to resume; --retry-failed to run failed cells again")
        return 1 if incomplete or report.effort.problems else 0

    def _is_outdated(self, report: Path) -> bool:
        """Whether the report is missing or older than the last result, as after an interrupted run."""
        written = [path.stat().st_mtime for path in report.glob("*")]
        return not written or min(written) < self.ledger.index.stat().st_mtime

    def _incomplete(self, records: Mapping[str, Record]) -> bool:
        """Whether a cell of the selected arms, or of their searches, failed or is unfinished."""
        selected = self.options.only or [arm.id for arm in self.plan.arms]
        unfinished = any(
            cell["state"] not in ("done", "pruned", "proposed", "spared")
            for cell in listed(self.plan, records)
            if cell["arm"] in selected
        )
        return unfinished or bool(Queue(self.plan, records, only=self.options.only))

    def _print_paths(self, report: Path, link: str) -> None:
        """Print the paths of report and results, how to open MLflow, and the link of the study's first view."""
        uri = tracking_uri(self.storage, self.plan.study.tracking.uri)
        opened = shlex.join([os.path.relpath(sys.executable), "-m", "mlflow", "ui", "--backend-store-uri", uri])
        print(f"\ntables, figures, report.html  {report}")
        print(f"clips and results             {self.ledger.cells}")
        print(f"MLflow runs                   {opened if database_file(uri) else uri}")
        if link:
            print(f"arms in MLflow                {link}")


def _failed_proof(plan: Plan, folder: Path) -> str:
    """Word the problems that the ablation proof found, before any cell runs; empty without problems."""
    name = plan.study.name
    checking = f"{name}: Checking that every arm changes the model (ablation proof)"
    try:
        proof = proved(plan, folder, lambda: notify(checking))
    except OSError as error:
        if is_disk_full(error):
            raise
        return f"{name}: base {' and '.join(plan.bases)}: cannot read its configuration ({error})"
    if not proof.problems:
        return ""
    problems = "\n".join(f"  {problem}" for problem in proof.problems)
    return f"{name}: refused by the ablation proof, no cell was run:\n{problems}"


def _unwritable(storage: Path) -> list[str]:
    try:
        storage.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=storage):
            pass
    except OSError as reason:
        return [f"--storage {storage}: cannot be written ({reason.strerror}) -> another folder, or its permissions"]
    return []


def _no_arms(plan: Plan, options: Options) -> list[str]:
    """Word a problem for each unknown arm of ``--only``."""
    arms = [arm.id for arm in plan.arms]
    return [f"--only {not_among(arm, arms)}" for arm in options.only if arm not in arms]


def _show_uploads(waiting: int) -> None:
    notify(f"uploading to MLflow: {counted(waiting, 'run')} left")
