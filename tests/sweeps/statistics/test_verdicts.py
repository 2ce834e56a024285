"""What a comparison amounts to."""

from typing import Literal

import pytest

from sweeps.statistics.paired import paired_difference
from sweeps.statistics.verdicts import Verdict, verdict


@pytest.mark.parametrize(
    ("difference", "p", "direction", "is_equivalent", "expected"),
    [
        (0.5, 0.01, "max", False, Verdict.BETTER),
        (-0.5, 0.01, "max", False, Verdict.WORSE),
        (-0.5, 0.05, "min", False, Verdict.BETTER),
        (0.5, 0.01, "min", False, Verdict.WORSE),
        (0.5, 0.01, None, False, Verdict.HIGHER),
        (-0.5, 0.01, None, False, Verdict.LOWER),
        (0.5, 0.051, "max", False, Verdict.INCONCLUSIVE),
        (0.5, 0.01, "max", True, Verdict.EQUIVALENT),
        (0.0, 1.0, None, True, Verdict.EQUIVALENT),
    ],
)
def test_verdicts(
    difference: float, p: float, direction: Literal["max", "min"] | None, is_equivalent: bool, expected: Verdict
) -> None:
    assert verdict(difference, p, direction, is_equivalent=is_equivalent) is expected


def test_one_seed_is_no_evidence() -> None:
    assert verdict(1.0, paired_difference([2.0], [1.0]).p_value, "max") is Verdict.INCONCLUSIVE
