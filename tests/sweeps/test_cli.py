"""The command line: what it prints where, its JSON, its exit codes, and what it does not import."""

import json
import shlex
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import jsonschema
import pytest
from typer.testing import CliRunner

from sweeps.__main__ import app
from sweeps.plan import load
from sweeps.results.driver import DRIVER
from sweeps.run.lock import StudyLock
from tests.factories import ROOT, fresh, sweeps

Write = Callable[[str | bytes], Path]

STUDY = """\
name: sound
question: What is the noise model worth?
system: zs2
base: shapes
metrics: [temporal_consistency]
seeds: 2
ablations:
  - {part: noise, action: REMOVE}
  - {part: attention.mu, action: VALUES, values: [0.6, 0.98]}
profiles: {one: {seeds: 1}}
"""
HEAVY = (
    "torch",
    "ray",
    "mlflow",
    "diffusers",
    "transformers",
    "deepspeed",
    "optuna",
    "scipy",
    "pandas",
    "cv2",
    "decord",
)

SEARCHED = "search: {space: {noise.threshold: {uniform: [0, 1]}}, trials_per_arm: 3}\n"
"""Of the arms that have a noise threshold."""

runner = CliRunner()


@pytest.fixture
def study(write: Write) -> Path:
    return write(STUDY)


@pytest.mark.parametrize(
    "arguments",
    [
        "--help", "check STUDY", "plan STUDY", "plan STUDY --json", "status STUDY",
        "diff STUDY STUDY", "new zs2", "schema",
    ],
)  # fmt: skip
def test_answers_at_once_without_heavy_imports(arguments: str, study: Path, tmp_path: Path) -> None:
    given = [str(study) if word == "STUDY" else word for word in arguments.split()]
    code = """
from sweeps.__main__ import app
from sweeps.results.driver import DRIVER
from sweeps.run.lock import StudyLock
app(sys.argv[1:])
"""
    done = fresh(code, *given, cwd=tmp_path)
    assert not set(HEAVY) & done.packages
    assert done.stdout


def test_help_names_every_command() -> None:
    text = runner.invoke(app, ["--help"]).output
    commands = ("check", "plan", "run", "status", "report", "diff", "parts", "new", "schema")
    assert all(command in text for command in commands)


def test_check_says_what_would_run(study: Path) -> None:
    result = runner.invoke(app, ["check", str(study)])
    assert result.exit_code == 0
    lines = result.stdout.splitlines()
    assert lines[0] == "sound: What is the noise model worth?"
    assert lines[1] == "  3 arms x 2 seeds = 6 cells"
    assert lines[2] == "  arms: control, noise=removed, attention.mu=0.6"
    assert "surrogate" in lines[3], "a stand-in is said in words"
    assert any(line.startswith("  note: attention.mu=0.98 is identical to control") for line in lines)


def test_a_profile_is_chosen_by_option(study: Path) -> None:
    assert "3 arms x 1 seeds" in runner.invoke(app, ["check", str(study), "--profile", "one"]).stdout
    refused = runner.invoke(app, ["check", str(study), "--profile", "two"])
    assert refused.exit_code == 2
    assert "--profile two -> one" in refused.stderr


def test_plan_as_json(study: Path, tmp_path: Path) -> None:
    result = runner.invoke(app, ["plan", str(study), "--storage", str(tmp_path / "runs"), "--json"])
    assert result.exit_code == 0
    found = json.loads(result.stdout)
    assert list(found) == ["study", "arms", "cells"]
    assert found["study"] == "sound"
    assert found["arms"] == [
        {"id": "control", "role": "control", "changes": {}},
        {"id": "noise=removed", "role": "arm", "changes": {"noise": "removed"}},
        {"id": "attention.mu=0.6", "role": "arm", "changes": {"attention.mu": 0.6}},
    ]
    cells = load(study).cells
    assert found["cells"] == [{"id": cell.id, "arm": cell.arm, "seed": cell.seed, "state": "pending"} for cell in cells]
    assert not (tmp_path / "runs").exists(), "a plan leaves nothing behind"


