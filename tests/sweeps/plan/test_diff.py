"""What differs between two studies: found by meaning, the same from both sides, and told plainly."""

import json
import tempfile
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from sweeps.plan import Plan, load
from sweeps.plan.diff import Diff, Sides, changes, differences

STUDY = """\
name: sound
question: What is it worth?
system: zs2
base: shapes
metrics: [clip_score, fid]
seeds: 2
protocol: {clips: 2}
ablations:
  - {part: noise, action: REMOVE, hypothesis: worse}
  - {part: attention.mu, action: VALUES, values: [0.5, 0.75]}
"""


def planned(text: str) -> Plan:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "study.yaml"
        path.write_text(text, encoding="utf-8")
        return load(path)


def compared(old: str, new: str) -> Diff:
    """The study with a text in it replaced, beside the study."""
    assert old in STUDY
    return differences(planned(STUDY), planned(STUDY.replace(old, new)))


def told(diff: Diff) -> list[str]:
    return [line.strip() for line in diff.text().splitlines()]


# -------------------------------------------------------------------------------------------------------- no difference


def test_a_study_does_not_differ_from_itself() -> None:
    diff = compared(STUDY, STUDY)
    assert not diff
    assert diff.as_json()["same"] is True
    assert diff.as_json()["cells"] == {"both": 8, "only_a": 0, "only_b": 0}
    assert diff.text("one.yaml", "two.yaml") == "one.yaml and two.yaml do not differ: the same 8 cells"


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("name: sound\n", "# a comment\nname: sound  # another\n"),
        ("seeds: 2", "seeds: [1, 0]"),
        ("protocol: {clips: 2}", "protocol: {frames: 8, clips: 2}"),
        ("protocol: {clips: 2}", "protocol: {clips: 2}\ndesign: one_at_a_time\nresources: {precision: auto}"),
        ("protocol: {clips: 2}", "protocol: {clips: 2}\ndata: shapes"),
        ("protocol: {clips: 2}", "protocol: {clips: 2}\ncontrol: {noise.threshold: 0.01}"),
        ("values: [0.5, 0.75]", "values: [0.75, 0.98, 0.5]"),
    ],
    ids=[
        "comments",
        "order of seeds",
        "order of keys",
        "defaults",
        "the base's data",
        "the same control",
        "merged arms",
    ],
)
def test_what_means_the_same_is_no_difference(old: str, new: str) -> None:
    diff = compared(old, new)
    assert not diff, diff.text()


# ---------------------------------------------------------------------------------------------------- what is different


def test_a_key() -> None:
    diff = compared("What is it worth?", "Why?")
    assert list(diff.as_json()["keys"]) == [{"path": "question", "old": "What is it worth?", "new": "Why?"}]
    assert told(diff)[1:3] == ["keys", '~ question  "What is it worth?" -> "Why?"']
    assert diff.as_json()["cells"] == {"both": 8, "only_a": 0, "only_b": 0}


def test_the_protocol_with_the_bases_defaults() -> None:
    diff = compared("{clips: 2}", "{steps: 3}")
    assert told(diff)[1:] == [
        "keys",
        "~ protocol.clips  2 -> 8",
        "~ protocol.steps  20 -> 3",
        "cells",
        "0 in both, 8 only in A, 8 only in B",
    ]


def test_the_base_changes_what_comes_with_it() -> None:
    diff = compared("base: shapes", "base: org/model\ndata: shapes\nextractors: {clip: org/clip, inception: README.md}")
    paths = [change.path for change in diff.keys]
    assert {"base", "extractors.clip", "protocol.height"} <= set(paths)
    assert diff.metrics.only_a == ("clip_score/shapes_clip", "fd/shapes_clip")
    assert diff.metrics.only_b == ("clip_score/clip", "fid/inception2015")
    assert not diff.cells.both


def test_data_of_another_layout_is_told_whole() -> None:
    text = STUDY.replace("clip_score, fid", "clip_score")
    diff = differences(planned(text), planned(text + "data: {layout: prompts, prompts: [a red circle]}\n"))
    [change] = diff.keys
    assert (change.path, change.old["layout"], change.new["layout"]) == ("data", "shapes", "prompts")


def test_arms_added_removed_and_changed() -> None:
    diff = compared("values: [0.5, 0.75]}", "values: [0.5]}\narms: {both: {noise: removed, attention: removed}}")
    assert told(diff)[1:] == [
        "arms",
        "- attention.mu=0.75  {attention.mu: 0.75}",
        "+ both               {noise: removed, attention: removed}",
        "cells",
        "6 in both, 2 only in A, 2 only in B",
    ]
    as_json = diff.as_json()
    assert (as_json["arms"]["only_a"], as_json["arms"]["only_b"]) == (("attention.mu=0.75",), ("both",))
    assert as_json["arms_alone"] == {
        "attention.mu=0.75": {"attention.mu": 0.75},
        "both": {"noise": "removed", "attention": "removed"},
    }
    assert as_json["arms_changed"] == {}


