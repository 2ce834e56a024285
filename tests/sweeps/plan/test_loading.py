"""A study file becomes a Study: the grammar, profiles, and a reader that nothing can surprise."""

import re
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from search_spaces import IntUniform, Kinds, Uniform
from sweeps.plan import expansion, load, loading
from sweeps.study.document import Document, Mark, SpecError
from sweeps.study.reader import read
from sweeps.study.types import Asha, Confirm, Search, Study
from trainables.data import ShapesData
from trainables.data.prompts import PromptsData

Write = Callable[[str | bytes], Path]

SOUND = """\
name: sound
system: zs2
base: shapes
metrics: [clip_score]
seeds: 2
ablations:
  - {part: noise, action: REMOVE}
"""

FULL = """\
name: full.example-1
question: What is it worth?
system: zs2
base: shapes
data: {layout: shapes, references: 64}
metrics: [temporal_consistency, clip_score]
seeds: [3, 1, 4]
protocol: {clips: 2, steps: 1, guidance: 1e0}
control: {noise.threshold: 1e-1, attention: {mu: 0.9}}
ablations:
  - {part: noise, action: REMOVE, hypothesis: frames come apart}
  - {part: noise, action: REPLACE, with: [shared, analytic]}
  - {part: attention, action: REPLACE, with: {self: {mu: 0}, first: cross_frame}}
  - {part: attention.mu, action: VALUES, values: [0.5, 1]}
arms: {both: {noise: removed, attention: {kind: previous_frame, mu: 0.5}}}
search:
  space: {attention.mu: {uniform: [0, 1]}, noise: {kinds: [two_stage, shared]}, noise.candidates: {int_uniform: [1, 9]}}
  search_sampler: nsga2
  trials_per_arm: 12
  objectives: {temporal_consistency: max, motion_magnitude: min}
  points: [{attention.mu: 1}, {noise: shared}]
  seed: 2
  trial_scheduler: {kind: asha, factor: 4}
  confirm: {fresh_seeds: 4}
margins: {clip_score: 0.2}
design: one_at_a_time
resources: {max_concurrent: 2, cpus_per_worker: 1, gpus_per_worker: 0.5, precision: bf16}
tracking: {uri: "sqlite:///x.db"}
"""


def test_defaults(write: Write) -> None:
    study = load(write(SOUND)).study
    assert study.seeds == (0, 1)
    assert study.question == ""
    assert study.data is None
    assert study.design.kind == "one_at_a_time"
    assert study.resources.precision == "auto"
    assert study.resources.max_concurrent is None
    assert study.search is None
    assert study.margins == {}
    assert study.tracking.uri is None


def test_every_key_is_read(write: Write) -> None:
    study = load(write(FULL)).study
    assert study.name == "full.example-1"
    assert study.data == ShapesData(references=64)
    assert study.metrics == ("temporal_consistency", "clip_score")
    assert study.seeds == (3, 1, 4)
    assert study.protocol == {"clips": 2, "steps": 1, "guidance": 1.0}
    assert study.control == {"noise.threshold": 0.1, "attention": {"mu": 0.9}}
    assert [ablation.action for ablation in study.ablations] == ["REMOVE", "REPLACE", "REPLACE", "VALUES"]
    assert study.ablations[1].with_ == ("shared", "analytic")
    assert study.ablations[2].with_ == {"self": {"mu": 0}, "first": "cross_frame"}
    assert study.ablations[3].values == (0.5, 1)
    assert study.search is not None
    assert study.search.space == {
        "attention.mu": Uniform(low=0, high=1),
        "noise": Kinds(values=("two_stage", "shared")),
        "noise.candidates": IntUniform(low=1, high=9),
    }
    assert study.search.points == ({"attention.mu": 1}, {"noise": "shared"})
    assert study.search.trial_scheduler == Asha(factor=4)
    assert study.search.confirm == Confirm(fresh_seeds=4)
    assert study.margins == {"clip_score": 0.2}
    assert study.resources.gpus_per_worker == 0.5
    assert study.tracking.uri == "sqlite:///x.db"


def test_a_study_written_out_reads_back_the_same(write: Write) -> None:
    study = load(write(FULL)).study
    assert load(write(study.to_yaml())).study.model_dump() == study.model_dump()


