"""Proofs of ablation: sound arms pass, and each way of being unsound is found before a cell runs."""

import functools
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from typer.testing import CliRunner

from models import SYSTEMS
from models.attention import moving_average
from models.backbones import Base
from models.bases.families import FAMILIES
from models.exvideo import ExVideo
from models.seer import Seer
from models.seer.attention_kinds import NoTemporalAttention, ScaledWindow
from models.seer.temporal import FrameConcatenation
from models.system import System
from models.zs2 import ZS2, CrossFrameAttention, SelfAttention
from sweeps.__main__ import app
from sweeps.plan import Plan, load, load_blocks
from sweeps.proof import PROOF, ArmProof, Proof, proof_key, proved, read_proof
from sweeps.proof.calls import wrong_calls
from sweeps.proof.outputs import behaviour_of
from sweeps.proof.proving import prove
from tests.factories import ACROSS_STUDY

ROOT = Path(__file__).resolve().parents[3]
STUDIES = sorted(path for path in (ROOT / "sweeps").rglob("*.yaml") if path.parent.name != "profiles")
KINDS = [
    pytest.param(system, slot.name, kind, id=f"{name}-{slot.name}-{kind}")
    for name, system in SYSTEMS.items()
    for slot in system.slots().values()
    for kind in slot.kinds
]
ZS2_STUDY = "name: s\nsystem: zs2\nbase: shapes\nmetrics: [clip_score]\nseeds: 2\nablations:\n"
SEER_ARM = "  - {part: temporal_attention, action: REMOVE}\n"
SEER_STUDY = "name: s\nsystem: seer\nbase: shapes\nmetrics: [fvd]\nseeds: 2\ntraining: {steps: 9}\nablations:\n"


@pytest.fixture
def planned(tmp_path: Path) -> Callable[[str], Plan]:
    def put(text: str) -> Plan:
        (tmp_path / "study.yaml").write_text(text)
        return load(tmp_path / "study.yaml")

    return put


def proofs(plan: Plan) -> dict[str, ArmProof]:
    return {one.arm: one for one in prove(plan)}


# ------------------------------------------------------------------------------------------------------ what is sound


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("study", STUDIES, ids=lambda path: f"{path.parent.name}-{path.stem}")
def test_every_arm_of_every_shipped_study_does_what_it_says(study: Path) -> None:
    for one in (one for plan in load_blocks(study).values() for one in prove(plan)):
        assert one.problems == (), one.arm
        assert one.difference is not None, "it runs at tiny width"
        assert one.without_gradient == ()


def test_removed_parts_are_gone_and_counted(planned: Callable[[str], Plan]) -> None:
    plan = planned(
        SEER_STUDY + "  - {part: temporal_attention, action: REMOVE}\n  - {part: prediction, action: REMOVE}\n"
    )
    found = proofs(plan)
    control, without = found["control"], found["temporal_attention=removed"]
    assert (control.delta_parameters, control.difference, control.problems) == (0, 0.0, ())
    gone = sum(without.gone.values()) - sum(without.added.values())
    assert without.delta_parameters == without.parameters - control.parameters == -gone
    assert without.delta_flops < 0
    assert "seer.temporal.WindowAttention.forward" in without.no_more_called
    assert without.num_trained < control.num_trained
    repeated = found["prediction=removed"]
    assert (repeated.parameters, repeated.flops) == (0, 0)
    assert {one.problems for one in found.values()} == {()}


@pytest.mark.parametrize("extension", ["removed", "sliding_windows"])
def test_what_a_baseline_bypasses_need_not_run(extension: str) -> None:
    tree = ExVideo().edit({"extension": extension})
    assert wrong_calls(ExVideo(), tree, set(tree.extension.calls), denoises=True) == []
    idle = wrong_calls(ExVideo(), ExVideo(), set(ExVideo().extension.calls), denoises=True)
    assert [problem.partition(":")[0] for problem in idle] == [
        "identity_conv=dense never runs",
        "position=learnable never runs",
    ]


def test_policies_have_no_parameters_and_are_seen_by_what_they_do(planned: Callable[[str], Plan]) -> None:
    plan = planned(ZS2_STUDY + "  - {part: attention, action: REMOVE}\n  - {part: noise, action: REMOVE}\n")
    found = proofs(plan)
    for arm, call in (("attention", "attention.moving_average"), ("noise", "zs2.noise.two_stage.<locals>.search")):
        one = found[f"{arm}=removed"]
        assert (one.delta_parameters, one.gone, one.added, one.problems) == (0, {}, {}, ())
        assert one.difference is not None
        assert one.difference > 1e-4, "far above rounding"
        assert call in one.no_more_called
    assert found["attention=removed"].delta_flops < 0 == found["noise=removed"].delta_flops