def test_arms_that_change_alike_share_a_line() -> None:
    diff = compared("protocol:", "control: {noise.threshold: 0.1}\nprotocol:")
    assert told(diff)[1:3] == [
        "arms",
        "~ control, attention.mu=0.5, attention.mu=0.75  noise.threshold: 0.01 -> 0.1",
    ]
    assert set(diff.arms_changed) == {"control", "attention.mu=0.5", "attention.mu=0.75"}
    assert len(diff.cells.both) == 2, "the arm without the noise model has no threshold"


def test_another_part_under_an_arms_name_is_told_whole() -> None:
    old, new = (planned(f"{STUDY}arms: {{mine: {{attention: {kind}}}}}\n") for kind in ("removed", "cross_frame"))
    [change] = differences(old, new).arms_changed["mine"]
    assert (change.path, change.old, change.new) == ("attention", {"kind": "removed"}, {"kind": "cross_frame"})


def test_a_hypothesis_changes_no_cell() -> None:
    diff = compared("hypothesis: worse", "hypothesis: better")
    assert told(diff)[1:3] == ["arms", "~ noise=removed  hypothesis: worse -> better"]
    assert len(diff.cells.both) == 8


def test_seeds() -> None:
    diff = compared("seeds: 2", "seeds: [1, 5, 7]")
    assert told(diff)[1:] == ["seeds", "- 0", "+ 5, 7", "cells", "4 in both, 4 only in A, 8 only in B"]
    assert diff.as_json()["seeds"] == {"both": (1,), "only_a": (0,), "only_b": (5, 7)}


def test_many_seeds_are_not_all_listed() -> None:
    line = told(compared("seeds: 2", "seeds: 200"))[2]
    assert line == "+ 2, 3, 4, 5, 6, 7, 8, and 191 others"


def test_metrics_and_the_objective() -> None:
    diff = compared("[clip_score, fid]", "[fid, kid, clip_score]")
    assert told(diff)[1:] == [
        "keys",
        "~ objective  clip_score -> fid",
        "metrics",
        "+ mmd/shapes_clip",
        "cells",
        "8 in both, 0 only in A, 0 only in B",
    ]


SEARCH = "search: {space: {attention.mu: {uniform: [0, 1]}}, trials_per_arm: 4}\n"


def searched(old: str, new: str) -> Diff:
    """The study with a search, beside itself with a text replaced."""
    assert old in STUDY + SEARCH
    return differences(planned(STUDY + SEARCH), planned((STUDY + SEARCH).replace(old, new)))


def test_a_search_is_added() -> None:
    diff = differences(planned(STUDY), planned(STUDY + SEARCH))
    assert [change.path for change in diff.keys] == ["search"]
    proposed = planned(STUDY + SEARCH).search
    assert proposed is not None
    assert diff.proposed == (0, proposed.num_proposed)
    assert told(diff)[-1] == f"to propose: 0 in A, {proposed.num_proposed} in B; different search"


def test_a_search_goes_on_with_more_trials() -> None:
    diff = searched("trials_per_arm: 4", "trials_per_arm: 8")
    assert told(diff)[1:3] == ["keys", "~ search.trials_per_arm  4 -> 8"]
    assert diff.proposed[1] == 2 * diff.proposed[0]
    assert told(diff)[-1].endswith("; same search, trials are kept")


def test_another_space_is_another_search() -> None:
    diff = searched("[0, 1]", "[0, 0.5]")
    assert told(diff)[1:3] == ["keys", "~ search.space.attention.mu.uniform  [0.0, 1.0] -> [0.0, 0.5]"]
    assert told(diff)[-1].endswith("; different search")


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("trials_per_arm: 4", "trials_per_arm: 4, search_sampler: tpe, seed: 0"),
        ("trials_per_arm: 4", "trials_per_arm: 4, objectives: {clip_score: max}"),
    ],
)
def test_a_searchs_defaults_are_no_difference(old: str, new: str) -> None:
    diff = searched(old, new)
    assert not diff, diff.text()


def test_the_first_seed_is_the_searchs() -> None:
    diff = searched("seeds: 2", "seeds: [1, 0]")
    assert told(diff)[1:3] == ["keys", "~ search.seed  0 -> 1"]
    assert not diff.same_search


def test_long_values_that_part_late_are_told_in_full() -> None:
    long = "x" * 80
    line = told(compared("What is it worth?", f"{long} a"))[2]
    assert line.endswith(f"-> {'x' * 57}...")
    old, new = (planned(STUDY.replace("What is it worth?", f"{long} {end}")) for end in "ab")
    assert told(differences(old, new))[2] == f"~ question  '{long} a' -> '{long} b'"


def test_a_text_obeys_no_terminal() -> None:
    diff = compared("question: What is it worth?", 'question: "\\e[31m\\u202Ered"')
    assert diff.text().replace("\n", "").isprintable()


def test_names_of_the_studies_are_used() -> None:
    text = compared("seeds: 2", "seeds: 3").text("as it ran", "as it is")
    assert text.splitlines()[0] == "as it ran -> as it is"
    assert text.splitlines()[-1].strip() == "8 in both, 0 only in as it ran, 4 only in as it is"


