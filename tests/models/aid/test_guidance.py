"""Guidance under two conditions: the formula, and branches that are not needed."""

import pytest
import torch

from models.aid import AID
from models.aid.guidance_kinds import FRAME, dual
from models.guidance import CONDITIONAL, UNCONDITIONAL, Guide
from tests.tolerance import bound

SHAPE = (2, 3, 4, 2, 2)


def predictions() -> dict[str, torch.Tensor]:
    rng = torch.Generator().manual_seed(0)
    return {
        branch: torch.randn(SHAPE, generator=rng, dtype=torch.float64) for branch in (UNCONDITIONAL, FRAME, CONDITIONAL)
    }


def guided(guide: Guide) -> torch.Tensor:
    return guide.combine(torch.stack([predictions()[branch] for branch in guide.branches]))


@pytest.mark.parametrize(("frame", "text"), [(2.0, 7.5), (1.5, 0.5), (0.0, 3.0), (3.0, 3.0), (1.0, 4.0), (2.0, 1.0)])
def test_the_formula(frame: float, text: float) -> None:
    none, seen, both = predictions().values()
    expected = none + frame * (seen - none) + text * (both - seen)
    size = float(sum(each.abs().max() for each in (none, seen, both))) * (1 + 2 * frame + 2 * text)
    atol = bound(torch.float64, 8, size)
    torch.testing.assert_close(guided(dual(frame, text)), expected, rtol=0, atol=atol)


@pytest.mark.parametrize(
    ("frame", "text", "branches"),
    [
        (2.0, 7.5, (UNCONDITIONAL, FRAME, CONDITIONAL)),
        (1.0, 7.5, (FRAME, CONDITIONAL)),
        (3.0, 3.0, (UNCONDITIONAL, CONDITIONAL)),
        (1.0, 1.0, (CONDITIONAL,)),
        (1.0, 0.0, (FRAME,)),
        (2.0, 0.0, (UNCONDITIONAL, FRAME)),
        (0.0, 0.0, (UNCONDITIONAL,)),
    ],
)
def test_only_branches_that_count_are_computed(frame: float, text: float, branches: tuple[str, ...]) -> None:
    assert dual(frame, text).branches == branches


def test_alone_a_branch_is_its_prediction() -> None:
    for scales, branch in {(1.0, 1.0): CONDITIONAL, (1.0, 0.0): FRAME, (0.0, 0.0): UNCONDITIONAL}.items():
        assert torch.equal(guided(dual(*scales)), predictions()[branch])


def test_the_kinds() -> None:
    def guide(kind: object) -> Guide:
        return AID().edit({"guidance": kind}).guidance.build(3.0, 3)

    assert torch.equal(guided(guide("dual")), guided(dual(2.0, 7.5)))
    assert torch.equal(guided(guide("frame")), guided(dual(2.0, 1.0)))
    assert torch.equal(guided(guide("text")), guided(dual(1.0, 7.5)))
    assert guide("removed").branches == (CONDITIONAL,)
    assert guide("classifier_free").branches == (UNCONDITIONAL, CONDITIONAL)
    atol = bound(torch.float64, 8, 7 * float(sum(each.abs().max() for each in predictions().values())))
    torch.testing.assert_close(guided(guide("classifier_free")), guided(dual(3.0, 3.0)), rtol=0, atol=atol)
