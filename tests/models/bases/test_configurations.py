"""Bases of other kinds than a family's, recognised by their configuration files; tokenizers without words."""

import shutil
from pathlib import Path

import pytest

from models.bases import embedded_bases, find_base, misfits
from models.bases.families import FAMILIES
from models.bases.vocabulary import missing_vocabulary, vocabulary_problem
from tests.factories import fresh
from tests.inputs.base_folders import UNET, change


def configurations(folder: Path, to: Path) -> Path:
    """A copy of a base with empty weights, since only configuration files are read."""
    weights = shutil.ignore_patterns("*.safetensors")
    shutil.copytree(folder, to, ignore=weights)
    for file in folder.glob("*/*.safetensors"):
        (to / file.relative_to(folder)).touch()
    return to


@pytest.fixture
def copied(tiny_base_folder: Path, tmp_path: Path) -> Path:
    return configurations(tiny_base_folder, tmp_path / "base")


def test_bases_of_the_family_fit(copied: Path, video_folder: Path) -> None:
    for name in (*embedded_bases(), str(copied), str(video_folder)):
        assert misfits(find_base(name)) == []
    assert misfits(find_base("org/name")) == []


@pytest.mark.usefixtures("hub_cache")
def test_a_hub_base_is_checked_in_the_cache(hub_cache: Path) -> None:
    assert misfits(find_base("org/tiny")) == []
    (unet,) = hub_cache.rglob(UNET)
    change(unet, {"in_channels": 9})
    assert "inpainting" in str(misfits(find_base("org/tiny"))[0])


def test_the_checks_import_no_torch(copied: Path) -> None:
    code = "import sys; from models.bases import find_base, misfits; print(len(misfits(find_base(sys.argv[1]))))"
    change(copied / UNET, {"in_channels": 9})
    checked = fresh(code, copied)
    assert checked.stdout.strip() == "1"
    assert not checked.packages & {"torch", "diffusers", "transformers"}


def test_every_family_has_checks() -> None:
    assert all(callable(family.misfits) for family in FAMILIES.values())


# ----------------------------------------------------------------------------------------------------------- tokenizers


def test_vocabularies_with_words_are_found(copied: Path, tmp_path: Path) -> None:
    assert vocabulary_problem(copied / "tokenizer") is None
    (tmp_path / "vocab.txt").write_text("a\nb\n")  # another format: not read, but there
    assert missing_vocabulary(tmp_path) == []
    assert vocabulary_problem(tmp_path) is None