# ----------------------------------------------------------------------------------------------------------- properties

quick = settings(max_examples=30, deadline=None, derandomize=True, database=None)

ABLATIONS = [
    {"part": "noise", "action": "REMOVE"},
    {"part": "attention", "action": "REMOVE", "hypothesis": "worse"},
    {"part": "noise", "action": "REPLACE", "with": ["shared", "analytic"]},
    {"part": "attention.mu", "action": "VALUES", "values": [0.5, 0.75]},
]
forms = st.fixed_dictionaries(
    {
        "name": st.sampled_from(["one", "two"]),
        "system": st.just("zs2"),
        "base": st.just("shapes"),
        "metrics": st.lists(st.sampled_from(["clip_score", "fid", "kid"]), min_size=1, unique=True),
        "seeds": st.lists(st.integers(0, 5), min_size=1, max_size=3, unique=True),
        "protocol": st.dictionaries(st.sampled_from(["clips", "steps"]), st.integers(1, 3)),
        "control": st.dictionaries(st.just("noise.threshold"), st.sampled_from([0.01, 0.1])),
        "ablations": st.lists(st.sampled_from(ABLATIONS), min_size=1, unique_by=str),
    }
)


def plan_of(form: dict[str, Any]) -> Plan:
    return planned(yaml.safe_dump(form, sort_keys=False))


@quick
@given(form=forms, data=st.data())
def test_the_order_of_a_form_is_no_difference(form: dict[str, Any], data: st.DataObject) -> None:
    shuffled = {key: form[key] for key in data.draw(st.permutations(list(form)))}
    for key in ("seeds", "ablations"):
        shuffled[key] = data.draw(st.permutations(form[key]))
    shuffled["metrics"] = form["metrics"][:1] + data.draw(st.permutations(form["metrics"][1:]))
    assert not differences(plan_of(form), plan_of(shuffled))


@quick
@given(one=forms, other=forms)
def test_a_difference_is_the_same_from_both_sides(one: dict[str, Any], other: dict[str, Any]) -> None:
    a, b = plan_of(one), plan_of(other)
    there, back = differences(a, b), differences(b, a)
    assert bool(there) == bool(back)
    for name in ("arms", "seeds", "metrics", "cells"):
        left, right = getattr(there, name), getattr(back, name)
        assert set(left.both) == set(right.both)
        assert (left.only_a, left.only_b) == (right.only_b, right.only_a)
    assert {(c.path, str(c.old), str(c.new)) for c in there.keys} == {
        (c.path, str(c.new), str(c.old)) for c in back.keys
    }
    assert there.arms_changed.keys() == back.arms_changed.keys()
    assert {*there.cells.both, *there.cells.only_a} == {cell.id for cell in a.cells}
    assert {*there.cells.both, *there.cells.only_b} == {cell.id for cell in b.cells}
    assert json.loads(json.dumps(there.as_json()))["same"] is not bool(there)
    assert there.text().isascii()


@quick
@given(one=forms, other=forms)
def test_what_is_told_is_all_there_is(one: dict[str, Any], other: dict[str, Any]) -> None:
    """Equal keys, arms and seeds leave equal cells, and cells differ only where something is told."""
    a, b = plan_of(one), plan_of(other)
    diff = differences(a, b)
    arms_kept = not (diff.arms.only_a or diff.arms.only_b or diff.arms_changed)
    seeds_kept = not (diff.seeds.only_a or diff.seeds.only_b)
    protocol_kept = not any(change.path.startswith("protocol") for change in diff.keys)
    assert (arms_kept and seeds_kept and protocol_kept) <= ({c.id for c in a.cells} == {c.id for c in b.cells})
    if not diff:
        assert one["name"] == other["name"]
        assert one["metrics"][0] == other["metrics"][0]


plain = st.recursive(
    st.integers() | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("abc"), inner, max_size=3),
    max_leaves=12,
)


@settings(quick, max_examples=100)
@given(old=st.dictionaries(st.sampled_from("abc"), plain), new=st.dictionaries(st.sampled_from("abc"), plain))
def test_changes_made_in_the_old_give_the_new(old: dict[str, Any], new: dict[str, Any]) -> None:
    found = changes(old, new)
    assert (not found) == (old == new)
    made = json.loads(json.dumps(old))
    for change in found:
        if not change.path:
            made = change.new
            continue
        *above, last = change.path.split(".")
        holder = made
        for key in above:
            holder = holder[key]
        assert holder.get(last) == change.old
        if change.new is None:
            del holder[last]
        else:
            holder[last] = change.new
    assert made == new


@quick
@given(a=st.lists(st.integers(0, 9)), b=st.lists(st.integers(0, 9)))
def test_sides_part_two_collections(a: list[int], b: list[int]) -> None:
    sides = Sides.of(a, b)
    assert set(sides.both) == set(a) & set(b)
    assert set(sides.only_a) == set(a) - set(b)
    assert set(sides.only_b) == set(b) - set(a)
    assert [one for one in dict.fromkeys(a) if one in sides.both] == list(sides.both)
