"""Arms of another system, base or sampling: what they become, and what is never put beside the control."""

from collections.abc import Callable
from pathlib import Path

import pytest

from models import SYSTEMS
from models.exvideo import ExVideo
from models.seer import Seer
from models.zs2 import ZS2
from sweeps.plan import Plan, load, load_blocks, requirements
from sweeps.plan.arms import Arm
from sweeps.plan.cells import specify
from sweeps.plan.diff import differences
from sweeps.plan.other_models import NO_CHANGE
from sweeps.plan.setting import setting_of
from tests.factories import ACROSS_STUDY, sweeps_here

Write = Callable[[str | bytes], Path]
Problems = Callable[[str | bytes], list[tuple[int, str, str]]]

HEAD = "".join(ACROSS_STUDY.partition("arms:\n")[:2])
SEER = "system: seer, base: shapes, training: {steps: 6}, references: 1"


@pytest.fixture
def planned(write: Write) -> Callable[[str], Plan]:
    return lambda arms: load(write(HEAD + arms))


Planned = Callable[[str], Plan]


def test_no_system_has_a_value_named_like_a_key_of_the_study() -> None:
    fields = {name for system in SYSTEMS.values() for name in system.model_fields}
    assert not fields & NO_CHANGE


def test_an_arm_of_another_system_has_its_own_tree_base_and_sampling(planned: Planned) -> None:
    plan = planned(f"  seer: {{{SEER}, protocol: {{steps: 10, guidance: 2.0}}}}\n")
    arm, spec = plan.arms[-1], plan.specs["seer"]
    assert arm.system == Seer().edit({"training.steps": 6, "references": 1})
    assert (spec.system, spec.base, spec.tree) == ("seer", "shapes", arm.system.model_dump(mode="json"))
    assert (spec.protocol.steps, spec.protocol.guidance) == (10, 2.0)
    assert (arm.role, arm.part) == ("arm", "system + base + training + references + protocol")
    assert arm.changes["base"] == "shapes"


def test_what_is_scored_is_the_studys(planned: Planned) -> None:
    specs = planned(f"  seer: {{{SEER}}}\n").specs
    control, seer = specs["control"], specs["seer"]
    for field in ("data", "protocol", "metrics", "extractors", "seed", "content"):
        assert getattr(seer, field) == getattr(control, field), field
    assert (seer.scoring_base, control.scoring_base) == ("shapes_video", "")
    note = "seer: sampled on shapes, scored by the networks of shapes_video, as all arms"
    assert planned(f"  seer: {{{SEER}}}\n").notes[-1] == note


def test_the_other_arms_are_what_they_are_without_it(write: Write, planned: Planned) -> None:
    alone = load(write(HEAD.removesuffix("arms:\n")))
    beside = planned(f"  seer: {{{SEER}}}\n")
    assert [cell.id for cell in alone.cells] == [cell.id for cell in beside.cells if cell.arm != "seer"]
    assert alone.arms == beside.arms[:-1]


def test_an_arm_has_the_cells_of_a_study_of_its_own(write: Write, planned: Planned) -> None:
    beside = planned(f"  seer: {{{SEER}}}\n")
    data = beside.cells[0].spec.data.model_dump_json()
    own = (
        f"name: own\nsystem: seer\nbase: shapes\nmetrics: [clip_score]\nseeds: 2\ndata: {data}\n"
        "protocol: {clips: 4, frames: 8, steps: 4, guidance: 1.0}\ntraining: {steps: 6}\ncontrol: {references: 1}\n"
        "ablations: [{part: text_decomposer, action: REMOVE}]\n"
    )
    alone = load(write(own))
    ids = [[cell.id for cell in plan.cells if cell.arm == arm] for plan, arm in ((alone, "control"), (beside, "seer"))]
    assert ids[0] == ids[1]


def test_an_arm_of_the_studys_system_may_sample_otherwise(planned: Planned) -> None:
    plan = planned("  fast: {protocol: {steps: 2}}\n  fast, no position: {protocol: {steps: 2}, position: removed}\n")
    assert [spec.protocol.steps for spec in plan.specs.values()] == [4, 4, 2, 2]
    assert plan.arms[2].system == plan.arms[0].system
    assert plan.arms[3].system == plan.arms[1].system
    assert len({cell.id for cell in plan.one_of_each}) == 4


def test_arms_that_are_equal_after_all_are_merged(planned: Planned) -> None:
    plan = planned(
        "  same: {protocol: {steps: 4}}\n  based: {base: shapes_video}\n"
        f"  one: {{{SEER}}}\n  two: {{{SEER}, protocol: {{steps: 4, guidance: 1.0}}}}\n"
        f"  three: {{{SEER}, protocol: {{steps: 5}}}}\n"
    )
    assert [arm.id for arm in plan.arms] == ["control", "position=removed", "one", "three"]
    assert [note.partition(" is ")[2] for note in plan.notes[:3]] == [
        "identical to control: merged, not run twice",
        "identical to control: merged, not run twice",
        "identical to one: merged, not run twice",
    ]


