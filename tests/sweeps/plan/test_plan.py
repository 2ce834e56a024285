"""Arms and cells: what REMOVE, REPLACE, VALUES and ADD mean, what is merged, and in which order cells run."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from models.streams import Streams
from models.zs2 import ZS2, CrossFrameAttention, IndependentNoise, MomentumAttention, SharedNoise, TwoStage
from sweeps.plan import Plan, load, requirements
from sweeps.study.document import SpecError
from trainables.data import ClipsData

Write = Callable[[str | bytes], Path]

HEAD = """\
name: sound
system: zs2
base: shapes
metrics: [clip_score]
seeds: 2
"""


@pytest.fixture
def planned(write: Write) -> Callable[[str], Plan]:
    return lambda text: load(write(HEAD + text))


Planned = Callable[[str], Plan]


def ids(plan: Plan) -> list[str]:
    return [arm.id for arm in plan.arms]


def test_remove_puts_absence_in(planned: Planned) -> None:
    plan = planned("ablations: [{part: noise, action: REMOVE, hypothesis: worse}]")
    control, arm = plan.arms
    assert (control.id, control.role, control.changes, control.system) == ("control", "control", {}, ZS2())
    assert (arm.id, arm.role, arm.part, arm.action) == ("noise=removed", "arm", "noise", "REMOVE")
    assert arm.changes == {"noise": "removed"}
    assert arm.system == ZS2(noise=IndependentNoise())
    assert arm.hypothesis == "worse"


def test_replace_by_kinds_gives_one_arm_each(planned: Planned) -> None:
    plan = planned("ablations: [{part: noise, action: REPLACE, with: [shared, removed]}]")
    assert ids(plan) == ["control", "noise=shared", "noise=removed"]
    assert plan.arms[1].system == ZS2(noise=SharedNoise())
    assert plan.arms[1].changes == {"noise": "shared"}


def test_replace_by_named_edits(planned: Planned) -> None:
    plan = planned(
        "ablations: [{part: attention, action: REPLACE, with: {a: {mu: 0}, b: {kind: cross_frame}, c: removed}}]"
    )
    assert ids(plan) == ["control", "a", "b", "c"]
    assert plan.arms[1].system == ZS2(attention=MomentumAttention(mu=0.0))
    assert plan.arms[1].changes == {"attention": {"mu": 0}}
    assert plan.arms[2].system == ZS2(attention=CrossFrameAttention())
    assert plan.arms[3].system.model_dump()["attention"] == {"kind": "removed"}


def test_values_gives_one_arm_per_value(planned: Planned) -> None:
    plan = planned("ablations: [{part: attention.mu, action: VALUES, values: [0.6, 1, 0.98]}]")
    assert ids(plan) == ["control", "attention.mu=0.6", "attention.mu=1"]
    assert plan.arms[1].changes == {"attention.mu": 0.6}
    assert plan.notes[0] == "attention.mu=0.98 is identical to control: merged, not run twice"


def test_add_fills_what_the_control_lacks(planned: Planned) -> None:
    plan = planned("control: {attention: removed}\nablations: [{part: attention, action: ADD, with: [momentum]}]")
    assert ids(plan) == ["control", "attention=momentum"]
    assert plan.arms[0].system.model_dump()["attention"] == {"kind": "removed"}
    assert plan.arms[1].system == ZS2()
    assert plan.arms[1].action == "ADD"


def test_add_needs_a_kind_where_there_are_several(planned: Planned) -> None:
    with pytest.raises(SpecError, match=r"ADD without with.*\[momentum, previous_frame, cross_frame\]"):
        planned("control: {attention: removed}\nablations: [{part: attention, action: ADD}]")


def test_every_arm_starts_from_the_controls_values(planned: Planned) -> None:
    plan = planned("control: {noise.threshold: 0.1}\nablations: [{part: attention, action: REMOVE}]")
    assert [arm.system.model_dump()["noise"]["threshold"] for arm in plan.arms] == [0.1, 0.1]
    assert plan.arms[0].changes == {}


def test_named_arms_combine_changes(planned: Planned) -> None:
    plan = planned("arms: {neither: {noise: removed, attention: {kind: cross_frame}}}")
    arm = plan.arms[1]
    assert (arm.id, arm.part, arm.action) == ("neither", "noise + attention", "ARMS")
    assert arm.system == ZS2(noise=IndependentNoise(), attention=CrossFrameAttention())


def test_arms_with_equal_trees_are_merged_into_the_first(planned: Planned) -> None:
    plan = planned(
        "ablations: [{part: noise, action: REMOVE}]\narms: {iid: {noise: removed}, same: {attention.mu: 0.98}}"
    )
    assert ids(plan) == ["control", "noise=removed"]
    assert list(plan.notes) == [
        "iid is identical to noise=removed: merged, not run twice",
        "same is identical to control: merged, not run twice",
    ]


def test_cells_come_seed_by_seed_over_all_arms(planned: Planned) -> None:
    plan = planned("ablations: [{part: noise, action: REMOVE}, {part: attention, action: REMOVE}]")
    assert [(cell.seed, cell.arm) for cell in plan.cells] == [
        (seed, arm) for seed in (0, 1) for arm in ("control", "noise=removed", "attention=removed")
    ]
    assert len({cell.id for cell in plan.cells}) == 6


def test_a_search_leaves_the_plans_own_cells_as_they_are(planned: Planned) -> None:
    text = "ablations: [{part: noise, action: REMOVE}]\n"
    plain, searching = planned(text), planned(text + "search: {space: zs2_motion}\n")
    assert plain.search is None
    assert searching.search is not None
    assert searching.cells == plain.cells
    assert {(cell.spec.stage, cell.spec.trial, cell.spec.search) for cell in searching.cells} == {("plan", None, "")}


def test_a_cell_carries_its_whole_specification(planned: Planned) -> None:
    plan = planned("protocol: {clips: 3}\nablations: [{part: noise, action: REMOVE}]")
    cell = plan.cells[1]
    assert cell.id == cell.spec.cell_id
    assert cell.spec.tree == json.loads(json.dumps(plan.arms[1].system.model_dump(mode="json")))
    assert ZS2.model_validate(cell.spec.tree) == plan.arms[1].system
    assert cell.spec.protocol.clips == 3
    assert cell.spec.data.layout == "shapes"
    assert (cell.spec.study, cell.spec.arm, cell.spec.role) == ("sound", "noise=removed", "arm")
    assert (cell.spec.part, cell.spec.action) == ("noise", "REMOVE")


def test_ids_depend_on_what_is_sampled_and_on_nothing_else(planned: Planned) -> None:
    text = "ablations: [{part: noise, action: REMOVE}]\n"
    cells = [cell.id for cell in planned(text).cells]
    renamed = planned(
        "arms: {other: {noise: removed}}\nquestion: why\nresources: {max_concurrent: 2}\ntracking: {uri: x}\n"
    )
    assert [cell.id for cell in renamed.cells] == cells
    assert not {cell.id for cell in planned(text + "protocol: {clips: 3}\n").cells} & set(cells)
    assert not {cell.id for cell in planned(text + "resources: {precision: bf16}\n").cells} & set(cells)
    assert not {cell.id for cell in planned(text + "data: {layout: shapes, references: 64}\n").cells} & set(cells)


def test_the_protocol_starts_from_the_bases_card(planned: Planned) -> None:
    from models.bases import find_base, read_card

    card = read_card(find_base("shapes"))
    plan = planned("protocol: {clips: 1}\narms: {x: {noise: removed}}")
    assert plan.cells[0].spec.protocol == card.protocol.model_copy(update={"clips": 1})


def test_motion_is_put_beside_consistency_and_said(write: Write) -> None:
    text = HEAD.replace("clip_score", "temporal_consistency") + "arms: {x: {noise: removed}}"
    plan = load(write(text))
    assert [metric.family for metric in plan.metrics] == ["temporal_consistency", "motion_magnitude"]
    assert plan.cells[0].spec.metrics == ("temporal_consistency", "motion_magnitude")
    assert any("motion_magnitude added" in note for note in plan.notes)


def test_a_stand_in_never_has_the_published_name(write: Write) -> None:
    plan = load(write(HEAD.replace("clip_score", "fid, fvd") + "arms: {x: {noise: removed}}"))
    assert [metric.key for metric in plan.metrics] == ["fd/shapes_clip", "fd/shapes_r3d"]
    assert all(metric.surrogate for metric in plan.metrics)


def test_notes_of_parts_reach_the_reader(planned: Planned) -> None:
    plan = planned("ablations: [{part: noise, action: REPLACE, with: [random_search]}]")
    assert any(note.startswith("noise=random_search: ") and "practically independent" in note for note in plan.notes)


# ------------------------------------------------------------------------------------------------------------- bases


def hub_study(write: Write) -> Plan:
    text = HEAD.replace("base: shapes", "base: org/model@v1\ndata: shapes\nextractors: {clip: org/clip}")
    return load(write(text + "arms: {x: {noise: removed}}"))


@pytest.fixture
def empty_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import huggingface_hub.constants

    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "cache"))


@pytest.mark.usefixtures("empty_cache")
def test_a_hub_base_needs_no_weights_to_be_planned(write: Write) -> None:
    plan = hub_study(write)
    assert len(plan.cells) == 4
    assert any("org/model@v1 is not on this machine -> hf download org/model --revision v1" in w for w in plan.warnings)
    assert plan.cells[0].spec.protocol.height == 512


@pytest.mark.usefixtures("empty_cache")
def test_only_offline_is_an_absent_hub_base_an_obstacle(write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    plan = hub_study(write)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    assert [(problem.line, problem.path) for problem in requirements(plan)] == [(3, "base")]
    monkeypatch.setenv("HF_HUB_OFFLINE", "0")
    assert requirements(plan) == []


def test_a_complete_folder_is_a_base(tmp_path: Path, write: Write) -> None:
    base = tmp_path / "base"
    for part, file in {
        "unet": "config.json",
        "vae": "config.json",
        "text_encoder": "config.json",
        "tokenizer": "tokenizer_config.json",
        "scheduler": "scheduler_config.json",
    }.items():
        (base / part).mkdir(parents=True)
        (base / part / file).write_text("{}")
        (base / part / "model.safetensors").touch()
    (base / "model_index.json").write_text("{}")
    (base / "tokenizer" / "vocab.json").write_text('{"a</w>": 0, "dog</w>": 1}')
    (base / "tokenizer" / "merges.txt").touch()
    text = HEAD.replace("base: shapes", f"base: {base}\ndata: shapes\nextractors: {{clip: org/clip}}")
    plan = load(write(text + "arms: {x: {noise: removed}}"))
    assert plan.warnings == ()
    assert requirements(plan) == []
    assert plan.cells[0].spec.base == str(base)


def test_the_default_system_is_the_published_method() -> None:
    assert ZS2().noise == TwoStage(threshold=0.01, candidates=10, iterations=30)
    assert ZS2().attention == MomentumAttention(mu=0.98)


def test_a_dataset_that_is_elsewhere_is_a_warning_and_keeps_this_machine_from_running(
    write: Write, tmp_path: Path
) -> None:
    text = HEAD + f"data: {{layout: ssv2, path: {tmp_path / 'none'}}}\nablations: [{{part: noise, action: REMOVE}}]\n"
    plan = load(write(text))
    (warning,) = plan.warnings
    assert "none is not on this machine -> a folder with ssv2 clips" in warning
    assert [(problem.line, problem.path) for problem in requirements(plan)] == [(6, "data.path")]


def test_annotations_are_read_before_a_run_and_every_wrong_line_is_told(write: Write, tmp_path: Path) -> None:
    (tmp_path / "captions.csv").write_text("path,text\na.mp4,\nb.mp4,rain, then snow\n")
    text = HEAD + f"data: {{layout: captions, path: {tmp_path}}}\nablations: [{{part: noise, action: REMOVE}}]\n"
    plan = load(write(text))
    assert plan.warnings == ()
    wrong = [str(problem) for problem in requirements(plan)]
    assert len(wrong) == 2
    assert all("study.yaml:6: data.path: " in line for line in wrong)
    assert "captions.csv:2: no text" in wrong[0]
    assert "captions.csv:3: 3 fields, the header has 2" in wrong[1]
    (tmp_path / "captions.csv").write_text("path,text\n" + "".join(f"{number}.mp4,rain\n" for number in range(100)))
    assert requirements(plan) == []


def test_a_dataset_of_ones_own_has_references_and_prompts(write: Write, tmp_path: Path) -> None:
    lines = "".join(f"{number}.mp4,text {number}\n" for number in range(100))
    (tmp_path / "captions.csv").write_text("path,text\n" + lines)
    text = HEAD.replace("clip_score", "fvd") + f"data: {{layout: captions, path: {tmp_path}, held_out: 0.5}}\n"
    plan = load(write(text + "ablations: [{part: noise, action: REMOVE}]\n"))
    data = plan.cells[0].spec.data
    assert isinstance(data, ClipsData)
    few, many = (data.prompts(Streams(3), clips) for clips in (4, 20))
    assert few == many[:4]
    assert len(set(many)) == 20
    assert data.prompts(Streams(4), 20) != many


def test_a_base_without_weights_plans_and_says_where_they_are(write: Write) -> None:
    text = HEAD.replace("shapes", "stable-diffusion-v1-5") + "data: {layout: prompts, prompts: [a cat]}\n"
    text = text.replace("clip_score", "motion_magnitude") + "ablations: [{part: noise, action: REMOVE}]\n"
    plan = load(write(text))
    assert len(plan.cells) == 4
    (warning,) = plan.warnings
    assert (
        "has no weights, only configurations for planning -> base: stable-diffusion-v1-5/stable-diffusion-v1-5"
        in warning
    )
    assert [problem.path for problem in requirements(plan)] == ["base"]


def test_a_network_that_is_absent_is_a_warning_and_keeps_a_run_from_starting(write: Write) -> None:
    text = HEAD.replace("clip_score", "fvd") + "protocol: {frames: 16}\nextractors: {i3d: ./nothing.pt}\n"
    plan = load(write(text + "ablations: [{part: noise, action: REMOVE}]\n"))
    (warning,) = plan.warnings
    assert warning.startswith("./nothing.pt does not exist -> get I3D")
    assert [(problem.path, problem.message) for problem in requirements(plan)] == [("extractors.i3d", warning)]
    assert plan.metrics[0].key == "fvd/i3d_k400"
