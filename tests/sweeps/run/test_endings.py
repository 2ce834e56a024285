import signal

import pytest

from sweeps.run.endings import EndingSignals, own_sigterm


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGHUP, 129), (signal.SIGINT, 130)])
def test_a_signal_ends_like_ctrl_c_with_a_code_of_its_own(number: int, code: int) -> None:
    before, signals = signal.getsignal(number), EndingSignals()
    with pytest.raises(KeyboardInterrupt), signals:
        signal.raise_signal(number)
    assert signals.exit_code == code
    assert signal.getsignal(number) is before


def test_a_second_one_does_not_disturb_the_end() -> None:
    cleaned = []

    def clean_up() -> None:
        try:
            signal.raise_signal(signal.SIGTERM)
        finally:
            signal.raise_signal(signal.SIGTERM)
            cleaned.append(True)

    with pytest.raises(KeyboardInterrupt), EndingSignals():
        clean_up()
    assert cleaned


def test_what_is_ignored_stays_ignored() -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with EndingSignals():
            signal.raise_signal(signal.SIGHUP)
    finally:
        signal.signal(signal.SIGHUP, before)


def ends_while_ray_starts() -> None:
    with own_sigterm():
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        raise SystemExit(signal.SIGTERM)  # as Ray's handler does


def test_the_handler_that_ray_installs_does_not_stay() -> None:
    signals = EndingSignals()
    with signals:
        ours = signal.getsignal(signal.SIGTERM)
        with own_sigterm():
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
        assert signal.getsignal(signal.SIGTERM) == ours
        with pytest.raises(SystemExit), own_sigterm():
            raise SystemExit(1)
        with pytest.raises(KeyboardInterrupt):
            ends_while_ray_starts()
    assert signals.exit_code == 143


def test_without_our_handler_rays_stays() -> None:
    before = signal.getsignal(signal.SIGTERM)
    try:
        with own_sigterm():
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
        assert signal.getsignal(signal.SIGTERM) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGTERM, before)