def test_prompts_of_ones_own_survive_writing_out(write: Write) -> None:
    study = load(write(SOUND + "data: {layout: prompts, prompts: [a red circle]}\n")).study
    assert isinstance(study.data, PromptsData)
    assert load(write(study.to_yaml())).study.model_dump() == study.model_dump()


def test_data_may_be_a_layouts_word(write: Write) -> None:
    assert load(write(SOUND + "data: shapes\n")).study.data == ShapesData()


@pytest.mark.parametrize(
    ("written", "value"),
    [
        ("1e-4", 0.0001),
        ("1.0e-3", 0.001),
        ("-.5", -0.5),
        ("+3", 3),
        ("007", 7),
        ("yes", "yes"),
        ("no", "no"),
        ("on", "on"),
        ("off", "off"),
        ("true", True),
        ("True", "True"),
        ("1:30", "1:30"),
        ("0x10", "0x10"),
        ("1_000", "1_000"),
        ("2024-01-01", "2024-01-01"),
        ('"1"', "1"),
        ("null", None),
        ("~", None),
        ("", None),
        ("µ", "µ"),
    ],
)
def test_scalars_are_what_they_look_like(written: str, value: object, write: Write) -> None:
    found = read(write(f"key: {written}\n")).value["key"]
    assert found == value
    assert type(found) is type(value)


def test_keys_are_words_whatever_they_look_like(write: Write) -> None:
    assert read(write("0.6: a\ntrue: b\n")).value == {"0.6": "a", "true": "b"}


def test_aliases_and_a_byte_order_mark_are_read(write: Write) -> None:
    document = read(write(b"\xef\xbb\xbfa: &x [1, {b: 2}]\nc: *x\n"))
    assert document.value == {"a": [1, {"b": 2}], "c": [1, {"b": 2}]}
    assert document.marks[("c", 1, "b")].line == 1


# ---------------------------------------------------------------------------------------------------------- profiles

PROFILED = (
    SOUND
    + """\
protocol: {clips: 2, steps: 3}
data: {layout: shapes, references: 32}
profiles:
  full:
    seeds: 16
    protocol: {clips: 8}
    data: {layout: prompts, prompts: [a circle]}
    ablations:
      - {part: attention, action: REMOVE}
  long: {protocol: {steps: 9}}
"""
)


def test_a_profile_is_laid_over_the_study(write: Write) -> None:
    path = write(PROFILED)
    assert load(path).study.protocol == {"clips": 2, "steps": 3}
    study = load(path, "full").study
    assert study.protocol == {"clips": 8, "steps": 3}, "maps merge"
    assert len(study.seeds) == 16
    assert [ablation.part for ablation in study.ablations] == ["attention"], "lists are replaced"
    assert isinstance(study.data, PromptsData), "maps of another layout are replaced"
    assert load(path, "long").study.protocol == {"clips": 2, "steps": 9}


def test_an_unknown_profile_is_refused(write: Write) -> None:
    with pytest.raises(
        SpecError, match=r"study.yaml:10: profiles: --profile ful -> full, long \(did you mean full\?\)"
    ):
        load(write(PROFILED), "ful")
    with pytest.raises(SpecError, match="--profile full -> no --profile: this study has none"):
        load(write(SOUND), "full")


