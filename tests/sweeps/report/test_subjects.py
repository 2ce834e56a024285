"""Arms and metrics as words of a sentence."""

from collections.abc import Callable
from pathlib import Path

import pytest

import sweeps
from models import SYSTEMS
from sweeps.plan import Plan, load, load_blocks
from sweeps.report.subjects import CLAUSES, NOUNS, continued, metric_words, subject

PACKAGE = Path(sweeps.__file__).parent
STUDIES = sorted(path for path in PACKAGE.rglob("*.yaml") if path.parent.name != "profiles")

Planned = Callable[[str], Plan]


@pytest.fixture
def planned(write: Callable[[str], Path]) -> Planned:
    return lambda text: load(write(text))


@pytest.mark.parametrize(("study", "arm", "words"), [
    ("zs2/components", "noise=removed", "Removing the dependency noise"),
    ("zs2/components", "neither", '"neither"'),
    ("zs2/noise_search", "noise=analytic", "Replacing the dependency noise by the correlated noise in closed form"),
    ("zs2/temporal_momentum", "attention.mu=0.6", "Setting attention.mu to 0.6"),
    ("zs2/temporal_momentum", "self_attention", '"self_attention"'),
    ("aid/condition", "trainable=removed", "Training nothing"),
    ("aid/freezing", "trainable=all", "Training all weights"),
    ("aid/smoke", "guidance=frame", "Guiding by the given frame alone"),
    ("aid/states", "states=repeat", "Repeating the instruction in place of the states"),
    ("aid/states", "condition=mean", "Replacing the multi-condition by the average condition of all frames"),
    ("exvideo/recipe", "ema=removed", "Removing the moving average over epochs"),
    ("seer/attention_kinds", "group_norm=per_frame", "Normalising each frame by itself"),
])  # fmt: skip
def test_an_arm_is_worded_as_a_person_would(study: str, arm: str, words: str) -> None:
    plan = load(PACKAGE / f"{study}.yaml")
    (found,) = (item for item in plan.arms if item.id == arm)
    assert subject(found, plan.arms[0]) == words


@pytest.mark.parametrize("path", STUDIES, ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_no_shipped_study_has_a_name_of_the_code_in_a_sentence(path: Path) -> None:
    """Words are those of a sentence, except dotted paths of values and ids in quotes."""
    for plan in load_blocks(path).values():
        for arm in plan.arms[1:]:
            words = subject(arm, plan.arms[0])
            is_plain = "_" not in words and "=" not in words and " by without " not in words
            assert is_plain or arm.action == "VALUES" or words == f'"{arm.id}"'
            single = arm.action in ("REMOVE", "REPLACE", "ADD") and all(
                isinstance(v, str) for v in arm.changes.values()
            )
            assert not single or words[0] != '"', f"{arm.id} has no words"


def test_every_word_belongs_to_a_kind() -> None:
    kinds: dict[str, set[str]] = {}
    for system in SYSTEMS.values():
        for name, slot in system.slots().items():
            kinds.setdefault(name, set()).update(slot.kinds)
    for table in (NOUNS, CLAUSES):
        for slot, words in table.items():
            assert words.keys() <= kinds[slot]


def test_a_part_without_words_is_quoted(planned: Planned, monkeypatch: pytest.MonkeyPatch) -> None:
    text = (
        "name: x\nsystem: zs2\nbase: shapes\nmetrics: [clip_score]\nseeds: 1\nablations: [{part: noise, action: %s}]\n"
    )
    for action in ("REMOVE", "REPLACE, with: [shared]"):
        plan = planned(text % action)
        monkeypatch.setitem(NOUNS, "noise", {})
        assert subject(plan.arms[1], plan.arms[0]) == f'"{plan.arms[1].id}"'


def test_a_subject_goes_on_in_lower_case() -> None:
    assert [continued(words) for words in ("Removing it", '"Mine"')] == ["removing it", '"Mine"']


def test_metrics_have_their_usual_names_and_their_extractor_where_two_have_one(planned: Planned) -> None:
    text = "name: x\nsystem: zs2\nbase: shapes\nmetrics: [%s]\nseeds: 1\nablations: [{part: noise, action: REMOVE}]\n"
    metrics = planned(text % "temporal_consistency, clip_score, fid, kid").metrics
    found = [metric_words(metric, metrics) for metric in metrics]
    assert found == ["temporal consistency", "motion magnitude", "CLIP score", "FD", "MMD"]
    metrics = planned(text % "fid, fvd, kid, kvd").metrics
    assert [metric_words(metric, metrics) for metric in metrics] == [
        "FD (shapes_clip)", "FD (shapes_r3d)", "MMD (shapes_clip)", "MMD (shapes_r3d)"
    ]  # fmt: skip
