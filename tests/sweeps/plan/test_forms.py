"""Profiles and blocks: maps of keys that are laid over a study, from the file itself or from another one."""

from collections.abc import Callable
from pathlib import Path

import pytest

from sweeps.plan import load, load_blocks
from sweeps.plan.forms import WHOLE
from sweeps.study.document import SpecError

Write = Callable[[str | bytes], Path]

STUDY = """\
name: lengths
system: zs2
base: shapes
metrics: [temporal_flickering]
seeds: 2
protocol: {clips: 2, frames: 8}
ablations:
  - {part: noise, action: REMOVE}
blocks:
  short: {protocol: {frames: 4}}
  long:
    protocol: {frames: 16}
    ablations: [{part: attention, action: REMOVE}]
profiles:
  small: {seeds: 1}
  other: {blocks: {short: {protocol: {frames: 3}}, longest: {protocol: {frames: 24}}}}
"""
PLAIN = STUDY[: STUDY.index("blocks:")]
SHARED = "protocol: {clips: 4, steps: 5}\ncontrol: {attention.mu: 0.5}\n"


def test_each_block_is_a_plan_of_its_own_with_its_control(write: Write) -> None:
    plans = load_blocks(write(STUDY))
    assert list(plans) == ["short", "long"]
    assert [plan.study.name for plan in plans.values()] == ["lengths.short", "lengths.long"]
    assert [plan.cells[0].spec.protocol.frames for plan in plans.values()] == [4, 16]
    assert [[arm.id for arm in plan.arms] for plan in plans.values()] == [
        ["control", "noise=removed"],
        ["control", "attention=removed"],
    ]
    cells = [{cell.id for cell in plan.cells} for plan in plans.values()]
    assert not cells[0] & cells[1]


def test_a_block_is_the_study_with_its_keys_replaced(write: Write) -> None:
    block = load_blocks(write(STUDY))["short"]
    alone = load(write(PLAIN.replace("frames: 8", "frames: 4")))
    assert [cell.id for cell in block.cells] == [cell.id for cell in alone.cells]


def test_a_study_without_blocks_has_one_plan(write: Write) -> None:
    path = write(PLAIN)
    assert list(load_blocks(path)) == [WHOLE]
    assert load_blocks(path)[WHOLE].study.name == "lengths"


def test_profiles_change_blocks(write: Write) -> None:
    path = write(STUDY)
    assert [len(plan.study.all_seeds) for plan in load_blocks(path, "small").values()] == [1, 1]
    others = load_blocks(path, "other")
    assert [(block, plan.cells[0].spec.protocol.frames) for block, plan in others.items()] == [
        ("short", 3),
        ("long", 16),
        ("longest", 24),
    ]


@pytest.mark.parametrize(
    ("written", "line", "path", "message"),
    [
        ("blocks: [a]", 9, "blocks", "[a] -> a map of blocks"),
        ("blocks: {}", 9, "blocks", "no blocks -> at least one, or remove the key"),
        ("blocks: {a: big}", 9, "blocks.a", "big -> a map of keys of the study"),
        ("blocks:\n  A B: {seeds: 1}", 10, "blocks.A B", "A B -> a short name: a-z 0-9 . _ -"),
        ("blocks:\n  a: {name: b}", 10, "blocks.a.name", "a block cannot change name"),
        ("blocks:\n  a: {profiles: {}}", 10, "blocks.a.profiles", "a block cannot change profiles"),
        ("blocks:\n  a: {blocks: {}}", 10, "blocks.a.blocks", "a block cannot change blocks"),
        ("blocks:\n  a: {seeds: 0}", 10, "blocks.a.seeds", "0 -> a number of seeds"),
        ("blocks:\n  a: {seeds: 3}\n  b: {seeds: 3}", 11, "blocks.b", "equal to the block a -> keys that differ"),
        ("profiles:\n  p: {from: 3}", 10, "profiles.p.from", "3 -> a file with keys of a study"),
        ("profiles:\n  p: {from: no.yaml}", 10, "profiles.p.from", "no.yaml -> a file with keys of a study"),
        ("profiles:\n  p: {blocks: {a: {seeds: 0}}}", 10, "profiles.p.blocks.a.seeds", "0 -> a number of seeds"),
    ],
)
def test_one_mistake_is_one_problem_at_its_place(
    written: str, line: int, path: str, message: str, write: Write
) -> None:
    with pytest.raises(SpecError) as caught:
        load_blocks(write(f"{PLAIN}{written}\n"))
    (problem,) = caught.value.problems
    assert (problem.line, problem.path) == (line, path)
    assert message in problem.message


def test_a_shared_profile_is_read_from_a_file_beside_the_study(write: Write) -> None:
    path = write(f"{PLAIN}profiles:\n  full:\n    from: more/full.yaml\n    protocol: {{clips: 3}}\n")
    (path.parent / "more").mkdir()
    (path.parent / "more" / "full.yaml").write_text(SHARED)
    study = load(path, "full").study
    assert study.protocol == {"clips": 3, "steps": 5, "frames": 8}, "its own keys are laid over those of the file"
    assert study.control == {"attention.mu": 0.5}
    assert load(path).study.control == {}


def test_a_shared_profile_and_the_same_keys_written_out_are_the_same_study(write: Write) -> None:
    path = write(f"{PLAIN}profiles:\n  full: {{from: full.yaml}}\n")
    (path.parent / "full.yaml").write_text(SHARED)
    shared = load(path, "full")
    written = load(write(f"{PLAIN}profiles:\n  full: {{{SHARED.strip().replace(chr(10), ', ')}}}\n"), "full")
    assert shared.study.to_yaml() == written.study.to_yaml()
    assert shared.cells == written.cells


def test_mistakes_in_a_shared_profile_are_at_its_own_lines(write: Write) -> None:
    path = write(f"{PLAIN}profiles:\n  full: {{from: full.yaml, seeds: 0}}\n")
    file = path.parent / "full.yaml"
    file.write_text("name: x\nprotocol:\n  clips: 0\n  clips: 2\nfrom: other.yaml\nsedes: 3\n")
    with pytest.raises(SpecError) as caught:
        load(path, "full")
    assert [(problem.file, problem.line, problem.path) for problem in caught.value.problems] == [
        (str(file), 1, "name"),
        (str(file), 3, "protocol.clips"),
        (str(file), 4, "protocol.clips"),
        (str(file), 5, "from"),
        (str(file), 6, "sedes"),
        (str(path), 10, "profiles.full.seeds"),
    ]


@pytest.mark.parametrize("content", ["", "[a]", "a: [", "a: \t1\n\tb: 2"])
def test_a_shared_profile_that_is_no_map_is_refused_at_its_file(content: str, write: Write) -> None:
    path = write(f"{PLAIN}profiles: {{full: {{from: full.yaml}}}}\n")
    (path.parent / "full.yaml").write_text(content)
    with pytest.raises(SpecError) as caught:
        load(path)
    assert {problem.file for problem in caught.value.problems} == {str(path.parent / "full.yaml")}
