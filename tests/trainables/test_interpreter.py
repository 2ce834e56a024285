"""Warnings stay warnings whatever the environment says, here and in the processes that are started."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from trainables.interpreter import ROOT, child_environment

CODE = """
import json, os, sys, warnings
from trainables.interpreter import tolerate_warnings
tolerate_warnings()
warnings.warn("old", DeprecationWarning)
warnings.warn("soon", FutureWarning)
print(json.dumps([os.environ.get("PYTHONWARNINGS"), sys.warnoptions]))
"""


@pytest.mark.parametrize(
    ("options", "variable", "left"),
    [
        ((), "error", ""),
        ((), "ignore,error::DeprecationWarning,err", "ignore"),
        (("-W", "error"), None, None),
        (("-W", "e::FutureWarning"), "default", "default"),
    ],
)
def test_warnings_are_no_errors(options: tuple[str, ...], variable: str | None, left: str | None) -> None:
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONWARNINGS"}
    environment |= {"PYTHONPATH": str(ROOT)} | ({"PYTHONWARNINGS": variable} if variable else {})
    done = subprocess.run([sys.executable, *options, "-c", CODE], env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == [left, [left] if left else []]


def test_a_child_imports_from_here_and_keeps_what_else_it_is_given(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.setenv("PYTHONSAFEPATH", "1")
    monkeypatch.setenv("PYTHONWARNINGS", "error,ignore::UserWarning")
    environment = child_environment()
    assert environment["PYTHONPATH"] == os.pathsep.join([str(ROOT), str(tmp_path)])
    assert environment["PYTHONWARNINGS"] == "ignore::UserWarning"
    assert os.environ["PYTHONWARNINGS"] == "error,ignore::UserWarning"
    code = "import trainables.data.decoder, warnings; warnings.warn('x', DeprecationWarning)"
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
