"""Rebuilding the base: a failed training replaces nothing."""

from pathlib import Path

import pytest

from trainables import pretrain as module
from trainables.pretrain import pretrain


@pytest.mark.slow
def test_a_failed_training_replaces_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out = tmp_path / "base"
    out.mkdir()
    (out / "card.json").write_text("{}", encoding="utf-8")

    def fail(*_args: object, **_options: object) -> None:
        raise RuntimeError("no figures today")

    monkeypatch.setattr(module, "measure", fail)
    with pytest.raises(RuntimeError, match="no figures today"):
        pretrain(out, fraction=0.0001, data=tmp_path / "data")
    assert (out / "card.json").read_text(encoding="utf-8") == "{}"
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["base", "data"]


@pytest.mark.parametrize("fraction", [0.0, -1.0, 1.5])
def test_a_fraction_out_of_range_is_refused(tmp_path: Path, fraction: float) -> None:
    with pytest.raises(ValueError, match="above 0, up to 1"):
        pretrain(tmp_path / "base", fraction=fraction)
