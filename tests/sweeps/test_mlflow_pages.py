"""A study's runs in MLflow's own pages, opened in Chromium."""

import os
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from sweeps.plan import Plan, load
from sweeps.report import build, save
from sweeps.results.ledger import Ledger
from sweeps.run.review import review_of
from sweeps.tracking.views import View, views
from tests.factories import free_port, make_result, make_scores, save_result
from tests.sweeps.browsing import watched
from trainables.spool import Spool

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("browser"), pytest.mark.timeout(300)]

SEARCHED = """\
name: searched
question: Does it open?
system: exvideo
base: shapes_video
metrics: [fvd, temporal_flickering]
seeds: 2
protocol: {clips: 2, frames: 8}
training: {steps: 20, global_batch_size: 2, lr: 1.0e-3, clips: 8}
ablations: [{part: position, action: REMOVE}]
search:
  space: {training.lr: {log_uniform: [1.0e-4, 1.0e-2]}, contrast: {uniform: [1.0, 1.05]}}
  objectives: [fvd, temporal_flickering]
  trials_per_arm: 3
"""
"""A study with training and a search: it has every view."""


@pytest.fixture(scope="module")
def searched(browsed_storage: Path, tmp_path_factory: pytest.TempPathFactory) -> Plan:
    """The plan of a study with training and a search, whose cells and trials are done in the same storage folder."""
    path = tmp_path_factory.mktemp("study") / "study.yaml"
    path.write_text(SEARCHED)
    plan = load(path)
    assert plan.search is not None
    samples = [{"training.lr": 10.0**-power, "contrast": 1 + power / 100} for power in (2, 3, 4)]
    trials = [plan.search.trial(arm.id, *trial) for arm in plan.arms for trial in enumerate(samples)]
    for number, cell in enumerate([*plan.cells, *trials]):
        folder = Ledger(browsed_storage / plan.study.name).cell_folder(cell.id)
        for step in range(0, 20, 5):
            Spool(folder).append(step, dict.fromkeys(("loss", "validation_loss", "grad_norm"), 1 / (1 + step)))
        scores = make_scores(plan.metrics, 10.0 + number)
        save_result(make_result(cell.spec, scores=scores, finished="2026-11-21T00:00:00+00:00"), folder)
    return plan


def upload(plan: Plan, storage: Path, uri: str) -> None:
    """Upload the runs and the report of a study, as its driver does."""
    from sweeps.tracking.location import artifacts_folder
    from sweeps.tracking.tracker import Tracker

    ledger = Ledger(storage / plan.study.name)
    ledger.recover()
    records, artifacts = ledger.records(), artifacts_folder(storage, plan.study.name)
    tracker = Tracker(uri, plan.study.name, plan.study.question, artifacts, {}, review_of(plan))
    tracker.catch_up({cell_id: ledger.cell_folder(cell_id) for cell_id in records})
    tracker.finish(save(build(plan, records), ledger, ledger.folder / "report"), failed=False)
    assert tracker.failures == []


