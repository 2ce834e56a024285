"""The page of inputs is the tables of the tests, and every table is tested."""

import re
from pathlib import Path

import pytest

from tests.factories import ROOT
from tests.inputs.page import CHAPTERS, page

PAGE = ROOT / "docs/inputs.md"


def test_the_page_is_made_from_the_tables(request: pytest.FixtureRequest) -> None:
    if request.config.getoption("--update"):
        PAGE.write_text(page(), encoding="utf-8")
    assert page() == PAGE.read_text(encoding="utf-8"), "renew it with pytest --update, and read the difference"


@pytest.mark.parametrize("name", [name for tables in CHAPTERS.values() for name in tables])
def test_every_table_is_tested(name: str) -> None:
    (table,) = [tables[name] for tables in CHAPTERS.values() if name in tables]
    file, function = table.tested.split("::")
    code = (ROOT / "tests" / file).read_text(encoding="utf-8")
    assert re.search(rf"^@(\w+\.)?{name}\.parameters\ndef {function}\(case: Case,", code, re.MULTILINE)
    given = [case.given for case in table.cases]
    assert len(set(given)) == len(given)


def test_every_row_of_videos_is_tested() -> None:
    code = Path(ROOT / "tests/trainables/data/test_video.py").read_text(encoding="utf-8")
    assert "for ending, codecs in WRITTEN.items()" in code
    assert '@pytest.mark.parametrize("form", FORMS' in code
