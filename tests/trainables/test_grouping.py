"""Rules of subsets, and the groups of a cell's clips."""

from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.streams import Streams
from tests.factories import make_spec
from trainables.data import ClipsData, PromptsData, ShapesData
from trainables.data.content import LABELS
from trainables.data.labels import columns, no_numbers, unlabelled
from trainables.grouping import MOTION, SUBSET, Grouping, Rule, quantile
from trainables.groups import groups_of

NUMBERS = st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=40)
PROTOCOL = {"clips": 24, "frames": 8, "steps": 2, "guidance": 1.0, "height": 32, "width": 32}


# --------------------------------------------------------------------------------------------------------------- rules


@given(NUMBERS, st.floats(0.01, 0.99))
def test_a_quantile_is_numpys(values: list[float], share: float) -> None:
    assert quantile(values, share) == pytest.approx(np.quantile(values, share), rel=1e-9, abs=1e-6)


@given(NUMBERS, NUMBERS, st.floats(0.05, 0.95))
def test_a_subset_has_the_clips_beyond_the_quantile_of_the_references(
    values: list[float], references: list[float], share: float
) -> None:
    above = Rule(column="x", above_quantile=share).members(values, references)
    below = Rule(column="x", below_quantile=share).members(values, references)
    bound = quantile(references, share)
    assert above == [place for place, value in enumerate(values) if value > bound]
    assert below == [place for place, value in enumerate(values) if value < bound]


def test_bounds_belong_to_a_subset() -> None:
    assert Rule(column="x", at_least=2).members([1, 2, 3], []) == [1, 2]
    assert Rule(column="x", at_most=2).members([1, 2, 3], []) == [0, 1]


def test_rules_in_words() -> None:
    fast = Rule(column=MOTION, above_quantile=0.75)
    assert fast.words() == "motion_magnitude above its 0.75 quantile over the reference clips"
    assert Rule(column="objects", at_most=2).words() == "objects at most 2"


def test_another_minimum_or_rule_is_another_identity() -> None:
    plain = Grouping(column="category")
    others = [
        Grouping(column="shape"),
        Grouping(column="category", least=9),
        Grouping(subsets={"a": Rule(column="b", at_least=1)}),
    ]
    assert len({grouping.identity for grouping in (plain, *others)}) == 4
    assert Grouping(column="category").identity == plain.identity


# -------------------------------------------------------------------------------------------------------------- groups


def still() -> list[float]:
    raise AssertionError("no rule needs the motion of the references")


@pytest.mark.parametrize("system", ["zs2", "seer"])
def test_every_clip_is_in_the_category_of_its_prompt(system: str, tmp_path: Path) -> None:
    """For procedural clips, prompts alone tell the category: the first motion."""
    from trainables.inputs import prompts

    spec = make_spec(system=system, protocol=PROTOCOL, by={"column": "category"}, data={"layout": "shapes"})
    groups = groups_of(spec, tmp_path, still)
    texts, named = prompts(spec, tmp_path), {k: group.name for group in groups for k in group.clips}
    assert sorted(named) == list(range(24))
    assert all(group.grouping == "category" for group in groups)
    for k, text in enumerate(texts):
        assert text.partition(", then ")[0].endswith(named[k])
    references = Counter(k for group in groups for k in group.references)
    assert set(references.values()) == {1}, "a reference is in one category"


def test_groups_are_the_same_in_every_arm_and_for_more_clips(tmp_path: Path) -> None:
    by = {"column": "shape", "subsets": {"two": {"column": "motions", "at_least": 2}}}
    spec = make_spec(system="seer", protocol=PROTOCOL, by=by, data={"layout": "shapes"})
    longer = spec.model_copy(update={"protocol": spec.protocol.model_copy(update={"clips": 48})})
    other = spec.model_copy(update={"arm": "x", "tree": {"references": 1}})
    groups = groups_of(spec, tmp_path, still)
    assert groups_of(other, tmp_path, still) == groups
    for group, more in zip(groups, groups_of(longer, tmp_path, still), strict=True):
        assert tuple(k for k in more.clips if k < 24) == group.clips
    assert spec.cell_id == spec.model_copy(update={"by": None}).cell_id


