"""Notes on papers to studies: the published one gives drafts of shipped studies, and says what it leaves open."""

import time
from pathlib import Path

import pytest
import yaml
from hypothesis import example, given, settings
from hypothesis import strategies as st

from models import SYSTEMS
from sweeps.importer import read_plans
from sweeps.importer.documents import Suggestion, read_documents
from sweeps.importer.draft import draft, file_names, write
from sweeps.importer.meaning import lexicon
from sweeps.importer.notes import question_of_note
from sweeps.importer.questions import Question, Source
from sweeps.plan import load
from sweeps.study.document import SpecError

ROOT = Path(__file__).resolve().parents[3]
NOTE = ROOT / "tests" / "data" / "plans" / "003_af67a135ea7ff5b0.txt"


@pytest.fixture(scope="module")
def imported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("imported")
    write(file_names(read_plans([NOTE]).questions), folder)
    return folder


def said(sentence: str, system: str = "aid") -> Question:
    (document,) = read_documents(NOTE)
    return question_of_note(Source(document, Suggestion("next checks, 1", "", "", text=sentence)), system)


def asked(question: Question) -> list[str]:
    return [todo.asked for todo in question.todos]


# --------------------------------------------------------------------------------------------------- the published note

LEFT_OPEN = {
    "aid-state-accuracy": ["which llava", "which arms"],
    "aid-condition": [],
    "aid-adapters": [],
    "aid-length": ["which other methods"],
    "aid-categories": ["which arms"],
    "aid-complex-temporal-dynamics": ["which clips have complex temporal dynamics", "which other methods"],
    "aid-baselines": ["which other methods"],
}


def test_the_experiments_checks_and_open_questions_of_the_note_are_seven_drafts(imported: Path) -> None:
    drafts = {file.stem: yaml.safe_load(file.read_text()) for file in imported.iterdir()}
    assert {name: [todo["asked"] for todo in study.get("todo", [])] for name, study in drafts.items()} == LEFT_OPEN


@pytest.mark.parametrize("name", LEFT_OPEN)
def test_a_draft_of_the_note_is_valid_but_for_what_it_leaves_open(name: str, imported: Path) -> None:
    places = []
    try:
        load(imported / f"{name}.yaml")
    except SpecError as error:
        places = [problem.path for problem in error.problems]
    assert places == [f"todo[{number}]" for number in range(len(LEFT_OPEN[name]))]


@pytest.mark.parametrize(
    ("name", "shipped", "keys"),
    [
        ("aid-adapters", "adapters", {"metrics": ["fvd"]}),
        ("aid-condition", "condition", {"metrics": ["condition_frame", "condition_phase"]}),
        ("aid-state-accuracy", "state_accuracy", {"metrics": ["state_accuracy"]}),
        ("aid-length", "length", {"metrics": ["fvd"]}),
        ("aid-categories", "content_types", {"metrics": ["fvd"], "by": "category"}),
        ("aid-complex-temporal-dynamics", "complex_motion", {"metrics": ["fvd"]}),
        ("aid-baselines", "baselines", {"metrics": ["fvd"]}),
    ],
)
def test_what_a_draft_of_the_note_asks_is_asked_by_a_shipped_study(
    name: str, shipped: str, keys: dict[str, object], imported: Path
) -> None:
    mine = yaml.safe_load((imported / f"{name}.yaml").read_text())
    study = yaml.safe_load((ROOT / "sweeps" / "aid" / f"{shipped}.yaml").read_text())
    assert {key: mine[key] for key in keys} == keys
    assert set(mine["metrics"]) <= set(study["metrics"])
    removed = [(ablation["part"], ablation["action"]) for ablation in mine.get("ablations", [])]
    assert set(removed) <= {(ablation["part"], ablation["action"]) for ablation in study.get("ablations", [])}
    assert mine.get("by") in (None, study.get("by", {}).get("column"))
    lengths = [
        block["protocol"]["frames"] for block in study.get("profiles", {}).get("full", {}).get("blocks", {}).values()
    ]
    assert [block["protocol"]["frames"] for block in mine.get("blocks", {}).values()] == lengths


