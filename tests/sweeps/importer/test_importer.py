"""Plans in prose to studies: the published ones give the shipped studies' arms, and nothing makes it fall over."""

import json
import time
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from models import SYSTEMS
from sweeps.__main__ import app
from sweeps.importer import Imported, read_plans
from sweeps.importer.documents import read_documents
from sweeps.importer.draft import draft, file_names, write
from sweeps.importer.encoding import decode
from sweeps.importer.meaning import Target, lexicon, words_of
from sweeps.plan import load
from sweeps.study.document import SpecError

ROOT = Path(__file__).resolve().parents[3]
PLANS = ROOT / "tests" / "data" / "plans"
runner = CliRunner()


def arms(study: Path) -> list[str]:
    """What each arm of a study is, as its tree."""
    return [
        arm.system.model_dump_json() for arm in load(study).arms if not arm.part.startswith(("prediction", "trainable"))
    ]


@pytest.fixture(scope="module")
def imported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("imported")
    write(file_names(read_plans(sorted(PLANS.iterdir())).questions), folder)
    return folder


@pytest.mark.parametrize(
    ("mine", "shipped"),
    [
        ("zs2-attention", "zs2/temporal_momentum"),
        ("zs2-noise", "zs2/noise_search"),
        ("zs2-components", "zs2/components"),
        ("zs2-noise-threshold", "zs2/kl_threshold"),
    ],
)
def test_published_plans_of_zs2_are_the_shipped_studies(imported: Path, mine: str, shipped: str) -> None:
    drafted, study = load(imported / f"{mine}.yaml").study, load(ROOT / "sweeps" / f"{shipped}.yaml").study
    assert arms(imported / f"{mine}.yaml") == arms(ROOT / "sweeps" / f"{shipped}.yaml")
    assert (drafted.metrics, len(drafted.seeds)) == (study.metrics, len(study.seeds))


@pytest.mark.parametrize("part", ["temporal_attention", "text_decomposer"])
def test_published_plans_of_seer_are_the_shipped_studies(imported: Path, part: str) -> None:
    shipped = {"temporal_attention": "spatial_temporal_attention"}.get(part, part)
    drafted = load(imported / f"seer-{part.replace('_', '-')}.yaml")
    study = load(ROOT / "sweeps" / "seer" / f"{shipped}.yaml")
    # The shipped ones have two arms more, which say whether the model predicts at all.
    asked = [arm for arm in study.arms if arm.part not in ("prediction", "trainable")]
    assert [(arm.id, arm.changes) for arm in drafted.arms] == [(arm.id, arm.changes) for arm in asked]
    assert drafted.study.metrics == study.study.metrics


def test_of_a_system_that_is_not_here_everything_is_to_settle(tmp_path: Path) -> None:
    note = (PLANS / "003_af67a135ea7ff5b0.txt").read_text(encoding="utf-8")
    for known, other in (("AID", "QRS"), ("Adapting Image2Video", "Altering Image2Video")):
        note = note.replace(known, other)
    (tmp_path / "note.txt").write_text(note.replace("nstruction-guided", "nformed"), encoding="utf-8")
    write(file_names(read_plans([tmp_path / "note.txt"]).questions), tmp_path / "drafts")
    with pytest.raises(SpecError) as error:
        load(tmp_path / "drafts" / "qrs.yaml")
    places = [problem.path for problem in error.value.problems]
    assert "system" in places
    assert [f"todo[{number}]" in places for number in range(9)] == [True] * 9


@pytest.mark.parametrize(
    ("part", "arms_of_it"), [("identity_conv", ["identity_conv=removed"]), ("position", ["position=static"])]
)
def test_published_plans_of_exvideo(imported: Path, part: str, arms_of_it: list[str]) -> None:
    drafted = load(imported / f"exvideo-{part.replace('_', '-')}.yaml")
    assert [arm.id for arm in drafted.arms] == ["control", *arms_of_it]
    assert (drafted.study.base, drafted.cells[0].spec.protocol.frames) == ("shapes_video", 24)
    shipped = load(ROOT / "sweeps" / "exvideo" / f"{part}.yaml")
    # The shipped ones have arms more: the base without the extension, and no position at all.
    asked = [arm for arm in shipped.arms if arm.part in ("", part) and arm.id != "position=removed"]
    assert [(arm.id, arm.changes, arm.system.model_copy(update={"training": None})) for arm in drafted.arms] == [
        (arm.id, arm.changes, arm.system.model_copy(update={"training": None})) for arm in asked
    ]
    assert {"temporal_flickering", "video_quality", "motion_smoothness"} <= set(shipped.study.metrics)
    text = (imported / f"exvideo-{part.replace('_', '-')}.yaml").read_text()
    assert "not measured" not in text
    assert "metrics: [video_quality, temporal_flickering, motion_smoothness]" in text
    assert ("position=learnable is identical to the control: not run twice" in text) == (part == "position")


