from pathlib import Path

import pytest

from trainables import provenance


def test_the_build_of_torch_is_no_part_of_the_code_and_its_release_is(monkeypatch: pytest.MonkeyPatch) -> None:
    def fresh_hash(torch: str) -> str:
        monkeypatch.setattr(provenance, "version", lambda name: torch)
        found: str = provenance.code_hash.__wrapped__("zs2")
        return found

    assert fresh_hash("2.13.0+cpu") == fresh_hash("2.13.0+cu130") == fresh_hash("2.13.0")
    assert fresh_hash("2.14.0+cu130") != fresh_hash("2.13.0+cu130")


def test_no_checkout_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    provenance.commit.cache_clear()
    monkeypatch.setattr(provenance, "ROOT", tmp_path)
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    assert provenance.commit() == "unknown"
    provenance.commit.cache_clear()
