import shutil
from pathlib import Path

import pytest

from trainables import provenance


@pytest.fixture
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for package in ("models", "trainables"):
        shutil.copytree(provenance.ROOT / package, tmp_path / package, ignore=shutil.ignore_patterns("bases"))
    monkeypatch.setattr(provenance, "ROOT", tmp_path)
    return tmp_path


def fresh_hash() -> str:
    provenance.code_hash.cache_clear()
    found = provenance.code_hash()
    provenance.code_hash.cache_clear()
    return found


@pytest.mark.parametrize("changed", ["models/system.py", "trainables/evaluate.py"])
def test_code_that_decides_results_is_hashed(checkout: Path, changed: str) -> None:
    before = fresh_hash()
    assert before == fresh_hash()
    (checkout / changed).write_text("x = 1\n")
    assert fresh_hash() != before


def test_tracking_and_the_build_of_torch_are_not(checkout: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(provenance, "version", lambda name: "2.13.0+cpu")
    before = fresh_hash()
    for name in provenance.REPORTING:
        (checkout / "trainables" / name).write_text("x = 1\n")
    monkeypatch.setattr(provenance, "version", lambda name: "2.13.0+cu130")
    assert fresh_hash() == before
    monkeypatch.setattr(provenance, "version", lambda name: "2.14.0+cu130")
    assert fresh_hash() != before


def test_no_checkout_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    provenance.commit.cache_clear()
    monkeypatch.setattr(provenance, "ROOT", tmp_path)
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    assert provenance.commit() == "unknown"
    provenance.commit.cache_clear()
