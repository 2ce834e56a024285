import pytest

from sweeps.run.progress import Progress
from sweeps.study.words import duration


def test_counts_and_time_left(capsys: pytest.CaptureFixture[str]) -> None:
    now = [0.0]
    with Progress(4, clock=lambda: now[0]) as progress:
        assert "time left unknown" in progress.line()
        progress.start()
        progress.start()
        assert progress.left is None
        now[0] = 10.0
        progress.end(failed=False)
        progress.end(failed=True)
        assert progress.left == 10.0
        assert progress.line() == "1 done, 0 running, 1 failed, about 10 s left"
        progress.start()
        now[0] = 15.0
        progress.end(failed=False)
        progress.start()
        now[0] = 20.0
        progress.end(failed=False)
        assert progress.line() == "3 done, 0 running, 1 failed"
    assert "cells 4/4: 3 done, 0 running, 1 failed" in capsys.readouterr().err


def test_the_time_left_is_known_before_the_first_cell_has_ended(capsys: pytest.CaptureFixture[str]) -> None:
    now = [0.0]
    with Progress(8, clock=lambda: now[0]) as progress:
        progress.start()
        progress.start()
        now[0] = 60.0
        progress.advance(0.5)  # of one cell, by both
        assert progress.left == 60 / 0.5 * 7.5
        assert progress.line() == "0 done, 2 running with 25% of their updates, 0 failed, about 15 min 0 s left"
        progress.under_way = 0.0
        progress.end(failed=False)
        assert progress.left == 60 * 7
    assert "25% of their updates" in capsys.readouterr().err


def test_a_line_that_came_too_early_is_printed_later(capsys: pytest.CaptureFixture[str]) -> None:
    now = [0.0]
    with Progress(4, clock=lambda: now[0]) as progress:
        now[0] = 1.0
        progress.start()
        progress.tick()
        assert "1 running" not in capsys.readouterr().err
        now[0] = 6.0
        progress.tick()
        assert "1 running" in capsys.readouterr().err
        now[0] = 60.0
        progress.tick()
        assert not capsys.readouterr().err, "nothing has happened since"


@pytest.mark.parametrize(("seconds", "words"), [(0.4, "0 s"), (59, "59 s"), (61, "1 min 1 s"), (7500, "2 h 5 min")])
def test_duration(seconds: float, words: str) -> None:
    assert duration(seconds) == words
