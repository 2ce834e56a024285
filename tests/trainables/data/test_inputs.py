"""Texts, annotations and clips as users have them: every row of the tables that ``docs/inputs.md`` shows."""

from pathlib import Path

from tests.inputs import layouts, texts
from tests.inputs.cases import Case, check
from tests.inputs.clips import CLIPS, read_clip
from tests.inputs.further import CAPTIONS, FURTHER


@texts.PROMPTS.parameters
def test_files_of_prompts(case: Case, tmp_path: Path) -> None:
    case.write(tmp_path)
    check(case, tmp_path, lambda: texts.read_prompts(tmp_path))


@texts.CSV.parameters
def test_csv(case: Case, tmp_path: Path) -> None:
    case.write(tmp_path)
    check(case, tmp_path, lambda: texts.read_rows(tmp_path))


@texts.JSON_LINES.parameters
def test_json_lines(case: Case, tmp_path: Path) -> None:
    case.write(tmp_path)
    check(case, tmp_path, lambda: texts.read_rows(tmp_path))


@layouts.SSV2.parameters
def test_ssv2(case: Case, tmp_path: Path) -> None:
    case.write(tmp_path)
    check(case, tmp_path, lambda: layouts.read_layout("ssv2", tmp_path))


@layouts.BRIDGE.parameters
def test_bridge(case: Case, tmp_path: Path) -> None:
    case.write(tmp_path)
    check(case, tmp_path, lambda: layouts.read_layout("bridge", tmp_path))


@layouts.EPIC.parameters
def test_epic(case: Case, tmp_path: Path) -> None:
    case.write(tmp_path)
    check(case, tmp_path, lambda: layouts.read_layout("epic", tmp_path))


@layouts.UCF101.parameters
def test_ucf101(case: Case, tmp_path: Path) -> None:
    case.write(tmp_path)
    check(case, tmp_path, lambda: layouts.read_layout("ucf101", tmp_path))


@CAPTIONS.parameters
def test_captions(case: Case, tmp_path: Path) -> None:
    case.write(tmp_path)
    check(case, tmp_path, lambda: layouts.read_layout("captions", tmp_path))


@FURTHER.parameters
def test_further_texts(case: Case, tmp_path: Path) -> None:
    case.write(tmp_path)
    check(case, tmp_path, lambda: layouts.read_with_texts("ucf101", tmp_path))


@CLIPS.parameters
def test_clips(case: Case, tmp_path: Path) -> None:
    case.write(tmp_path)
    check(case, tmp_path, lambda: read_clip(tmp_path))