def test_every_arm_has_its_source_and_what_was_repaired(imported: Path) -> None:
    text = (imported / "zs2-attention.yaml").read_text()
    assert "o3-mini: Temporal Momentum Attention Ablation: REPLACE" in text
    assert "001_1cbec8c59b6f2b4b.txt, line 23, sha256 6e349491e177df53 (encoded twice: repaired)" in text
    assert "attention.mu=0.98 is identical to the control: not run twice" in text
    assert "mu = 0 is self-attention" in text


# ------------------------------------------------------------------------------------------------------------- meaning


def entry(**fields: Any) -> str:
    return json.dumps({"name": "a", "ablated_part": "TMA", "action": "REMOVE", "metrics": ["CLIP score"], **fields})


VALUES = {"part": "attention.mu", "action": "VALUES"}
REPLACE = {"part": "attention", "action": "REPLACE"}


def asked(tmp_path: Path, *lines: str, system: str = "zs2", file: str = "plan.jsonl") -> Imported:
    (tmp_path / file).write_text("\n".join(lines), encoding="utf-8")
    return read_plans([tmp_path / file], system)


@pytest.mark.parametrize(
    ("system", "phrase", "paths"),
    [
        (
            "zs2",
            "Temporal Momentum Attention (TMA) module that balances self-attention and cross-frame attention",
            ["attention"],
        ),
        ("zs2", "The proposed TMA", ["attention"]),
        ("zs2", "momentum coefficient µ in temporal momentum attention", ["attention.mu"]),
        ("zs2", "μ", ["attention.mu"]),
        ("zs2", "KL divergence thresholds λ in dependency noise model", ["noise.threshold"]),
        ("zs2", "Dependency Noise Model (DNM)", ["noise"]),
        ("zs2", "Effect of the dependency-noise model", ["noise"]),
        ("zs2", "all key components", ["noise", "attention"]),
        ("zs2", "temporal momentum attention and the dependency noise model", ["attention", "noise"]),
        ("zs2", "attention.mu", ["attention.mu"]),
        ("seer", "FSText", ["text_decomposer"]),
        ("seer", "number of reference frames", ["references"]),
        ("seer", "granularity of the text decomposer", ["text_decomposer.every"]),
        ("zs2", "noise schedule of the dependency noise model", []),
        ("zs2", "learning rate", []),
        ("zs2", "the method", []),
        ("zs2", "VAE decoder", []),
    ],
)
def test_a_phrase_means_what_its_first_words_name_and_else_nothing(system: str, phrase: str, paths: list[str]) -> None:
    meaning = lexicon(SYSTEMS[system]).part(phrase)
    assert [target.path for target in meaning.targets] == paths
    if not paths:
        assert meaning.reason
        assert all(0 <= score <= 1 for score in meaning.candidates.values())


@pytest.mark.parametrize(
    ("replacement", "ablation"),
    [
        ([0.5, 1], VALUES | {"values": [0.5, 1.0]}),
        (["TMA with µ values: 0.6, 0.8 and 0.98"], VALUES | {"values": [0.6, 0.8, 0.98]}),
        (["mu ∈ {0.1, 0.2}"], VALUES | {"values": [0.1, 0.2]}),
        (["plain self-attention"], REPLACE | {"with": ["removed"]}),
        (["cross-frame attention (μ = 1)"], REPLACE | {"with": {"cross_frame": {"mu": 1.0}}}),
        (["previous_frame, μ=0.5"], REPLACE | {"with": {"previous_frame": {"kind": "previous_frame", "mu": 0.5}}}),
        ([{"mu": 0.3}], REPLACE | {"with": {"mu_0.3": {"mu": 0.3}}}),
        (["{'mu': 0.3}"], REPLACE | {"with": {"mu_0.3": {"mu": 0.3}}}),
    ],
)
def test_what_comes_instead(replacement: list[Any], ablation: dict[str, Any], tmp_path: Path) -> None:
    (question,) = asked(tmp_path, entry(action="REPLACE", replacement=replacement)).questions
    assert question.todos == []
    assert question.ablations == [ablation]
    (tmp_path / "study.yaml").write_text(draft("study", question, tmp_path))
    assert len(load(tmp_path / "study.yaml").arms) >= 2


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"action": "REPLACE"}, "REPLACE without a replacement"),
        ({"action": "REPLACE", "replacement": []}, "REPLACE without a replacement"),
        ({"action": "REPLACE", "replacement": ["something better"]}, "no kind of attention matches"),
        ({"action": "REPLACE", "replacement": [1.7]}, "a number from 0 to 1"),
        ({"action": "REPLACE", "replacement": [{"sigma": 1}]}, "sigma: no such value of attention=momentum"),
        ({"action": "REPLACE", "replacement": ["self-attention or cross-frame"]}, "several kinds match"),
        ({"action": "REPLACE", "replacement": [None, True]}, "neither a number nor a phrase"),
        (
            {"action": "REPLACE", "replacement": [0.5], "ablated_part": "noise model"},
            "a number, but noise has 3 values",
        ),
        ({"action": "SHUFFLE"}, "action SHUFFLE -> REMOVE, REPLACE or ADD"),
        ({"action": ""}, "action missing -> REMOVE, REPLACE or ADD"),
        ({"ablated_part": ""}, "no part is named"),
        ({"ablated_part": "the optical flow head"}, "no slot or value of zs2 matches"),
        ({"ablated_part": "momentum coefficient"}, "attention.mu is a value (0.98 by default)"),
    ],
)
def test_what_is_not_known_is_to_settle_and_never_guessed(fields: dict[str, Any], reason: str, tmp_path: Path) -> None:
    (question,) = asked(tmp_path, entry(**fields)).questions
    assert any(reason in todo.reason for todo in question.todos), question.todos
    (tmp_path / "study.yaml").write_text(draft("study", question, tmp_path))
    with pytest.raises(SpecError) as error:
        load(tmp_path / "study.yaml")
    assert any(problem.path.startswith("todo[0]") for problem in error.value.problems)