@functools.cache
def tiny(family: str) -> Base:
    return FAMILIES[family].implementation().tiny()


@pytest.mark.parametrize(("system", "slot", "kind"), KINDS)
def test_every_kind_runs_what_it_says_it_calls(system: type[System], slot: str, kind: str) -> None:
    tree = system().edit({slot: kind})
    part = getattr(tree, slot)
    done, reason = behaviour_of(tree, tiny(system.family.name))
    assert done is not None, reason
    assert set(part.calls) <= done.called
    others = {call for other in tree.slots() for call in getattr(tree, other).calls}
    for name, other in system.slots()[slot].kinds.items():
        if kind == "removed" and name != kind:
            assert not (set(other(kind=name).calls) - others) & done.called, name
    assert kind != "removed" or part.calls == ()


def test_the_same_tree_does_the_same_to_the_last_bit(tiny_base: Base) -> None:
    for tree in (ZS2(), Seer()):
        behaviour_of(tree, tiny_base)  # what is computed once per process is not called again
        (one, _), (other, _) = behaviour_of(tree, tiny_base), behaviour_of(tree, tiny_base)
        assert one is not None
        assert other is not None
        assert torch.equal(one.video, other.video)
        assert (one.loss, one.called) == (other.loss, other.called)


def test_a_gradient_reaches_the_queries_and_keys_of_every_level(tiny_base: Base) -> None:
    """Over one token there would be none, or what rounding leaves of it, by the processor."""
    done, reason = behaviour_of(Seer().edit({"trainable": "all"}), tiny_base)
    assert done is not None, reason
    assert any("mid_block" in name and name.endswith("attn1.to_k.weight") for name in done.trained)
    assert done.without_gradient == ()


@pytest.mark.slow
def test_how_a_model_is_trained_is_no_part_of_the_model(planned: Callable[[str], Plan]) -> None:
    values = "  - {part: training.lr, action: VALUES, values: [0.5]}\n"
    more = "  - {part: text_decomposer.identity_steps, action: VALUES, values: [0]}\n"
    for one in list(proofs(planned(SEER_STUDY + values + more)).values())[1:]:
        assert one.problems == ()
        assert one.remarks == ("changes the training only, not the model",)


@pytest.mark.slow
def test_what_cannot_be_run_at_tiny_width_is_said(planned: Callable[[str], Plan]) -> None:
    plan = planned(SEER_STUDY + "  - {part: text_decomposer.num_heads, action: VALUES, values: [3, 64]}\n")
    found = proofs(plan)
    one, other = found["text_decomposer.num_heads=3"], found["text_decomposer.num_heads=64"]
    assert (one.difference, one.problems) == (None, ())
    assert one.remarks == ("not run on the small base: 3 heads do not divide 16 channels of text",)
    assert other.problems == ("cannot be built on the base: 64 heads do not divide 96 channels of text",)


# ---------------------------------------------------------------------------------------------------- what is not sound


def unsound(plan: Plan, arm: str) -> str:
    return " ".join(proofs(plan)[arm].problems)


