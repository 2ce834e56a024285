"""A starting study: sound as it stands, and with every block of it that can be taken into use."""

import math
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, ClassVar, Literal

import jsonschema
import pytest
import yaml
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from pydantic import BaseModel, Field, create_model

import sweeps
from models import SYSTEMS
from models.bases import Protocol, find_base, read_card
from models.contracts import VideoModel
from models.system import Part, System
from search_spaces import domain
from sweeps.plan import load, load_blocks
from sweeps.study.fields import SeedRule
from sweeps.study.schema import schema
from sweeps.study.starter import starting_study, write
from sweeps.study.suggested import nearby_values, search_domain
from sweeps.study.types import (
    Ablation,
    Asha,
    Budget,
    Confirm,
    Hypothesis,
    Median,
    Resources,
    Search,
    Study,
    Tracking,
)
from tests.factories import fresh
from trainables.grouping import Grouping, Rule
from trainables.metrics import METRICS, Extractors

Write = Callable[[str | bytes], Path]

# -------------------------------------------------------------------------- a system that has what others have not


class Boost(Part):
    """More of it. A second sentence."""

    kind: Literal["boost"] = "boost"
    by: Annotated[float, Field(gt=0, description="nothing is no boost")] = 2.0


class NoBoost(Part):
    """Absence: as much as there is."""

    kind: Literal["removed"] = "removed"


class Wide(Part):
    """Wide.

    Args:
        width: In tokens,
            from 4 to 64.
    """

    kind: Literal["wide"] = "wide"
    width: Annotated[int, Field(ge=4, le=64)] = 32


class Narrow(Part):
    """Narrow."""

    kind: Literal["narrow"] = "narrow"
    share: Annotated[float, Field(ge=0.0012, le=100)] = 0.01


class Toy(System):
    """A part to add, a part that cannot be absent, and values of the system's own."""

    name: ClassVar[str] = "toy"

    boost: Annotated[Boost | NoBoost, Field(discriminator="kind")] = NoBoost()
    core: Annotated[Wide | Narrow, Field(discriminator="kind")] = Wide()
    mode: Literal["fast", "slow"] = "fast"
    looped: bool = False
    label: str = "any"

    def build(self, base: object) -> VideoModel:
        raise AssertionError("a study is planned without building anything")

    def denoiser_on_meta(self, networks: object, frames: int) -> None:
        raise AssertionError("a study is planned without building anything")


@pytest.fixture(autouse=True)
def _toy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(SYSTEMS, "toy", Toy)


each_case = pytest.mark.parametrize(
    ("system", "base"),
    [
        ("zs2", "shapes"),
        ("zs2", "org/model@v1"),
        ("toy", "shapes"),
        ("seer", "shapes"),
        ("seer", "org/model@v1"),
        ("exvideo", "shapes_video"),
        ("exvideo", "org/model@v1"),
        ("aid", "shapes_video"),
        ("aid", "org/model@v1"),
    ],
    ids=[
        "zs2",
        "zs2 on a hub id",
        "toy",
        "seer",
        "seer on a hub id",
        "exvideo",
        "exvideo on a hub id",
        "aid",
        "aid on a hub id",
    ],
)

# --------------------------------------------------------------------------------------------------- blocks of a study


def blocks(text: str) -> list[list[int]]:
    """Numbers of the lines that can be taken into use: those side by side are one block."""
    found: list[list[int]] = []
    for number, line in enumerate(text.splitlines()):
        if number and line.startswith("# "):
            if found and found[-1][-1] == number - 1:
                found[-1].append(number)
            else:
                found.append([number])
    return found


def with_lines(text: str, numbers: list[int]) -> str:
    lines = text.splitlines()
    for number in numbers:
        lines[number] = lines[number].removeprefix("# ")
    return "\n".join(lines) + "\n"


def test_as_it_stands_it_removes_each_part_that_can_be_removed(write: Write) -> None:
    plan = load(write(starting_study("zs2")))
    assert [arm.id for arm in plan.arms] == ["control", "noise=removed", "attention=removed"]
    assert plan.arms[0].system == SYSTEMS["zs2"]()
    assert plan.cells[0].spec.protocol == read_card(find_base("shapes")).protocol
    assert plan.study.name == "zs2-parts"
    assert [metric.family for metric in plan.metrics] == list(plan.study.metrics), "companions are written out"


def test_where_no_part_can_be_removed_it_asks_the_first_question(write: Write) -> None:
    plan = load(write(starting_study("toy")))
    assert [arm.id for arm in plan.arms] == ["control", "boost=boost"]
    assert plan.arms[1].action == "ADD"