def test_several_planners_who_ask_the_same_are_one_study_with_their_votes(tmp_path: Path) -> None:
    for planner, replacement in (("one", [0, 0.5]), ("two", [0.5, 1]), ("three", ["cross-frame attention"])):
        (tmp_path / f"{planner}.jsonl").write_text(entry(action="REPLACE", replacement=replacement))
    (tmp_path / "four.jsonl").write_text(
        entry(ablated_part="μ", action="REPLACE", replacement=[0.5], metrics=["FID", "beauty"])
    )
    (question,) = read_plans([tmp_path], "zs2").questions
    assert question.votes == 4
    assert question.metrics == ["fid", "clip_score"]
    assert question.unmeasured == ["beauty"]
    values = {value for ablation in question.ablations for value in ablation.get("values", [])}
    assert values == {0.0, 0.5, 1.0}
    assert "Imported from 4 planners" in draft("study", question, tmp_path)


def test_other_questions_stay_apart(tmp_path: Path) -> None:
    found = asked(
        tmp_path,
        entry(),
        entry(name="b", ablated_part="dependency noise"),
        entry(name="c", action="REPLACE", replacement=[0.5]),
    )
    assert [(question.topic, question.action) for question in found.questions] == [
        ("attention", "REMOVE"), ("noise", "REMOVE"), ("attention", "REPLACE"),
    ]  # fmt: skip


# ----------------------------------------------------------------------------------------------------------- bad input


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "empty"),
        (b" \n\t\n", "empty"),
        (b"\x89PNG\r\n\0\0\0", "binary, not text"),
        (b"<!DOCTYPE html><html><body>hello</body></html>", "an HTML page"),
        (b"A letter to my aunt.", "no plan"),
        (b"<h2>Ablation Plan</h2>\nnothing here", "the plan has no entries"),
        (b'{"name": "a", "action": "REMOVE"}', "line 1: a: without ablated_part"),
        (b'{"name": "a", "ablated_part": "TMA"}', "line 1: a: without action"),
        (b'{"name": "a"\n{"ablated_part": "TMA", "action": "REMOVE"}', "line 1: not JSON"),
        (b"[1, 2]", "a map with name"),
        (b"{" * 100_000, "not JSON"),
        (entry().encode() + b"\n" + entry(action="ADD").encode(), "line 2: a is also on line 1, with other content"),
        ("### x\n".encode("utf-16"), "no plan"),
    ],
)
def test_documents_of_all_kinds_are_answered_in_words(content: bytes, said: str, tmp_path: Path) -> None:
    (tmp_path / "plan.md").write_bytes(content)
    found = read_plans([tmp_path / "plan.md"], "zs2")
    assert any(said in problem for problem in found.documents[0].problems), found.documents[0].problems
    done = runner.invoke(app, ["import", str(tmp_path / "plan.md"), "-o", str(tmp_path / "out")])
    assert done.exit_code == (0 if found.questions else 2), done.output
    assert done.exception is None or isinstance(done.exception, SystemExit)