def test_every_form_of_a_study_is_worked_out_once(write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    expanded: list[Study] = []

    def counted(study: Study, **more: bool) -> expansion.Expansion:
        expanded.append(study)
        return expansion.expand(study, **more)

    monkeypatch.setattr(loading, "expand", counted)
    plan = load(write(PROFILED), "full")
    assert len(expanded) == 3, "the study, and with either profile"
    assert [study for study in expanded if study is plan.study] == [plan.study]


# -------------------------------------------------------------------------------------------------------- properties

NUM_EXAMPLES = 150


def _outcome(content: bytes) -> Study | list[Any]:
    """The study, or its problems; anything else is raised."""
    with TemporaryDirectory() as folder:
        path = Path(folder) / "study.yaml"
        path.write_bytes(content)
        try:
            return load(path).study
        except SpecError as error:
            return error.problems


def _check_outcome(content: bytes) -> None:
    outcome = _outcome(content)
    if isinstance(outcome, Study):
        return
    text = content.decode("utf-8-sig", errors="replace")
    lines = re.split("\r\n|[\n\r\x85\u2028\u2029]", text)
    assert outcome
    for problem in outcome:
        assert 1 <= problem.line <= len(lines)
        assert str(problem).isprintable(), "one line, nothing a terminal would obey"


@settings(max_examples=NUM_EXAMPLES, deadline=None, derandomize=True, database=None)
@given(st.binary(max_size=200))
def test_bytes_are_a_study_or_a_located_problem(content: bytes) -> None:
    _check_outcome(content)


@settings(max_examples=NUM_EXAMPLES, deadline=None, derandomize=True, database=None)
@given(st.text(alphabet=st.sampled_from("ab:-[]{}&*!|>'\"%@#,? \n\t\\0.eu~<"), max_size=80))
def test_text_in_yamls_own_characters_is_a_study_or_a_located_problem(text: str) -> None:
    _check_outcome(text.encode())


scalars = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=True) | st.text(max_size=8)
values = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3)
)
keys = st.sampled_from([*Study.model_fields, "profiles", "search", "with"])


@settings(max_examples=NUM_EXAMPLES, deadline=None, derandomize=True, database=None)
@given(st.dictionaries(keys, values, max_size=5))
def test_any_values_at_a_studys_keys_are_a_study_or_located_problems(changes: dict[str, Any]) -> None:
    content = {**yaml.safe_load(FULL), **changes}
    _check_outcome(yaml.safe_dump(content, sort_keys=False).encode("utf-8", errors="replace"))


words = st.sampled_from(
    ["noise", "attention", "attention.mu", "noise.threshold", "removed", "shared", "REMOVE", "x", ""]
)
edits = st.recursive(
    words | st.floats(-1, 2) | st.integers(-1, 2),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(words | st.sampled_from(["kind", "mu", "threshold"]), inner, max_size=3)
    ),
)
ablation_keys = st.sampled_from(["part", "action", "with", "values", "hypothesis", "extra"])


@settings(max_examples=NUM_EXAMPLES, deadline=None, derandomize=True, database=None)
@given(st.lists(st.dictionaries(ablation_keys, edits, max_size=4) | edits, max_size=3), edits, edits)
def test_any_ablations_are_a_study_or_located_problems(ablations: list[Any], arms: Any, control: Any) -> None:
    content = {**yaml.safe_load(SOUND), "ablations": ablations, "arms": arms, "control": control}
    _check_outcome(yaml.safe_dump(content, sort_keys=False).encode())


search_keys = st.sampled_from([*Search.model_fields, "extra"])
domains = st.dictionaries(
    st.sampled_from(["uniform", "log_uniform", "int_uniform", "choice", "kinds"]), st.lists(edits)
)
spaces = st.dictionaries(words, domains | edits, max_size=3) | st.sampled_from(["zs2_motion", "zs2_components", "x"])


@settings(max_examples=NUM_EXAMPLES // 2, deadline=None, derandomize=True, database=None)
@given(spaces, st.dictionaries(search_keys, edits | st.lists(edits, max_size=2), max_size=3), edits)
def test_any_search_is_a_study_or_located_problems(space: Any, rest: dict[str, Any], margins: Any) -> None:
    content = {**yaml.safe_load(SOUND), "search": {"space": space, **rest}, "margins": margins}
    _check_outcome(yaml.safe_dump(content, sort_keys=False).encode())


# ---------------------------------------------------------------------------------------------------------- document


def test_an_entry_taken_out_leaves_the_marks_of_the_others() -> None:
    marks = {
        (): Mark(1, ""),
        ("a",): Mark(1, "a"),
        **{("a", place): Mark(place + 2, f"a[{place}]") for place in range(3)},
    }
    document = Document("f", {"a": ["x", "y", "z"]}, marks).without([("a", 1)])
    assert document.value == {"a": ["x", "z"]}
    assert document.problem(("a", 1), "wrong") == ("f", 4, "a[2]", "wrong")


def test_a_place_that_was_not_written_is_located_at_the_nearest_above() -> None:
    document = Document("f", {"a": {}}, {(): Mark(1, ""), ("a",): Mark(3, "a")})
    assert str(document.problem(("a", "b", 0, "c"), "wrong")) == "f:3: a.b[0].c: wrong"