def test_an_experiment_and_a_check_with_the_same_question_are_one_draft(imported: Path) -> None:
    text = (imported / "aid-adapters.yaml").read_text()
    for source in ("first 3 experiments, 3", "next checks, 2", "line 89, sha256 ", "line 117, sha256 "):
        assert source in text
    study = yaml.safe_load(text)
    assert [ablation["part"] for ablation in study["ablations"]] == [
        "spatial_adapter", "short_term_adapter", "long_term_adapter",
    ]  # fmt: skip
    assert study["question"] == "What does each adapter type contribute to fvd?"


def test_a_draft_of_the_note_says_what_else_the_note_was_about(imported: Path) -> None:
    text = (imported / "aid-length.yaml").read_text()
    assert "# asked of Bridge, here of the base's clips -> data: {layout: bridge, path: ...}" in text
    assert "# the lengths are the note's; shapes_video has clips of 8 frames" in text


def test_an_open_question_keeps_its_line_and_its_whole_paragraph(tmp_path: Path) -> None:
    (tmp_path / "note.md").write_text(
        "# AID\n\n- First 2 experiments:\n  1. Measure FVD\n\n## Open Questions\n\n"
        "### Open Question 1\nHow long?\nUp to 64 frames.\n\nOther text.\n\n"
        "### Open Question 2\n\n## Next Checks\n1. b\n"
    )
    (document,) = read_documents(tmp_path / "note.md")
    assert [(entry.name, entry.text, entry.line) for entry in document.suggestions] == [
        ("first 2 experiments, 1", "Measure FVD", 4),
        ("open question 1", "How long? Up to 64 frames.", 9),
        ("next checks, 1", "b", 17),
    ]


# ----------------------------------------------------------------------------------------------------------- sentences


@pytest.mark.parametrize(
    ("system", "sentence", "parts"),
    [
        ("aid", "FVD with and without each adapter", ["spatial_adapter", "short_term_adapter", "long_term_adapter"]),
        ("aid", "FVD without all adapters", ["spatial_adapter", "short_term_adapter", "long_term_adapter"]),
        ("aid", "with and without each adapter type (spatial and long-term)", ["spatial_adapter", "long_term_adapter"]),
        (
            "aid",
            "with and without each adapter type (e.g., spatial)",
            ["spatial_adapter", "short_term_adapter", "long_term_adapter"],
        ),
        ("aid", "FVD without the DQFormer, on Bridge", ["condition"]),
        ("aid", "Isolate the contribution of the LT-Adapter. Then measure FVD", ["long_term_adapter"]),
        ("aid", "FVD without DQFormer, and without predicted states", ["condition", "states"]),
        ("seer", "Report FVD with and without the FSText module", ["text_decomposer"]),
        ("zs2", "removing the dependency noise model", ["noise"]),
    ],
)  # fmt: skip
def test_what_a_sentence_compares_with_and_without_is_removed(system: str, sentence: str, parts: list[str]) -> None:
    question = said(sentence, system)
    assert question.ablations == [{"part": part, "action": "REMOVE"} for part in parts]
    assert question.todos == []


@pytest.mark.parametrize(
    ("sentence", "open_decisions"),
    [
        ("Measure FVD with and without the optical flow head", ["REMOVE the optical flow head", "which arms"]),
        ("Measure FVD without the adapter", ["REMOVE the adapter", "which arms"]),
        ("Measure FVD", ["which arms"]),
        ("Compare with state-of-the-art methods", ["which other methods"]),
        ("Test clips with many hands in them", ["which clips have many hands", "which arms"]),
        ("Read the paper again", ["Read the paper again"]),
    ],
)
def test_what_a_sentence_leaves_open_is_to_settle(sentence: str, open_decisions: list[str], tmp_path: Path) -> None:
    question = said(sentence)
    assert asked(question) == open_decisions
    ((name, _),) = file_names([question]).items()
    assert len(name) <= 40
    (tmp_path / "study.yaml").write_text(draft(name, question, tmp_path))
    with pytest.raises(SpecError) as error:
        load(tmp_path / "study.yaml")
    assert {problem.path.partition("[")[0] for problem in error.value.problems} <= {"todo", "metrics"}