def test_what_a_search_will_propose_has_no_id_yet(write: Write, tmp_path: Path) -> None:
    study = write(STUDY.replace("  - {part: noise, action: REMOVE}\n", "") + SEARCHED)
    found = json.loads(runner.invoke(app, ["plan", str(study), "--storage", str(tmp_path), "--json"]).stdout)
    proposed = [cell for cell in found["cells"] if cell["state"] == "proposed"]
    assert proposed == [
        {"id": None, "arm": arm, "state": "proposed"} for arm in ("control", "attention.mu=0.6") for _ in range(3)
    ]
    assert found["proposed"] == 6
    assert len(found["cells"]) == 4 + 6


def test_status_of_a_study_that_nobody_runs(study: Path, tmp_path: Path) -> None:
    command = ["status", str(study), "--storage", str(tmp_path / "runs")]
    found = json.loads(runner.invoke(app, [*command, "--json"]).stdout)
    assert found["counts"] == {"pending": 6}
    assert found["arms"]["control"] == {"pending": 2}
    assert found["driver"] is None
    text = runner.invoke(app, command).stdout
    assert text.splitlines()[-1] == "not running"
    assert not (tmp_path / "runs").exists(), "status leaves nothing behind"


@pytest.mark.parametrize("command", ["plan", "status", "report", "run"])
def test_a_storage_that_is_a_file_is_refused(command: str, study: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    refused = runner.invoke(app, [command, str(study), "--storage", str(tmp_path / "file")])
    assert refused.exit_code == 2
    assert refused.stderr == f"{tmp_path / 'file'}: storage is a file -> a folder, with --storage DIR\n"


def test_status_tells_a_killed_driver_from_a_living_one(study: Path, tmp_path: Path) -> None:
    folder = tmp_path / "sound"
    command = ["status", str(study), "--storage", str(tmp_path)]
    cell = load(study).cells[0]
    with StudyLock(folder) as lock:
        running = {"cell_id": cell.id, "arm": cell.arm, "seed": cell.seed, "since": "now"}
        lock.update(force=True, running=(running,), ended=1, total=6, left_s=90.0)
        left_behind = (folder / DRIVER).read_text()
        assert json.loads(runner.invoke(app, [*command, "--json"]).stdout)["counts"] == {"running": 1, "pending": 5}
        assert "1 of 6 cells ended, 1 running, about 1 min 30 s left" in runner.invoke(app, command).stdout
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    (folder / DRIVER).write_text(json.dumps(json.loads(left_behind) | {"pid": gone.pid}))
    assert "was killed" in (stopped := runner.invoke(app, command).stdout)
    assert "not running" in stopped
    assert "Resumable: run the same command" in stopped
    assert json.loads(runner.invoke(app, [*command, "--json"]).stdout)["counts"] == {"pending": 6}


def test_status_counts_a_searchs_trial_that_runs(write: Write, tmp_path: Path) -> None:
    study = write(STUDY.replace("  - {part: noise, action: REMOVE}\n", "") + SEARCHED)
    plan = load(study)
    assert plan.search is not None
    trial = plan.search.trial("control", 0, {"noise.threshold": 0.1})
    with StudyLock(tmp_path / "sound") as lock:
        running = {"cell_id": trial.id, "arm": trial.arm, "seed": trial.seed, "since": "now"}
        lock.update(force=True, running=(running,))
        found = json.loads(runner.invoke(app, ["status", str(study), "--storage", str(tmp_path), "--json"]).stdout)
    assert found["counts"]["running"] == 1
    assert found["arms"]["control"] == {"pending": 2, "running": 1, "proposed": 2}
    assert found["counts"]["proposed"] == 3 * len(plan.search.arms) - 1


def test_diff_of_two_studies(study: Path, tmp_path: Path) -> None:
    other = tmp_path / "other.yaml"
    other.write_text(STUDY.replace("seeds: 2", "seeds: 3").replace("0.6", "0.7"))
    same = runner.invoke(app, ["diff", str(study), str(study)])
    assert same.exit_code == 0
    found = json.loads(runner.invoke(app, ["diff", str(study), str(other), "--json"]).stdout)
    assert found["arms"]["only_a"] == ["attention.mu=0.6"]
    assert found["arms"]["only_b"] == ["attention.mu=0.7"]
    assert str(other) in runner.invoke(app, ["diff", str(study), str(other)]).stdout


def test_new_writes_a_study_that_is_sound_and_overwrites_none(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    written = runner.invoke(app, ["new", "zs2", "--name", "mine", "-o", str(path)])
    assert written.exit_code == 0, written.stderr
    assert runner.invoke(app, ["check", str(path)]).exit_code == 0
    text = path.read_text()
    again = runner.invoke(app, ["new", "zs2", "-o", str(path)])
    assert again.exit_code == 2
    assert "already exists" in again.stderr
    assert path.read_text() == text
    refused = runner.invoke(app, ["new", "zs3"])
    assert refused.exit_code == 2
    assert "did you mean zs2?" in refused.stderr


def test_new_to_a_dash_is_new_to_standard_output(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    plain, dash = runner.invoke(app, ["new", "zs2"]), runner.invoke(app, ["new", "zs2", "-o", "-"])
    assert (dash.exit_code, dash.stdout) == (0, plain.stdout)
    assert list(tmp_path.iterdir()) == []


def test_the_next_command_can_be_pasted(tmp_path: Path) -> None:
    path = tmp_path / "my studies" / "$1.yaml"
    written = runner.invoke(app, ["new", "zs2", "-o", str(path)])
    assert written.stdout.startswith(f"{path}: ")
    assert shlex.split(written.stdout.removeprefix(f"{path}: ")) == ["python", "-m", "sweeps", "check", str(path)]


def test_settings_of_the_interpreter_break_no_command(study: Path) -> None:
    settings = {"PYTHONWARNINGS": "error", "PYTHONSAFEPATH": "1", "PYTHONPATH": str(ROOT), "PYTHONIOENCODING": "ascii"}
    done = sweeps("plan", study, "--storage", study.parent, **settings)
    assert (done.returncode, done.stderr) == (0, "")


def test_an_arm_that_is_not_there_is_refused(study: Path, tmp_path: Path) -> None:
    result = runner.invoke(app, ["run", str(study), "--storage", str(tmp_path), "--only", "noise=remove"])
    assert result.exit_code == 2
    assert "did you mean noise=removed?" in result.stderr


def test_plan_as_a_table_has_no_styles_off_a_terminal(study: Path, tmp_path: Path) -> None:
    result = runner.invoke(app, ["plan", str(study), "--storage", str(tmp_path)])
    assert result.exit_code == 0
    assert "\x1b" not in result.stdout
    assert "attention.mu=0.6" in result.stdout
    assert "2 pending" in result.stdout


def test_parts_as_json(tiny_base_folder: Path) -> None:
    result = runner.invoke(app, ["parts", "zs2", "--base", str(tiny_base_folder), "--json"])
    assert result.exit_code == 0
    found = json.loads(result.stdout)
    assert list(found) == ["system", "base", "family", "fits", "lacks", "parameters", "slots", "values"]
    assert (found["system"], found["fits"]) == ("zs2", True)
    assert found["parameters"]["unet"] > 0
    assert (found["parameters"]["noise"], found["parameters"]["attention"]) == (0, 0)
    assert list(found["slots"]) == ["noise", "attention"]
    attention = found["slots"]["attention"]
    assert attention["default"] == "momentum"
    assert list(attention["kinds"]) == ["momentum", "previous_frame", "cross_frame", "removed"]
    assert attention["kinds"]["removed"] == {
        "meaning": "Removed: every frame attends to itself, as in the base model.",
        "parameters": 0,
    }
    assert found["values"]["attention.mu"]["default"] == 0.98
    assert found["values"]["noise.a"]["allowed"] == "a number, at least 0"


def test_parts_as_tables(tiny_base_folder: Path) -> None:
    result = runner.invoke(app, ["parts", "zs2", "--base", str(tiny_base_folder)])
    assert result.exit_code == 0
    assert "two_stage (default)" in result.stdout
    assert "unet" in result.stdout


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["chekc"], "check"),
        (["check"], "STUDY"),
        (["check", "STUDY", "--strict"], "--strict"),
        (["parts", "zs3"], "system: zs3 -> zs2, seer, exvideo, aid (did you mean zs2?)"),
        (["parts", "zs2", "--base", "./nowhere"], "no such folder"),
        (["report", "STUDY", "--format", "word"], "word"),
        (["check", "nothing.yaml"], "nothing.yaml:1: cannot be read"),
    ],
)
def test_what_is_not_there_is_refused_with_code_2(arguments: list[str], message: str, study: Path) -> None:
    result = runner.invoke(app, [str(study) if word == "STUDY" else word for word in arguments])
    assert result.exit_code == 2
    assert result.stdout == ""
    assert message in result.stderr
    assert "Traceback" not in result.stderr


