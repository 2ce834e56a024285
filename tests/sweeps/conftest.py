"""Study files for tests: a sound one, and ways to spoil it."""

from collections.abc import Callable
from pathlib import Path

import pytest

from sweeps.spec import SpecError, load

SOUND = """\
name: sound
system: zs2
base: shapes
metrics: [clip_score]
seeds: 2
ablations:
  - {part: noise, action: REMOVE}
"""

Write = Callable[[str | bytes], Path]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Puts a text into a study file and gives its path."""

    def put(text: str | bytes) -> Path:
        path = tmp_path / "study.yaml"
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return path

    return put


@pytest.fixture
def problems(write: Write) -> Callable[[str | bytes], list[tuple[int, str, str]]]:
    """Everything that is wrong with a study text, as (line, dotted path, message); empty for a sound one."""

    def found(text: str | bytes) -> list[tuple[int, str, str]]:
        try:
            load(write(text))
        except SpecError as error:
            return [(problem.line, problem.path, problem.message) for problem in error.problems]
        return []

    return found