def test_a_subset_by_motion_has_the_clips_that_continue_fast_references(tmp_path: Path) -> None:
    by = {"subsets": {"fast": {"column": MOTION, "above_quantile": 0.75}, "rest": {"column": MOTION, "at_most": 0.3}}}
    spec = make_spec(system="seer", protocol=PROTOCOL, by=by, data={"layout": "shapes", "references": 40})
    motion = np.random.default_rng(0).permutation(40) / 100
    fast, rest = groups_of(spec, tmp_path, motion.tolist)
    drawn = Streams(0).generator("examples").permutation(40)[:24]
    assert (fast.grouping, fast.name) == (SUBSET, "fast")
    assert fast.clips == tuple(np.flatnonzero(motion[drawn] > np.quantile(motion, 0.75)))
    assert fast.references == tuple(np.flatnonzero(motion > np.quantile(motion, 0.75)))
    assert len(fast.references) == 10
    assert rest.clips == tuple(np.flatnonzero(motion[drawn] <= 0.3))


# -------------------------------------------------------------------------------------------------------------- labels


@pytest.fixture
def dataset(tmp_path: Path) -> ClipsData:
    lines = ["path,text,category,objects"]
    lines += [f"{k}.mp4,clip {k},{'push' if k % 3 else 'pull'},{k % 4}" for k in range(30)]
    (tmp_path / "captions.csv").write_text("\n".join(lines))
    return ClipsData(layout="captions", path=str(tmp_path), held_out=0.5)


def test_prompts_of_a_dataset_have_the_labels_of_their_clips(dataset: ClipsData) -> None:
    assert dataset.columns() == ("category", "objects")
    texts = dataset.prompts(Streams(3), 40)
    numbers = [int(text.split()[1]) for text in texts]
    assert dataset.labels("category", Streams(3), 40) == ["push" if k % 3 else "pull" for k in numbers]
    assert dataset.labels("objects", Streams(3), 40) == [str(k % 4) for k in numbers]


def test_columns_are_known_from_the_header(tmp_path: Path) -> None:
    assert columns("ssv2", tmp_path) == columns("ucf101", tmp_path) == ("category",)
    assert columns("bridge", tmp_path) == ()
    (tmp_path / "texts.csv").write_text("clip,states,objects\na,b,3\n")
    assert columns("bridge", tmp_path) == ("states", "objects")
    assert columns("ssv2", tmp_path) == ("category", "states", "objects")
    assert ClipsData(layout="ssv2", path=str(tmp_path / "absent")).columns() is None


def test_clips_without_a_label_or_a_number_are_counted(dataset: ClipsData) -> None:
    entries = dataset.entries()
    assert unlabelled(entries, "category") == no_numbers(entries, "objects") == ""
    assert unlabelled(entries, "verb").startswith(f"{len(entries)} of {len(entries)} clips have no verb, such as ")
    assert no_numbers(entries, "category").startswith(f"{len(entries)} of {len(entries)} clips have a category that is")


def test_edited_labels_are_another_content_and_the_same_cell(dataset: ClipsData) -> None:
    from trainables.data import _entries

    before = dataset.label_content(["category"])
    assert dataset.label_content([]) == {}
    file = Path(dataset.path) / "captions.csv"
    file.write_text(file.read_text().replace("pull", "draw"))
    _entries.cache_clear()
    after = dataset.label_content(["category"])
    assert after != before
    specs = [make_spec(content={"texts": "a"} | labels) for labels in ({}, before, after)]
    assert len({spec.cell_id for spec in specs}) == 1
    assert set(after) == {LABELS}


def test_data_without_annotations_has_no_labels() -> None:
    assert PromptsData(layout="prompts", prompts=["a"]).columns() == ()
    assert ShapesData().columns() == ("category", "shape", "colour", "motions")
    with pytest.raises(ValueError, match="prompts of the layout prompts have no category -> data with annotated clips"):
        PromptsData(layout="prompts", prompts=["a"]).labels("category", Streams(0), 1)