def test_a_refused_study_leaves_json_output_empty(write: Write) -> None:
    result = runner.invoke(app, ["plan", str(write(STUDY.replace("zs2", "zs3"))), "--json"])
    assert (result.exit_code, result.stdout) == (2, "")


def test_the_schema_is_a_schema() -> None:
    result = runner.invoke(app, ["schema"])
    assert result.exit_code == 0
    jsonschema.Draft202012Validator.check_schema(json.loads(result.stdout))


def test_parts_of_a_base_that_does_not_fit_counts_its_networks(capsys: pytest.CaptureFixture[str]) -> None:
    result = runner.invoke(app, ["parts", "zs2", "--base", "stable-video-diffusion-img2vid-xt", "--json"])
    assert result.exit_code == 0
    assert "another family" in result.stderr
    found = json.loads(result.stdout)
    assert not found["fits"]
    assert found["parameters"]["unet"] == 1_524_623_082
    assert found["parameters"]["noise"] is None


BLOCKED = STUDY + "blocks: {short: {protocol: {frames: 4}}, long: {protocol: {frames: 8}}}\n"


def test_blocks_are_shown_one_after_another(write: Write, tmp_path: Path) -> None:
    path = str(write(BLOCKED))
    for command in (["check"], ["plan", "--storage", str(tmp_path)], ["status", "--storage", str(tmp_path)]):
        shown = runner.invoke(app, [*command, path])
        assert shown.exit_code == 0, shown.stderr
        assert shown.stdout.index("sound.short") < shown.stdout.index("sound.long")
        one = runner.invoke(app, [*command, path, "--block", "long"])
        assert "sound.long" in one.stdout
        assert "sound.short" not in one.stdout


@pytest.mark.parametrize(
    "command", [["plan", "--json"], ["status", "--json"], ["report", "--format", "latex"], ["diff", "STUDY"]]
)
def test_an_output_of_one_plan_asks_for_the_block(command: list[str], write: Write) -> None:
    path = str(write(BLOCKED))
    command = [path if word == "STUDY" else word for word in command]
    refused = runner.invoke(app, [*command, path])
    assert refused.exit_code == 2
    assert refused.stderr == f"{path} has 2 blocks, and this output is of one -> --block short, long\n"


def test_two_blocks_are_compared(write: Write) -> None:
    path = str(write(BLOCKED))
    same = runner.invoke(app, ["diff", path, path, "--block", "long"])
    assert "do not differ" in same.stdout


def test_an_unknown_block_is_refused(write: Write) -> None:
    refused = runner.invoke(app, ["check", str(write(BLOCKED)), "--block", "lon"])
    assert (refused.exit_code, refused.stderr) == (2, "--block lon -> short, long (did you mean long?)\n")
    path = write(STUDY)
    refused = runner.invoke(app, ["check", str(path), "--block", "a"])
    assert (refused.exit_code, refused.stderr) == (2, f"--block a -> {path} has no blocks\n")