def test_an_untrained_arm_is_one_process_whatever_trains_the_others(write: Write) -> None:
    study = load(write(HEAD.removesuffix("arms:\n") + "resources: {workers: 2}\n")).study
    setting = setting_of(study, [])
    assert setting is not None
    arms = [Arm(name, "arm", "", "", {}, tree, "shapes") for name, tree in (("zs2", ZS2()), ("exvideo", ExVideo()))]
    assert [specify(study, arm, 0, setting).scaling.workers for arm in arms] == [1, 2]


def test_a_study_across_systems_reads_back_as_it_was(planned: Planned, write: Write) -> None:
    plan = planned(f"  seer: {{{SEER}, protocol: {{guidance: 2.0}}}}\n")
    again = load(write(plan.study.to_yaml()))
    assert (again.arms, again.cells) == (plan.arms, plan.cells)


def test_systems_that_are_asked_other_prompts_have_no_common_table(problems: Problems) -> None:
    """Seer without given frames still takes the texts of the reference clips, which ZS2 does not."""
    text = "name: a\nsystem: zs2\nbase: shapes\nmetrics: [clip_score]\nseeds: 1\narms:\n"
    ((_, place, message),) = problems(text + "  seer: {system: seer, training: {steps: 6}, references: 0}\n")
    assert place == "arms.seer"
    assert message.startswith("seer is asked the texts of the clips that it continues, the control the prompts of the")


BAD = """\
  frames: {system: seer, base: shapes, training: {steps: 6}}
  steps: {system: seer, base: shapes, references: 1}
  family: {system: seer, training: {steps: 6}, references: 1}
  prompts: {system: zs2, base: shapes}
  own: {system: exvideo, position: removed}
  unknown: {system: sear}
  size: {protocol: {frames: 12, height: 64, steps: 3}}
  no map: {protocol: 3}
  no base: {base: 7}
  data: {data: shapes, extractors: {clip: org/clip}, seeds: 3, control: {position: removed}}
  tree: {system: seer, base: shapes, training: {steps: 6, lr: -1}, references: 1, position: removed}
  protocol: {protocol: {steps: 0, stepz: 3}}
"""


def test_every_mistake_is_told_at_once_with_its_arm(problems: Problems) -> None:
    found = [(path, message) for _, path, message in problems(HEAD + BAD)]
    expected = [
        ("arms.frames", "seer is given 2 frames of each clip, the control 1, so other frames would be scored -> "),
        ("arms.steps", "seer is trained, but training.steps is missing -> training: {steps: 400}"),
        ("arms.family.system", "shapes_video is a Stable Video Diffusion base, and seer needs Stable Diffusion -> "),
        ("arms.prompts", "zs2 is asked the prompts of the data, the control the texts of the clips that it continues"),
        ("arms.own.system", "exvideo is the study's own system, whose arms change the control -> remove this key"),
        ("arms.unknown.system", f"sear -> {', '.join(SYSTEMS)} (did you mean seer?)"),
        ("arms.size.protocol.frames", "12, and 8 in the control: clips of one table have the same frames -> 8, or a"),
        ("arms.size.protocol.height", "64, and 32 in the control"),
        ("arms.no map.protocol", "3 -> a map of steps, guidance, micro_batch"),
        ("arms.no base.base", "7 -> an embedded base, a folder, or a hub id"),
        ("arms.data.data", "data is shared by all arms of a table -> remove it here; blocks compare studies that"),
        ("arms.data.extractors", "extractors is shared by all arms of a table"),
        ("arms.data.seeds", "seeds is shared by all arms of a table"),
        ("arms.data.control", "an arm changes its system directly -> the paths of control beside the arm's other keys"),
        ("arms.tree.training.lr", "-1 -> a number, above 0"),
        ("arms.tree.position", '"position" -> a slot or value of seer'),
        ("arms.protocol.protocol.steps", "0 -> at least 1"),
        ("arms.protocol.protocol.stepz", "unknown key"),
    ]
    assert sorted(path for path, _ in found) == sorted(path for path, _ in expected)
    messages = dict(found)
    assert [path for path, start in expected if not messages[path].startswith(start)] == []
    assert {line for line, *_ in problems(HEAD + BAD)} == set(range(10, 22))


