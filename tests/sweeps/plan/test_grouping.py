"""Groups of clips in a study: what is wrong with them is told before anything runs."""

from collections.abc import Callable
from pathlib import Path

import pytest

from sweeps.plan import load, requirements
from sweeps.plan.diff import differences
from trainables.data import _entries
from trainables.grouping import Grouping, Rule

Write = Callable[[str | bytes], Path]
Problems = Callable[[str | bytes], list[tuple[int, str, str]]]

ZS2 = """\
name: groups
system: zs2
base: shapes
metrics: [clip_score]
seeds: 4
ablations: [{part: noise, action: REMOVE}]
"""
SEER = ZS2.replace("zs2", "seer").replace("part: noise", "part: text_decomposer") + "training: {steps: 2}\n"


def test_a_column_is_a_grouping_and_no_part_of_a_cell(write: Write) -> None:
    plain, grouped = load(write(ZS2)), load(write(ZS2 + "by: category\n"))
    assert grouped.study.by == Grouping(column="category", least=8)
    assert all(spec.by == grouped.study.by for spec in grouped.specs.values())
    assert [cell.id for cell in plain.cells] == [cell.id for cell in grouped.cells]
    (change,) = differences(plain, grouped).keys
    assert (change.path, change.old) == ("by", None)


def test_a_study_with_groups_reads_back_as_it_was(write: Write) -> None:
    study = load(write(f"{ZS2}by: {{column: shape, subsets: {{two: {{column: motions, at_least: 2}}}}}}\n")).study
    assert load(write(study.to_yaml())).study.by == study.by


def test_subsets_have_a_rule_each(write: Write) -> None:
    rules = "fast: {column: motion_magnitude, above_quantile: 0.75}, two: {column: motions, at_least: 2}"
    by = load(write(f"{SEER}by: {{least: 4, subsets: {{{rules}}}}}\n")).study.by
    assert by is not None
    assert by.subsets == {
        "fast": Rule(column="motion_magnitude", above_quantile=0.75),
        "two": Rule(column="motions", at_least=2.0),
    }
    assert (by.column, by.least, by.columns, by.needs_motion) == (None, 4, ("motions",), True)


WRONG = {
    "no such column": ("by: categry\n", "by.column", "categry is no column of the annotations -> category, shape, col"),
    "nothing": ("by: {}\n", "by", "{} -> a column, or subsets with a rule each"),
    "the name of the rules": ("by: subset\n", "by", "{column: subset} -> a column of another name: subset is"),
    "a number": ("by: 3\n", "by", "3 -> a column of the annotations, such as category, or a map"),
    "unknown key": ("by: {column: shape, leest: 3}\n", "by.leest", "unknown key -> column, least, subsets (did you"),
    "more than there are": ("by: {column: shape, least: 64}\n", "by.least", "64, and 4 seeds of 8 clips have 32 -> "),
    "one clip": ("by: {column: shape, least: 1}\n", "by.least", "1 -> at least 2"),
    "no condition": (
        "by: {subsets: {a: {column: motions}}}\n",
        "by.subsets.a",
        "{column: motions} -> exactly one of above_",
    ),
    "two conditions": (
        "by: {subsets: {a: {column: motions, at_least: 1, at_most: 2}}}\n",
        "by.subsets.a",
        "{column: motions, at_least: 1, at_most: 2} -> exactly one of above_quantile, below_quantile, at_least, at_",
    ),
    "no share": (
        "by: {subsets: {a: {column: motions, above_quantile: 75}}}\n",
        "by.subsets.a.above_quantile",
        "75 -> ",
    ),
    "no column of a rule": (
        "by: {subsets: {a: {column: objects, at_least: 2}}}\n",
        "by.subsets.a.column",
        "objects is no column of the annotations -> category, shape, colour, motions, motion_magnitude",
    ),
    "words": ("by: {subsets: {a: {column: shape, at_least: 2}}}\n", "by.subsets.a.column", "shape has no numbers -> "),
    "no true clip": (
        "by: {subsets: {a: {column: motion_magnitude, at_most: 0.1}}}\n",
        "by.subsets.a",
        "motion_magnitude is that of the true clip, and zs2 continues no clips -> a column of the annotations, or a",
    ),
    "prompts alone": (
        "by: category\ndata: {layout: prompts, prompts: [a]}\n",
        "by.column",
        "category is no column of the annotations -> data with annotated clips: prompts has no categories",
    ),
}


@pytest.mark.parametrize("name", WRONG)
def test_one_mistake(name: str, problems: Problems) -> None:
    text, path, message = WRONG[name]
    ((line, found, told),) = problems(ZS2 + text)
    assert (line, found) == (7, path)
    assert told.startswith(message), told


def test_mistakes_of_groups_hide_no_others(problems: Problems) -> None:
    text = (
        "by: {least: 64, column: x, subsets: {a: {column: motions}, b: {column: y, at_least: 1}, c: {at_least: 2}}}\n"
    )
    found = [path for _, path, _ in problems(ZS2.replace("clip_score", "clip_scor") + text)]
    assert sorted(set(found)) == [
        "by.column",
        "by.least",
        "by.subsets.a",
        "by.subsets.b.column",
        "by.subsets.c",
        "metrics[0]",
    ]


@pytest.fixture
def dataset(tmp_path: Path) -> Callable[[str, str], str]:
    """Writes annotations, and gives the lines of a study that uses them."""

    def put(header: str, row: str) -> str:
        folder = tmp_path / "clips"
        folder.mkdir(exist_ok=True)
        lines = [
            f"path,text{header}",
            *(f"{k}.mp4,clip {k}{row if k % 2 else row.replace('a', '')}" for k in range(20)),
        ]
        (folder / "captions.csv").write_text("\n".join(lines))
        _entries.cache_clear()
        return f"data: {{layout: captions, path: {folder}, held_out: 0.5}}\n"

    return put


def test_a_missing_column_is_found_without_reading_all_annotations(
    dataset: Callable[[str, str], str], problems: Problems
) -> None:
    ((line, path, message),) = problems(ZS2 + dataset(",verb", ",b") + "by: category\n")
    assert (line, path, message) == (8, "by.column", "category is no column of the annotations -> verb")
    assert problems(ZS2 + dataset(",category", ",b") + "by: category\n") == []


def test_clips_without_a_category_are_told_before_a_run(dataset: Callable[[str, str], str], write: Write) -> None:
    data = dataset(",category,objects", ",a,a")
    text = f"{ZS2}{data}by: {{column: category, subsets: {{many: {{column: objects, at_least: 2}}}}}}\n"
    found = requirements(load(write(text)))
    assert [(problem.line, problem.path) for problem in found] == [(8, "by.column"), (8, "by.subsets.many.column")]
    assert "clips have no category, such as " in found[0].message
    assert found[0].message.endswith(" -> a category for each of them, or another column")
    assert "clips have a objects that is no number" in found[1].message
    assert requirements(load(write(ZS2 + dataset(",category", ",b") + "by: category\n"))) == []


def test_data_elsewhere_are_not_asked(problems: Problems) -> None:
    assert problems(ZS2 + "data: {layout: captions, path: no/such}\nby: category\n") == []
