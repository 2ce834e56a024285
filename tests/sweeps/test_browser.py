"""What a study leaves, opened in Chromium: the report's page, and its runs in MLflow's own pages."""

import os
import shutil
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from sweeps.plan import Plan, load
from sweeps.plan.forms import WHOLE
from sweeps.report import main
from sweeps.results.ledger import Ledger
from tests.factories import free_port, make_result, make_scores, save_result
from trainables.cell_files import Drawn, save_clips

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page, Route

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("browser"), pytest.mark.timeout(300)]

STUDY = """\
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


@pytest.fixture(scope="module")
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


@pytest.fixture(scope="module")
def plan(tmp_path_factory: pytest.TempPathFactory) -> Plan:
    path = tmp_path_factory.mktemp("study") / "study.yaml"
    path.write_text(STUDY)
    return load(path)


@pytest.fixture(scope="module")
def storage(plan: Plan, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A storage folder in which every cell of the study is done: a bar that moves, and made-up scores."""
    storage = tmp_path_factory.mktemp("runs")
    ledger = Ledger(storage / plan.study.name)
    clips = np.zeros((2, 8, 32, 32, 3), np.uint8)
    for frame in range(8):
        clips[:, frame, 8:24, 3 * frame : 3 * frame + 8] = (200, 80, 40)
    effects = {arm.id: (0, 1, -1)[place % 3] for place, arm in enumerate(plan.arms)}
    for cell in plan.cells:
        folder = ledger.cell_folder(cell.id)
        folder.mkdir(parents=True)
        save_clips(Drawn(clips, {}, "c0de", ("a red circle moves right",) * len(clips)), folder)
        value = 30 + cell.seed + effects[cell.arm]
        scores = make_scores(plan.metrics, value)
        save_result(make_result(cell.spec, scores=scores, finished="2026-11-21T00:00:00+00:00"), folder)
    return storage


@pytest.fixture(scope="module")
def report(plan: Plan, storage: Path, tmp_path_factory: pytest.TempPathFactory) -> str:
    """Address of the saved page."""
    folder = tmp_path_factory.mktemp("report")
    assert main({WHOLE: plan}, storage, "json", folder) == 0
    return (folder / "report.html").as_uri()


def watched(browser: "Browser", own: str, foreign: list[str], **options: Any) -> "Page":
    """A page that gets only what lies under an address of our own; what else it asks for is noted."""
    page = browser.new_page(**options)

    def answer(route: "Route") -> None:
        if route.request.url.startswith((own, "data:", "blob:")):
            route.continue_()
        else:
            foreign.append(route.request.url)
            route.abort()

    page.route("**", answer)
    page.on("pageerror", lambda error: foreign.append(f"script error: {error}"))
    return page


# ------------------------------------------------------------------------------------------------------------- report


def test_the_report_plays_its_clips_and_asks_nobody(browser: "Browser", report: str) -> None:
    wrong: list[str] = []
    page = watched(browser, report, wrong)
    page.on("console", lambda message: wrong.append(f"{message.type}: {message.text}"))
    page.goto(report)
    page.wait_for_function("[...document.querySelectorAll('video')].every(clip => clip.readyState >= 2)")
    assert page.locator("video").count() == 2 * 7
    page.get_by_role("button", name="play all").first.click()
    page.wait_for_function(
        "[...document.querySelectorAll('.scene:first-of-type video')].every(clip => clip.currentTime > 0.1)"
    )
    playing = page.evaluate("[...document.querySelectorAll('video')].filter(clip => !clip.paused).length")
    assert playing == 7, "one clip in every arm"
    page.locator("summary").click()
    assert page.get_by_role("columnheader", name="smallest p").is_visible()
    assert wrong == []
    page.close()


