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

TINY_TRAINING = """\
name: tiny
system: seer
base: {base}
data: {{layout: shapes, references: 16}}
metrics: [motion_magnitude]
seeds: 1
protocol: {{clips: 2, frames: 4, steps: 2, guidance: 1.0, height: 32, width: 32}}
training: {{steps: {steps}, global_batch_size: 4, lr: 1.0e-3, clips: 32}}
control:
  text_decomposer.num_layers: 1
  text_decomposer.num_heads: 2
  text_decomposer.identity_steps: 2
  temporal_attention.num_heads: 2
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
def tiny_training(tiny_base_folder: Path) -> Callable[[int], str]:
    """The head of a study that trains Seer on the tiny base for so many steps, in seconds."""
    return lambda steps: TINY_TRAINING.format(base=tiny_base_folder, steps=steps)


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
