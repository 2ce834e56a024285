import shutil
from pathlib import Path

import pytest

from models.aid import AID
from models.bases import FOLDER
from tests.factories import make_spec
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


def test_weights_of_a_cell_are_those_of_all_that_it_reads(tmp_path: Path) -> None:
    def weights(changes: dict[str, object], **fields: object) -> str:
        tree = AID().edit(changes).model_dump(mode="json")
        return provenance.weights_of(make_spec(system="aid", base="shapes_video", tree=tree, **fields))

    own = weights({})
    copied = shutil.copytree(FOLDER / "shapes_llava", tmp_path / "llava")
    assert weights({"llava": str(copied)}) == own, "by its content, not its name"
    (file,) = copied.glob("*.safetensors")
    file.write_bytes(file.read_bytes() + b" ")
    assert len({own, weights({"llava": str(copied)}), weights({"states": "repeat"})}) == 3
    assert weights({}, text_encoder=str(FOLDER / "shapes" / "clip")) != own
    assert weights({"llava": "org/model"}) == "", "not on this machine"