@each_case
def test_every_block_is_sound_by_itself(system: str, base: str, write: Write) -> None:
    text = starting_study(system, base)
    plain = load(write(text)).study
    lines = text.splitlines()
    for block in blocks(text):
        path = write(with_lines(text, block))
        key = lines[block[0]].removeprefix("# ").split(":")[0]
        if key == "blocks":
            assert list(load_blocks(path)) == ["short", "long"]
            continue
        study = load(path, "quick" if key == "profiles" else None).study
        if key == "profiles":
            assert (len(study.seeds), study.protocol) == (2, {**plain.protocol, "clips": 2})
        elif key in Study.model_fields:
            assert key in study.model_fields_set - plain.model_fields_set
        else:
            assert len(study.ablations) == len(plain.ablations) + len(block), lines[block[0]]


@each_case
def test_every_ablation_is_sound_by_itself(system: str, base: str, write: Write) -> None:
    text = starting_study(system, base)
    num_arms = len(load(write(text)).arms)
    for number, line in enumerate(text.splitlines()):
        if line.startswith("#   - {part: "):
            plan = load(write(with_lines(text, [number])))
            assert len(plan.arms) > num_arms, line
            assert not any("is identical to" in note for note in plan.notes), line


@each_case
def test_all_blocks_together_are_sound(system: str, base: str, write: Write) -> None:
    text = starting_study(system, base)
    whole = with_lines(text, [number for block in blocks(text) for number in block])
    assert not blocks(whole)
    load_blocks(write(whole))
    load_blocks(write(whole), "quick")
    jsonschema.validate(yaml.safe_load(whole), schema())


# ---------------------------------------------------------------------------------------------------- what it speaks of


@each_case
def test_a_line_explains_or_can_be_used(system: str, base: str) -> None:
    for line in starting_study(system, base).splitlines():
        assert line == line.rstrip()
        assert len(line) <= 120
        assert re.match(r"$|## |# [\w ]|[\w ]", line), line


@pytest.mark.parametrize("system", ["seer", "aid"])
def test_every_key_of_a_study_is_there(system: str) -> None:
    text = starting_study(system)
    missing = [
        key
        for key in (*Study.model_fields, "blocks", "profiles")
        if key != "todo"  # which only an import writes
        and (key != "text_encoder" or SYSTEMS[system].reads_texts)
        and not re.search(rf"^(# )?{key}: ?", text, re.MULTILINE)
    ]
    assert missing == []


@pytest.mark.parametrize(
    "block",
    [
        Ablation,
        Asha,
        Budget,
        Confirm,
        Extractors,
        Grouping,
        Hypothesis,
        Median,
        Protocol,
        Resources,
        Rule,
        Search,
        SeedRule,
        Tracking,
    ],
)
def test_every_key_of_a_block_is_there(block: type[BaseModel]) -> None:
    text = starting_study("seer")
    keys = [info.alias or name for name, info in block.model_fields.items()]
    assert [key for key in keys if not re.search(rf"\b{key}\b", text)] == []


@pytest.mark.parametrize("system", ["zs2", "toy", "seer", "aid"])
def test_every_kind_and_value_of_a_system_is_there(system: str) -> None:
    text = " ".join(line.removeprefix("##").strip() for line in starting_study(system).splitlines())
    text = re.sub(r"\s+", " ", text)
    for name, slot in SYSTEMS[system].slots().items():
        assert f"{name} is a slot, filled with {slot.default.kind}." in text
        for kind, part in slot.kinds.items():
            assert f"{kind} {part.meaning()}" in text
        for value in set(type(slot.default).model_fields) - {"kind"}:
            assert f"{name}.{value} is " in text
    for value in set(SYSTEMS[system].model_fields) - set(SYSTEMS[system].slots()):
        assert f"{value} is " in text


def test_values_come_with_their_range_and_meaning() -> None:
    text = starting_study("toy")
    assert "## core.width is 32, a whole number from 4 to 64: In tokens, from 4 to 64.\n" in text
    assert "{part: core.width, action: VALUES, values: [19, 34, 49]}" in text
    assert "{part: mode, action: VALUES, values: [slow]}" in text
    assert "{part: looped, action: VALUES, values: [true]}" in text
    assert "## label is any, a string\n\n" in text, "nothing is known to try"
    assert "core.width: {int_uniform: [4, 64]}" in text


