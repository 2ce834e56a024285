import json
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path
from types import SimpleNamespace

import pytest

from sweeps.tracking import environment
from trainables import provenance


def git(checkout: Path, *arguments: str) -> str:
    who = ["-c", "user.name=a", "-c", "user.email=a@b"]
    return subprocess.run(
        ["git", *who, *arguments], cwd=checkout, check=True, capture_output=True, text=True, timeout=30
    ).stdout


@pytest.fixture
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "checkout"
    folder.mkdir()
    git(folder, "init", "--quiet")
    (folder / "old.py").write_text("one = 1\n")
    (folder / ".gitignore").write_text("ignored.py\n")
    git(folder, "add", ".")
    git(folder, "commit", "--quiet", "-m", "first")
    monkeypatch.setattr(provenance, "ROOT", folder)
    return folder


def test_the_record_says_what_the_study_ran_in() -> None:
    record = environment.environment_record()
    assert record["packages"]["torch"] == version("torch")
    assert record["python"].count(".") == 2
    assert record["commit"] == provenance.commit()
    assert record["hardware"]["threads"] >= 1
    assert record["hardware"]["memory_gib"] > 0
    assert json.loads(environment.environment_files()["environment.json"]) == record


def test_a_clean_checkout_has_no_diff(checkout: Path) -> None:
    assert environment.uncommitted_diff() == b""
    assert set(environment.environment_files()) == {"environment.json"}


def test_the_diff_rebuilds_what_ran_and_leaves_the_checkout_alone(checkout: Path, tmp_path: Path) -> None:
    (checkout / "old.py").write_text("one = 2\n")
    (checkout / "new.py").write_text("two = 2\n")
    (checkout / "ignored.py").write_text("three = 3\n")
    (checkout / "token.env").write_text("SECRET=4\n")
    before = git(checkout, "status", "--porcelain")
    diff = environment.uncommitted_diff()
    assert git(checkout, "status", "--porcelain") == before
    assert b"SECRET" not in diff
    assert b"three" not in diff

    git(checkout, "stash", "--quiet", "--include-untracked")
    patch = tmp_path / "uncommitted.diff"
    patch.write_bytes(diff)
    git(checkout, "apply", str(patch))
    assert (checkout / "old.py").read_text() == "one = 2\n"
    assert (checkout / "new.py").read_text() == "two = 2\n"


def test_a_long_diff_is_cut_and_says_so(checkout: Path) -> None:
    (checkout / "old.py").write_text("".join(f"line_{number} = 0\n" for number in range(100_000)))
    diff = environment.uncommitted_diff(limit=10_000)
    assert len(diff) < 10_100
    assert diff.endswith(b"\n[cut after 10,000 bytes]\n")


def test_no_checkout_has_no_diff(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(provenance, "ROOT", tmp_path)
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    assert environment.uncommitted_diff() == b""


def test_no_git_has_no_diff(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    assert environment.uncommitted_diff() == b""


def test_gpus_from_the_driver_s_tool(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tool = tmp_path / "nvidia-smi"
    tool.write_text("#!/bin/sh\necho 'NVIDIA A, 81559 MiB, 580.65'\necho 'NVIDIA B, 81559 MiB, 580.65'\n")
    tool.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert environment.hardware()["gpus"] == ["NVIDIA A, 81559 MiB, 580.65", "NVIDIA B, 81559 MiB, 580.65"]


@pytest.mark.parametrize(
    ("loaded", "expected"),
    [
        (None, []),
        (
            SimpleNamespace(cuda=SimpleNamespace(device_count=lambda: 1, get_device_name=lambda index: "GPU 0")),
            ["GPU 0"],
        ),
        (SimpleNamespace(cuda=SimpleNamespace(device_count=lambda: 1 / 0)), None),
    ],
)
def test_gpus_from_torch_only_where_it_is_loaded(
    loaded: object, expected: list[str] | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", "")
    monkeypatch.setitem(sys.modules, "torch", loaded)
    assert environment.hardware().get("gpus", []) == (expected or [])