def test_what_an_arms_base_lacks_is_told_at_the_arm(write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    arm = "  seer: {system: seer, base: org/absent, training: {steps: 6}, references: 1}\n"
    plan = load(write(HEAD + arm))
    (problem,) = requirements(plan)
    assert (problem.line, problem.path) == (10, "arms.seer.base")
    assert problem.message == "org/absent is not on this machine -> hf download org/absent"


def test_an_arm_of_another_system_is_searched_where_it_has_the_values(write: Write) -> None:
    search = "search: {space: {training.lr: {log_uniform: [1.0e-4, 1.0e-2]}, position: {kinds: [learned, static]}}}\n"
    search = search.replace("[learned, static]", f"[{', '.join(list(ExVideo.slots()['position'].kinds)[:2])}]")
    plan = load(write(f"{HEAD}  seer: {{{SEER}}}\n{search}"))
    assert plan.search is not None
    seer = plan.search.space_of("seer")
    assert list(seer.space) == ["training.lr"]
    assert seer.dropped == ("position is not searched: seer has no position",)
    cell = plan.search.trial("seer", 0, {"training.lr": 0.001})
    assert (cell.spec.system, cell.spec.tree["training"]["lr"], cell.spec.base) == ("seer", 0.001, "shapes")


def test_a_changed_base_or_sampling_of_an_arm_is_a_difference(planned: Planned) -> None:
    old = planned(f"  seer: {{{SEER}}}\n")
    new = planned(f"  seer: {{{SEER}, protocol: {{guidance: 3.0}}}}\n")
    diff = differences(old, new)
    assert [(change.path, change.old, change.new) for change in diff.arms_changed["seer"]] == [
        ("protocol.guidance", None, 3.0)
    ]
    assert (diff.keys, len(diff.cells.both), len(diff.cells.only_b)) == ((), 4, 2)


def test_the_command_line_refuses_arms_and_groups_together(write: Write) -> None:
    path = write(HEAD + "  prompts: {system: zs2, base: shapes}\nby: {column: verb, least: 3}\n")
    done = sweeps_here("check", path)
    assert (done.exit_code, done.stdout) == (2, "")
    assert [line.split(": ")[:2] for line in done.stderr.splitlines()] == [
        [f"{path}:10", "arms.prompts"],
        [f"{path}:11", "by.column"],
    ]


# -------------------------------------------------------------------------------------------- text encoder, blocks

XT = "stable-video-diffusion-img2vid-xt"
AID = "system: aid, training: {steps: 6}, states: repeat"


def test_the_text_encoder_belongs_to_the_arms_that_read_texts(write: Write) -> None:
    arms = (
        f"  own: {{{AID}}}\n  other: {{{AID}, text_encoder: stable-diffusion-v1-5}}\n"
        f"  bare: {{{AID}, text_encoder: ''}}\n  seer: {{{SEER}}}\n"
    )
    plan = load(write(HEAD.replace("base:", "text_encoder: shapes\nbase:") + arms))
    texts = {name: spec.text_encoder for name, spec in plan.specs.items()}
    assert texts == {
        "control": "",
        "position=removed": "",
        "own": "shapes",
        "other": "stable-diffusion-v1-5",
        "bare": "",
        "seer": "",
    }
    assert [plan.specs[arm].ref.text_encoder for arm in ("own", "seer")] == ["shapes", ""]
    assert len({cell.id for cell in plan.one_of_each}) == len(plan.arms)
    alone = load(write(HEAD.removesuffix("arms:\n")))
    assert [cell.id for cell in alone.cells if cell.seed == 0] == [cell.id for cell in plan.one_of_each[:2]]


def test_a_text_encoder_is_checked_at_its_own_place(problems: Problems) -> None:
    arms = (
        f"  a: {{{AID}, base: {XT}}}\n  b: {{{AID}, base: {XT}, text_encoder: shape}}\n"
        f"  c: {{{SEER}, text_encoder: shapes}}\n  d: {{{AID}, text_encoder: 3}}\n"
    )
    found = {path: message for _, path, message in problems(HEAD + arms)}
    assert sorted(found) == ["arms.a.base", "arms.b.text_encoder", "arms.c.text_encoder", "arms.d.text_encoder"]
    assert found["arms.a.base"].startswith(f"{XT} has no text encoder, and aid reads texts -> text_encoder: ")
    assert found["arms.b.text_encoder"].startswith("shape -> an embedded base")
    assert found["arms.c.text_encoder"] == "seer reads no text encoder beside its base -> remove this key"
    assert found["arms.d.text_encoder"].startswith("3 -> an embedded base, a folder, or a hub id")


def test_a_wrong_text_encoder_of_the_study_is_told_once(problems: Problems) -> None:
    text = HEAD.replace("base:", "text_encoder: ./nowhere\nbase:")
    unread = [(3, "text_encoder", "exvideo reads no text encoder beside its base -> remove this key")]
    assert problems(text + f"  seer: {{{SEER}}}\n") == unread
    found = problems(text + f"  a: {{{AID}}}\n  b: {{{AID}, protocol: {{steps: 3}}}}\n")
    assert [(line, path) for line, path, _ in found] == [(3, "text_encoder")]


def test_blocks_have_arms_of_other_systems(write: Write) -> None:
    blocks = (
        "blocks:\n  short: {protocol: {frames: 4}}\n"
        "  aid: {text_encoder: shapes, arms: {aid: {system: aid, training: {steps: 6}}}}\n"
    )
    text = HEAD + f"  seer: {{{SEER}}}\n" + blocks
    plans = load_blocks(write(text))
    short, both = plans["short"], plans["aid"]
    assert [arm.id for arm in short.arms] == ["control", "position=removed", "seer"]
    assert {spec.protocol.frames for spec in short.specs.values()} == {4}
    assert [arm.id for arm in both.arms] == ["control", "position=removed", "seer", "aid"]
    assert both.specs["aid"].text_encoder == "shapes"