def test_only_metrics_that_the_base_can_score_are_offered() -> None:
    shapes, hub = starting_study("zs2"), starting_study("zs2", "org/model")
    judged = ["imaging_quality", "aesthetic_quality"]  # no network of the base stands for people's judgement
    inside = [name for name, family in METRICS.items() if family.inside]  # only AID has states and a condition
    given = ["dynamic_degree", "fvd_infinity", "jedi"]  # these need networks of one's own, or hundreds of clips
    assert [family for family in METRICS if f"##   {family} " not in shapes] == [
        *judged,
        "psnr",
        "ssim",
        *given,
        *inside,
    ]
    assert [family for family in METRICS if f"##   {family} " not in starting_study("seer")] == [
        *judged,
        *given,
        *inside,
    ]
    assert [family for family in METRICS if f"##   {family} " not in starting_study("aid")] == [*judged, *given]
    assert [family for family in METRICS if f"##   {family} " in hub] == [
        "temporal_flickering",
        "motion_smoothness",
        "warp_error",
        "motion_magnitude",
    ]
    assert all("##   video_quality " in text for text in (shapes, hub))
    assert "\ndata: {layout: prompts, " in hub, "this base brings no data"


def test_a_system_without_a_closed_range_has_no_search(monkeypatch: pytest.MonkeyPatch, write: Write) -> None:
    class Bare(Toy):
        """One slot and nothing else."""

        name: ClassVar[str] = "bare"
        core: Annotated[Boost | NoBoost, Field(discriminator="kind")] = Boost()  # type: ignore[assignment]

    monkeypatch.setitem(SYSTEMS, "bare", Bare)
    text = starting_study("bare")
    assert "search:" not in text
    assert [arm.id for arm in load(write(text)).arms] == ["control", "core=removed"]


# --------------------------------------------------------------------------------------------------- its name and place


@pytest.mark.parametrize("name", ["true", "null", "no", "1e3", "007", "1_000"])
def test_a_name_that_looks_like_something_else_is_kept(name: str, write: Write) -> None:
    assert load(write(starting_study("toy", name=name))).study.name == name


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"system": "zs3"}, "system: zs3 -> zs2, seer, exvideo, aid, toy (did you mean zs2?)"),
        ({"system": "zs2", "base": "shape"}, "did you mean shapes?"),
        ({"system": "zs2", "base": "./nowhere"}, "no such folder"),
        ({"system": "zs2", "name": "A b"}, "name: A b -> a folder name"),
        ({"system": "zs2", "name": "references"}, "name: references -> another name"),
    ],
)
def test_what_no_study_can_have_is_refused(arguments: dict[str, str], message: str) -> None:
    with pytest.raises(ValueError, match=re.escape(message)):
        starting_study(**arguments)


@pytest.mark.parametrize("folder", ["", "studies", "studies/deep"])
def test_the_first_line_leads_to_the_schema(folder: str, tmp_path: Path) -> None:
    first = starting_study("zs2", folder=tmp_path / folder).splitlines()[0]
    prefix = "# yaml-language-server: $schema="
    assert first.startswith(prefix)
    found = os.path.normpath(tmp_path / folder / first.removeprefix(prefix))
    assert Path(found) == Path(sweeps.__file__).with_name("study.schema.json")


def test_a_file_is_written_once(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "study.yaml"
    write("µ: 1\n", path)
    assert path.read_text(encoding="utf-8") == "µ: 1\n"
    with pytest.raises(ValueError, match=r"study\.yaml already exists -> another name"):
        write("b: 2\n", path)
    assert path.read_text(encoding="utf-8") == "µ: 1\n"


def test_nothing_heavy_is_imported() -> None:
    done = fresh("from sweeps.study.starter import starting_study; starting_study('zs2')")
    assert not {"torch", "ray", "mlflow", "optuna", "diffusers", "transformers"} & done.packages


# ------------------------------------------------------------------------------------------------------- values to try

numbers = st.floats(1e-6, 1e6)
quick = settings(max_examples=40, deadline=None, derandomize=True, database=None)


@quick
@given(bounds=st.tuples(numbers, numbers, numbers).map(sorted), negative=st.booleans())
def test_values_and_domains_stay_in_a_closed_range(bounds: list[float], negative: bool) -> None:
    low, default, high = (-bound for bound in reversed(bounds)) if negative else bounds
    assume(low < high)
    part = create_model(
        "Any", __base__=Part, kind=(str, "any"), value=(Annotated[float, Field(ge=low, le=high)], default)
    )()
    values = nearby_values(part, "value")
    assert all(low <= value <= high and value != default for value in values)
    assert len(set(values)) == len(values)
    found = search_domain(part, "value")
    ends = domain(found).extremes()
    assert found is not None
    assert low <= ends[0] <= default <= ends[1] <= high
    assert ends[1] >= (low + high) / 2


@quick
@given(default=numbers)
def test_values_around_a_default_whose_range_is_open(default: float) -> None:
    part = create_model("Any", __base__=Part, kind=(str, "any"), value=(Annotated[float, Field(gt=0)], default))()
    less, more = nearby_values(part, "value")
    assert math.isclose(less, default / 2, rel_tol=0.05)
    assert math.isclose(more, default * 2, rel_tol=0.05)
    assert search_domain(part, "value") is None