def test_an_arm_that_changes_nothing_is_found(planned: Callable[[str], Plan], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(NoTemporalAttention, "build", lambda self: ScaledWindow().build())
    plan = planned(SEER_STUDY + "  - {part: temporal_attention, action: REMOVE}\n")
    problems = unsound(plan, "temporal_attention=removed")
    assert "changes nothing: same outputs" in problems
    assert "temporal_attention=scaled_window was removed but still runs: seer.temporal.WindowAttention" in problems


@pytest.mark.slow
def test_one_kind_under_another_name_changes_nothing(planned: Callable[[str], Plan]) -> None:
    plan = planned(
        SEER_STUDY + "  - {part: text_decomposer, action: REPLACE, with: {again: {kind: grouped, every: 1}}}\n"
    )
    assert "changes nothing: same outputs" in unsound(plan, "again")


def test_a_removed_part_that_still_runs_is_found(
    planned: Callable[[str], Plan], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(SelfAttention, "build", lambda self: functools.partial(moving_average, mu=0.5))
    plan = planned(ZS2_STUDY + "  - {part: attention, action: REMOVE}\n")
    assert unsound(plan, "attention=removed") == (
        "attention=momentum was removed but still runs: attention.moving_average"
    )


def test_a_replacement_that_never_runs_is_found(
    planned: Callable[[str], Plan], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(CrossFrameAttention, "build", lambda self: None)
    plan = planned(ZS2_STUDY + "  - {part: attention, action: REPLACE, with: [cross_frame]}\n")
    assert unsound(plan, "attention=cross_frame") == "attention=cross_frame never runs: attention.first_frame"


@pytest.mark.slow
def test_a_replacement_that_no_gradient_reaches_is_found(
    planned: Callable[[str], Plan], monkeypatch: pytest.MonkeyPatch
) -> None:
    own = FrameConcatenation.forward
    monkeypatch.setattr(FrameConcatenation, "forward", lambda self, video: own(self, video).detach())
    plan = planned(SEER_STUDY + "  - {part: temporal_attention, action: REPLACE, with: [concatenation]}\n")
    assert "no gradient reaches" in unsound(plan, "temporal_attention=concatenation")


# ------------------------------------------------------------------------------------------------------- kept and shown


def test_a_proof_is_made_once_and_anew_where_arms_change(
    planned: Callable[[str], Plan], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = planned(ZS2_STUDY + "  - {part: attention, action: REMOVE}\n")
    made: list[Any] = []
    one = ArmProof(arm="control", parameters=1, flops=2)
    monkeypatch.setattr("sweeps.proof.proving.prove", lambda plan: made.append(plan) or (one,))
    first = proved(plan, tmp_path / "folder")
    assert proved(plan, tmp_path / "folder") == first == read_proof(tmp_path / "folder")
    assert len(made) == 1
    other = planned(ZS2_STUDY + "  - {part: noise, action: REMOVE}\n")
    assert proof_key(other) != proof_key(plan)
    proved(other, tmp_path / "folder")
    (tmp_path / "folder" / PROOF).write_text("{")
    proved(other, tmp_path / "folder")
    assert len(made) == 3


def test_nothing_runs_where_a_proof_has_a_problem(
    planned: Callable[[str], Plan], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = planned(ZS2_STUDY + "  - {part: attention, action: REMOVE}\n")
    wrong = ArmProof(arm="attention=removed", parameters=1, flops=1, problems=("changes nothing",))
    monkeypatch.setattr("sweeps.proof.proving.prove", lambda plan: (wrong,))
    runner = CliRunner()
    done = runner.invoke(app, ["run", str(tmp_path / "study.yaml"), "--storage", str(tmp_path / "runs")])
    assert done.exit_code == 2, done.output
    assert "attention=removed: changes nothing" in done.stderr
    assert not (tmp_path / "runs" / plan.study.name / "cells").exists()
    shown = runner.invoke(app, ["plan", str(tmp_path / "study.yaml"), "--storage", str(tmp_path / "runs"), "--proof"])
    assert shown.exit_code == 2
    assert "PROBLEM: changes nothing" in shown.stdout
    plain = runner.invoke(
        app, ["plan", str(tmp_path / "study.yaml"), "--storage", str(tmp_path / "runs"), "--proof", "--json"]
    )
    assert Proof.model_validate(json.loads(plain.stdout)).problems == ["attention=removed: changes nothing"]


def test_an_arm_of_another_system_is_proved_on_its_own_base(planned: Callable[[str], Plan]) -> None:
    found = proofs(planned(ACROSS_STUDY))
    alone = proofs(planned(SEER_STUDY.replace("ablations:\n", "control: {references: 1}\nablations:\n") + SEER_ARM))
    seer, control = found["seer"], found["control"]
    assert {one.problems for one in found.values()} == {()}
    assert (seer.parameters, seer.flops) == (alone["control"].parameters, alone["control"].flops)
    assert seer.delta_parameters == seer.parameters - control.parameters
    assert (seer.gone, seer.added, seer.no_more_called, seer.newly_called) == ({}, {}, (), ())
    assert seer.num_trained == alone["control"].num_trained
    assert seer.difference is not None


def test_a_proof_depends_on_the_base_of_each_arm(planned: Callable[[str], Plan], tiny_base_folder: Path) -> None:
    key = proof_key(planned(ACROSS_STUDY))
    assert proof_key(planned(ACROSS_STUDY)) == key
    assert proof_key(planned(ACROSS_STUDY.replace("base: shapes,", f"base: {tiny_base_folder},"))) != key