@given(st.one_of(st.binary(max_size=300), st.text(max_size=300).map(lambda text: text.encode("utf-8", "replace"))))
def test_no_bytes_make_it_fall_over(tmp_path_factory: pytest.TempPathFactory, content: bytes) -> None:
    folder = tmp_path_factory.mktemp("any")
    for head in (
        b"",
        b"<h2>Ablation Plan</h2>\n### a\n- **Action**: REPLACE\n- **Ablated Part**: TMA\n- **Replacement**: ",
    ):
        (folder / "plan.md").write_bytes(head + content)
        for name, question in file_names(read_plans([folder / "plan.md"], "zs2").questions).items():
            draft(name, question, folder)


@given(st.text(st.characters(exclude_categories=["Cs", "Cc"]), max_size=200), st.integers(1, 2))
def test_text_that_was_encoded_again_comes_back(text: str, times: int) -> None:
    spoilt = text
    for _ in range(times):
        spoilt = "".join(_as_letter(byte) for byte in spoilt.encode())
    if not text.startswith("\ufeff"):
        assert decode(spoilt.encode())[0] == decode(text.encode())[0]


def _as_letter(byte: int) -> str:
    try:
        return bytes([byte]).decode("cp1252")
    except UnicodeDecodeError:  # five bytes have no letter there
        return chr(byte)


def test_a_separator_within_a_line_of_json_ends_no_line(tmp_path: Path) -> None:
    lines = [
        json.dumps({"name": name, "ablated_part": "a\u2028b", "action": "REMOVE"}, ensure_ascii=False) for name in "ab"
    ]
    (tmp_path / "plan.jsonl").write_text("\n".join(lines), encoding="utf-8-sig")
    (document,) = read_documents(tmp_path / "plan.jsonl")
    assert [(entry.name, entry.ablated_part, entry.line) for entry in document.suggestions] == [
        ("a", "a b", 1),
        ("b", "a b", 2),
    ]


def test_twice_encoded_greek_is_repaired_and_clean_text_left_alone() -> None:
    assert decode("Âµ = 0, Î» and ðŸ“‹".encode()) == ("µ = 0, λ and 📋", ["encoded twice: repaired"])
    clean = "µ = 0, λ, ZS² — “quoted” naïve café"
    assert decode(clean.encode()) == (clean, [])
    assert words_of("ZS²'s λ-thresholds") == ("zs2", "lambda", "threshold")


def test_files_that_say_something_else_are_never_overwritten(tmp_path: Path) -> None:
    command = ["import", str(PLANS), "-o", str(tmp_path)]
    assert runner.invoke(app, command).exit_code == 0
    assert runner.invoke(app, command).exit_code == 0, "the same once more"
    (tmp_path / "zs2-noise.yaml").write_text("mine")
    refused = runner.invoke(app, command)
    assert refused.exit_code == 2
    assert "zs2-noise.yaml already exists" in refused.output
    assert (tmp_path / "zs2-noise.yaml").read_text() == "mine"


def test_plans_json_of_the_planner_itself(tmp_path: Path) -> None:
    plans = {
        "zs2": {"predictions": entry() + "\n" + entry(name="b", ablated_part="DNM"), "cost": 0.1},
        "seer": {"predictions": entry(ablated_part="FSText")},
    }
    (tmp_path / "plans.json").write_text(json.dumps(plans))
    assert [document.paper for document in read_documents(tmp_path / "plans.json")] == ["zs2", "seer"]
    assert [question.topic for question in read_plans([tmp_path / "plans.json"]).questions] == [
        "attention",
        "noise",
        "text_decomposer",
    ]
    wrapped = f"<discussion>so</discussion>\n<predictions>\n{entry()}\n</predictions>"
    (question,) = asked(tmp_path, wrapped).questions
    assert question.sources[0].suggestion.line == 3


def test_an_unknown_system_is_refused() -> None:
    done = runner.invoke(app, ["import", str(PLANS), "-o", "x", "--system", "zs3"])
    assert done.exit_code == 2
    assert "did you mean zs2?" in done.output


@pytest.mark.slow
@pytest.mark.alone
def test_two_thousand_documents_take_less_than_twenty_seconds(tmp_path: Path) -> None:
    contents = [file.read_bytes() for file in sorted(PLANS.iterdir())]
    for number in range(2000):
        (tmp_path / f"{number:04d}.md").write_bytes(contents[number % len(contents)])
    began = time.perf_counter()
    done = runner.invoke(app, ["import", str(tmp_path), "-o", str(tmp_path / "out"), "--json"])
    took = time.perf_counter() - began
    assert done.exit_code == 0
    assert len(json.loads(done.stdout)["plans"]) == 2000
    assert took < 20, took


def test_targets_have_the_paths_of_studies() -> None:
    assert Target("noise").path == "noise"
    assert Target("noise", "threshold", "two_stage").path == "noise.threshold"
    assert Target("", "references").path == "references"