@pytest.mark.parametrize(
    ("sentence", "lengths"),
    [
        ("longer videos (e.g., 32 or 64 frames)", [32, 64]),
        ("clips of 16, 32, and 64 frames", [16, 32, 64]),
        ("64-frame clips beside 16-frame ones", [16, 64]),
        ("beyond 16 frames, without DQFormer", []),
        ("1.5 frames, 91.2% and 55 steps", []),
        ("1 or 24 frames", [24]),
    ],
)
def test_several_numbers_of_frames_are_blocks(sentence: str, lengths: list[int]) -> None:
    question = said(sentence)
    assert [block["protocol"]["frames"] for block in question.blocks.values()] == lengths
    assert ("1 frames" in asked(question)) == sentence.startswith("1 or")


def test_methods_that_are_systems_here_are_named() -> None:
    (todo,) = said("Compare FVD with the baseline Seer").todos
    assert (todo.asked, todo.reason) == (
        "which other methods",
        "seer named -> arms with their own system, such as seer",
    )
    assert said("Compare with baselines", "zs2").todos[0].reason == "none named -> arms with their own system"


def test_what_a_system_does_not_have_is_not_measured() -> None:
    assert said("Test the prediction accuracy and FVD").metrics == ["fvd", "state_accuracy"]
    assert said("Test the prediction accuracy and FVD", "seer").metrics == ["fvd"]


def test_a_plan_that_removes_each_adapter_is_named_by_them(tmp_path: Path) -> None:
    (tmp_path / "plan.jsonl").write_text(
        '{"name": "a", "ablated_part": "each adapter", "action": "REMOVE", "metrics": ["FVD"]}'
    )
    ((name, question),) = file_names(read_plans([tmp_path / "plan.jsonl"], "aid").questions).items()
    assert name == "aid-adapters"
    assert list(question.changes)[-1] == "none"
    assert "question: What does each of its adapters contribute?" in draft(name, question, tmp_path)
    assert lexicon(SYSTEMS["aid"]).part("the adapter").targets == ()


_PHRASES = st.sampled_from(
    ["with and without", "before and after", "each adapter type", "(spatial, long-term)", "DQFormer", "MLLM", "FVD"]
    + ["prediction accuracy", "on the Bridge dataset", "1", "16", "64", "or", "frames", "videos with", "complex motion"]
    + ["baseline", "Seer", "content types", "contribution of", ".", "?", "adaptation"]
)


@settings(max_examples=60, deadline=None)
@given(st.one_of(st.lists(_PHRASES, min_size=1, max_size=30).map(" ".join), st.text(min_size=1, max_size=200)))
@example("0\n")
@example("0\x1f")
@example('0 "a" \\b')
def test_any_sentence_is_a_draft_that_changes_what_it_may_and_leaves_the_rest_open(sentence: str) -> None:
    for system in SYSTEMS:
        question = said(sentence, system)
        assert question.todos or question.changes
        assert question.topic
        assert question.wording
        for changes in question.changes.values():
            SYSTEMS[system]().edit(changes)
        text = draft("study", question, Path())
        assert yaml.safe_load(text)["question"] == question.wording


@pytest.mark.parametrize(
    "sentence",
    ["without ", "without x ", "1 or ", "videos with a ", "the A ", "each adapter (", "each (e.g. a) adapter "],
)
def test_long_sentences_take_no_minutes(sentence: str) -> None:
    began = time.perf_counter()
    said(sentence * 5_000)
    assert time.perf_counter() - began < 20