@pytest.mark.parametrize("width", [1280, 400])
def test_nothing_sticks_out_of_the_report(browser: "Browser", report: str, width: int) -> None:
    page = browser.new_page(viewport={"width": width, "height": 900})
    page.goto(report)
    page.evaluate("document.querySelectorAll('details').forEach(part => part.open = true)")
    assert page.evaluate("document.documentElement.scrollWidth") == width
    figure = page.locator(".figures svg").first.bounding_box()
    assert figure is not None
    assert figure["width"] > 0.85 * width if width == 400 else figure["width"] > 400
    cut = page.evaluate(
        """[...document.querySelectorAll('.figures svg')].flatMap(svg => {
            const frame = svg.getBoundingClientRect();
            return [...svg.querySelectorAll('text')].filter(text => {
                const box = text.getBoundingClientRect();
                return box.left < frame.left - 1 || box.right > frame.right + 1;
            }).map(text => text.textContent);
        })"""
    )
    assert cut == [], "labels end inside their figure"
    page.close()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_stands_out_in_both_schemes(browser: "Browser", report: str, scheme: Any) -> None:
    page = browser.new_page(color_scheme=scheme)
    page.goto(report)
    contrasts = page.evaluate(
        """() => {
            const light = colour => {
                const [r, g, b] = colour.match(/[\\d.]+/g).slice(0, 3).map(Number).map(
                    part => (part /= 255) <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4);
                return 0.2126 * r + 0.7152 * g + 0.0722 * b;
            };
            const paper = light(getComputedStyle(document.body).backgroundColor);
            const against = colour => {
                const [low, high] = [light(colour), paper].sort((a, b) => a - b);
                return (high + 0.05) / (low + 0.05);
            };
            const found = {paper: paper};
            for (const place of ['h1', '.key', '.better .change', '.worse .change', '.about'])
                found[place] = against(getComputedStyle(document.querySelector(place)).color);
            for (const text of document.querySelectorAll('.figures text'))
                found[text.textContent] = against(getComputedStyle(text).fill);
            return found;
        }"""
    )
    assert (contrasts.pop("paper") > 0.5) == (scheme == "light")
    assert len(contrasts) > 10
    assert min(contrasts.values()) >= 4.5, contrasts
    page.close()


def test_without_scripts_the_report_has_all_but_one_button(browser: "Browser", report: str) -> None:
    page = browser.new_page(java_script_enabled=False)
    page.goto(report)
    assert page.get_by_role("heading", name="browsed").is_visible()
    assert page.locator(".figures svg").first.is_visible()
    assert page.locator("video").first.is_visible()
    assert not page.locator(".play").first.is_visible()
    page.close()


# ------------------------------------------------------------------------------------------------------------- MLflow


@pytest.fixture(scope="module")
def server(plan: Plan, storage: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Address of an MLflow server on the study's runs, in a session of its own."""
    from sweeps.tracking.location import tracking_uri
    from sweeps.tracking.tracker import Tracker

    uri = tracking_uri(storage, None)
    tracker = Tracker(uri, plan.study.name, plan.study.question, storage / "mlartifacts", {})
    for cell in plan.cells:
        tracker.record(cell.id, storage / plan.study.name / "cells" / cell.id)
    tracker.finish([], failed=False)
    assert tracker.failures == []
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
    browser: "Browser", server: str, plan: Plan
) -> None:
    from mlflow import MlflowClient

    client = MlflowClient(server)
    experiment = client.get_experiment_by_name(plan.study.name)
    assert experiment is not None
    (control,) = client.search_runs([experiment.experiment_id], "tags.arm = 'control' and tags.seed = '0'")
    wrong: list[str] = []
    page = watched(browser, server, wrong, viewport={"width": 1600, "height": 1000})
    page.set_default_timeout(180_000)
    page.goto(f"{server}#/experiments/{experiment.experiment_id}/runs")
    parent = page.locator(".ag-row", has=page.get_by_role("link", name=plan.study.name, exact=True))
    parent.locator("button").click()  # opens what lies under the parent
    page.locator(".ag-row a", has_text="/s0").first.wait_for()
    listed = [name for name in page.locator(".ag-row a").all_inner_texts() if name]
    assert listed[0] == plan.study.name
    assert set(listed[1:]) <= {f"{cell.arm}/s{cell.seed}" for cell in plan.cells}
    assert len(listed) > len(plan.arms), "the list is drawn as far as it is seen"
    assert page.get_by_text(f"{1 + len(plan.cells)} matching runs").is_visible()

    page.goto(f"{server}#/experiments/{experiment.experiment_id}/runs/{control.info.run_id}/artifacts/clip_0.mp4")
    page.wait_for_function("document.querySelector('video')?.readyState >= 2")
    page.evaluate("const clip = document.querySelector('video'); clip.muted = true; clip.play()")
    page.wait_for_function("document.querySelector('video').currentTime > 0.1")
    assert wrong == []
