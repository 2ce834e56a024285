"""A full disk ends every command with one sentence and exit code 1, and nothing that was there before is lost.

Writes fail for real: by a limit on the size of files, and by ``/dev/full``. Runs are in ``run/test_disk_full.py``.
"""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from models.bases import find_base
from models.seer import Seer
from sweeps.__main__ import app
from tests.factories import ROOT, TINY_STUDY, full_disk, make_spec, save_result, sweeps_here
from tests.factories import make_result as result_of
from trainables.cell_files import save_weights

TINY = TINY_STUDY + "seeds: 2\nablations:\n  - {{part: noise, action: REMOVE}}\n"
PLAN = """
# Ablation plan

- Noise: REMOVE the noise, two seeds.
"""


@pytest.fixture
def study(write: Callable[[str], Path], tiny_base_folder: Path) -> Path:
    return write(TINY.format(base=tiny_base_folder))


@pytest.fixture
def trained(tiny_base_folder: Path, tmp_path: Path) -> Path:
    """A storage with one cell of Seer, whose weights are those before its first step."""
    from models.backbones import load_base

    spec = make_spec(
        system="seer",
        tree=Seer().model_dump(mode="json"),
        base=str(tiny_base_folder),
        protocol={"frames": 3, "height": 32, "width": 32},
    )
    base = load_base(find_base(spec.base), device="cpu", precision="fp32")
    model = Seer().build(base, spec.seed)
    folder = tmp_path / "runs" / "s" / "cells" / spec.cell_id
    save_result(result_of(spec), folder)
    save_weights(folder, {name: model.network.state_dict()[name] for name in model.learnt})
    return tmp_path / "runs"


def sizes(folder: Path) -> dict[str, int]:
    return {str(path.relative_to(folder)): path.stat().st_size for path in folder.rglob("*") if path.is_file()}


def ends(free: int, *arguments: object) -> str:
    """The sentence with which a command ends whose files may have so many bytes."""
    with full_disk(free):
        ended = sweeps_here(*arguments)
    assert ended.exit_code == 1
    (line,) = ended.stderr.splitlines()
    assert line.startswith(f"{arguments[0]}: cannot be written (File too large: ")
    assert line.endswith(") -> free space, and run it again")
    return line


def test_an_export_leaves_nothing(trained: Path, tmp_path: Path) -> None:
    (cell,) = trained.glob("*/cells/*")
    before, output = sizes(trained), tmp_path / "models" / "model"
    for free in (0, 100_000):
        ends(free, "export", cell.name, "-o", output, "--storage", trained)
        assert list(output.parent.iterdir()) == []
        assert sizes(trained) == before
    output.mkdir()
    exported = sweeps_here("export", cell.name, "-o", output, "--storage", trained)
    assert exported.exit_code == 0, exported.stderr
    assert (output / "seer" / "diffusion_pytorch_model.safetensors").stat().st_size > 100_000
    assert [path.name for path in output.parent.iterdir()] == ["model"]


def test_a_new_study_is_whole_or_absent(tmp_path: Path) -> None:
    file = tmp_path / "studies" / "new.yaml"
    assert str(file) in ends(100, "new", "zs2", "-o", file)
    assert list(file.parent.iterdir()) == []
    assert sweeps_here("new", "zs2", "-o", file).exit_code == 0
    before = file.read_text()
    again = sweeps_here("new", "zs2", "-o", file)
    assert again.exit_code == 2
    assert "already exists" in again.stderr
    assert file.read_text() == before


def test_an_import_keeps_the_studies_that_it_has_written(tmp_path: Path) -> None:
    plans = ROOT / "tests" / "data" / "plans"
    whole = sweeps_here("import", plans, "-o", tmp_path / "whole")
    assert whole.exit_code == 0, whole.stderr
    studies = sizes(tmp_path / "whole")
    free = sorted(studies.values())[len(studies) // 2]
    ends(free, "import", plans, "-o", tmp_path / "part")
    part = sizes(tmp_path / "part")
    assert part.items() < studies.items()
    assert sweeps_here("import", plans, "-o", tmp_path / "part").exit_code == 0
    assert sizes(tmp_path / "part") == studies


@pytest.mark.slow
def test_a_proof_that_cannot_be_saved(study: Path, tmp_path: Path) -> None:
    assert "proof.json" in ends(100, "plan", study, "--proof", "--storage", tmp_path / "runs")
    assert sizes(tmp_path / "runs") == {}


@pytest.mark.parametrize(
    "arguments",
    [
        ("plan", "STUDY", "--json"),
        ("plan", "STUDY"),
        ("check", "STUDY"),
        ("status", "STUDY", "--json"),
        ("parts", "zs2"),
        ("new", "zs2"),
        ("schema",),
    ],
    ids=" ".join,
)
def test_an_output_that_cannot_be_written(
    arguments: tuple[str, ...], study: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with open("/dev/full", "w", encoding="utf-8") as full, monkeypatch.context() as patched:
        patched.setattr(sys, "stdout", full)
        with pytest.raises(SystemExit) as ended:
            app([str(study) if part == "STUDY" else part for part in arguments])
    assert ended.value.code == 1
    expected = "its output cannot be written (No space left on device) -> free space, and run it again\n"
    assert capsys.readouterr().err == f"{arguments[0]}: {expected}"


def test_the_interpreter_adds_nothing() -> None:
    command = f"{sys.executable} -m sweeps schema > /dev/full"
    ended = subprocess.run(command, shell=True, cwd=ROOT, env=os.environ, capture_output=True, text=True, timeout=60)
    expected = "schema: its output cannot be written (No space left on device) -> free space, and run it again\n"
    assert (ended.returncode, ended.stderr) == (1, expected)