@pytest.fixture(scope="module")
def server(
    browsed: Plan, searched: Plan, browsed_storage: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[str]:
    """Address of an MLflow server on the studies' runs, in a session of its own."""
    from sweeps.tracking.location import tracking_uri

    uri = tracking_uri(browsed_storage, None)
    upload(browsed, browsed_storage, uri)
    upload(searched, browsed_storage, uri)
    port = free_port()
    folder = tmp_path_factory.mktemp("server")
    with (folder / "log").open("w") as log:
        process = subprocess.Popen(
            [
                sys.executable, "-m", "mlflow", "server", "--backend-store-uri", uri, "--workers", "1",
                "--host", "127.0.0.1", "--port", str(port),
            ],
            cwd=folder, stdout=log, stderr=subprocess.STDOUT, start_new_session=True,
            env={**os.environ, "MLFLOW_DISABLE_TELEMETRY": "true"},
        )  # fmt: skip
    try:
        _await(f"http://127.0.0.1:{port}/health", process)
        yield f"http://127.0.0.1:{port}/"
    finally:
        _end(process)


def _await(address: str, process: "subprocess.Popen[bytes]") -> None:
    until = time.monotonic() + 120
    while time.monotonic() < until:
        assert process.poll() is None, "the server ended"
        try:
            with urllib.request.urlopen(address, timeout=2):
                return
        except OSError:
            time.sleep(0.5)
    raise AssertionError(f"{address} does not answer")


def _end(process: "subprocess.Popen[bytes]") -> None:
    for sign in (signal.SIGTERM, signal.SIGKILL):
        try:
            os.killpg(process.pid, sign)
            process.wait(20)
        except ProcessLookupError:
            return
        except subprocess.TimeoutExpired:
            continue


def test_mlflow_shows_the_study_with_its_cells_and_plays_their_clips(
    browser: "Browser", server: str, browsed: Plan
) -> None:
    from mlflow import MlflowClient

    client = MlflowClient(server)
    experiment = client.get_experiment_by_name(browsed.study.name)
    assert experiment is not None
    (control,) = client.search_runs([experiment.experiment_id], "tags.arm = 'control' and tags.seed = '0'")
    wrong: list[str] = []
    page = watched(browser, server, wrong, viewport={"width": 1600, "height": 1000})
    page.set_default_timeout(180_000)
    page.goto(f"{server}#/experiments/{experiment.experiment_id}/runs")
    parent = page.locator(".ag-row", has=page.get_by_role("link", name=browsed.study.name, exact=True))
    parent.locator("button").click()  # opens what lies under the parent
    page.locator(".ag-row a", has_text="/s0").first.wait_for()
    listed = [name for name in page.locator(".ag-row a").all_inner_texts() if name]
    assert listed[0] == browsed.study.name
    assert set(listed[1:]) <= {f"{cell.arm}/s{cell.seed}" for cell in browsed.cells}
    assert len(listed) > len(browsed.arms), "the list is drawn as far as it is seen"
    assert page.get_by_text(f"{1 + len(browsed.cells)} matching runs").is_visible()

    page.goto(f"{server}#/experiments/{experiment.experiment_id}/runs/{control.info.run_id}/artifacts/clip_0.mp4")
    page.wait_for_function("document.querySelector('video')?.readyState >= 2")
    page.evaluate("const clip = document.querySelector('video'); clip.muted = true; clip.play()")
    page.wait_for_function("document.querySelector('video').currentTime > 0.1")
    assert wrong == []


def open_view(browser: "Browser", server: str, study: str, view: View, wrong: list[str]) -> "Page":
    """A view of a study, opened by its link."""
    from mlflow import MlflowClient

    experiment = MlflowClient(server).get_experiment_by_name(study)
    assert experiment is not None
    page = watched(browser, server, wrong, viewport={"width": 1600, "height": 1000})
    page.set_default_timeout(180_000)
    page.goto(f"{server}#/experiments/{experiment.experiment_id}/runs?{view.query}")
    page.get_by_test_id("saved-views-trigger").filter(has_text=view.name).wait_for()
    return page


def rows(page: "Page") -> dict[str, dict[str, str]]:
    """The rows of the table by the last words in their name: column -> text."""
    found: dict[str, dict[str, str]] = page.evaluate(
        """() => {
            const found = {};
            for (const cell of document.querySelectorAll('.ag-row .ag-cell')) {
                const row = cell.closest('.ag-row').getAttribute('row-id');
                (found[row] ??= {})[cell.getAttribute('col-id')] = cell.innerText;
            }
            return found;
        }"""
    )
    return {" ".join(row["attributes.`Run Name`"].splitlines()[1:]): row for row in found.values()}


def test_the_first_view_has_a_row_for_each_arm_with_its_difference(
    browser: "Browser", server: str, browsed: Plan
) -> None:
    wrong: list[str] = []
    page = open_view(browser, server, browsed.study.name, views(review_of(browsed))[0], wrong)
    page.locator(".ag-row").first.wait_for()
    seen = rows(page)
    assert set(seen) == {f"Group: {arm.id} 8" for arm in browsed.arms}
    first = browsed.metrics[0].key
    for place, arm in enumerate(browsed.arms):
        row = seen[f"Group: {arm.id} 8"]
        effect = (0, 1, -1)[place % 3]
        assert float(row[f"metrics.`{first}`"].split()[0]) == 30 + 3.5 + effect
        shown = row[f"metrics.`delta/{first}`"].split()[0]
        assert shown == ("-" if place == 0 else str(effect)), "the control has none"
    page.get_by_test_id("saved-views-trigger").click()
    names = page.locator("[data-testid^=saved-views-item-]").all_inner_texts()
    assert names == ["Arms", "Seeds", "Clips"], "no search and no training"
    page.get_by_text("Seeds", exact=True).click()
    page.locator(".ag-row a", has_text="control/s0").wait_for()
    assert f"noise=removed/s{browsed.cells[0].seed}" in rows(page)
    assert wrong == []
    page.close()


def test_the_views_of_clips_search_and_training_draw_their_charts(
    browser: "Browser", server: str, browsed: Plan, searched: Plan
) -> None:
    wrong: list[str] = []
    page = open_view(browser, server, browsed.study.name, views(review_of(browsed))[-1], wrong)
    page.wait_for_function(
        f"[...document.querySelectorAll('img.rc-image-img')].filter(image => image.naturalWidth > 0).length"
        f" === {len(browsed.arms)}"
    )
    page.close()
    _, _, search, training, _ = views(review_of(searched))
    first, second, *_ = (metric.key for metric in searched.metrics)
    page = open_view(browser, server, searched.study.name, search, wrong)
    page.get_by_text("Parallel Coordinates").wait_for()
    for axis in (first, "sampled.training.lr", "sampled.contrast"):
        page.locator("svg text", has_text=axis).first.wait_for()
    page.get_by_text(f"{first} vs. {second}").first.wait_for()
    page.close()
    page = open_view(browser, server, searched.study.name, training, wrong)
    for loss in ("validation_loss", "loss", "grad_norm"):
        page.get_by_text(loss, exact=True).first.wait_for()
    page.locator(".scatterlayer .trace").first.wait_for()
    listed = "\n".join(page.locator(".ag-row [col-id]").all_inner_texts())
    assert [arm.id for arm in searched.arms if f"Group: {arm.id}\n2" not in listed] == []
    assert wrong == []
    page.close()


def test_the_report_opens_among_the_artifacts_of_the_study(browser: "Browser", server: str, browsed: Plan) -> None:
    from mlflow import MlflowClient

    client = MlflowClient(server)
    experiment = client.get_experiment_by_name(browsed.study.name)
    assert experiment is not None
    (parent,) = client.search_runs([experiment.experiment_id], "tags.role = 'study'")
    wrong: list[str] = []
    page = watched(browser, server, wrong, viewport={"width": 1280, "height": 1000})
    page.set_default_timeout(180_000)
    runs = f"{server}#/experiments/{experiment.experiment_id}/runs"
    page.goto(f"{runs}/{parent.info.run_id}/artifacts/report/report.html")
    frame = page.frame_locator("iframe")
    frame.get_by_role("heading", name=browsed.study.name).wait_for()
    assert frame.locator("video").count() == 2 * 7
    page.get_by_text("differences.json").click()
    page.get_by_text("View as table").wait_for()
    page.get_by_role("columnheader", name="difference").wait_for()
    assert wrong == []
    page.close()
