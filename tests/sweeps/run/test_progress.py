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


@pytest.mark.parametrize(("seconds", "words"), [(0.4, "0 s"), (59, "59 s"), (61, "1 min 1 s"), (7500, "2 h 5 min")])
def test_duration(seconds: float, words: str) -> None:
    assert duration(seconds) == words
