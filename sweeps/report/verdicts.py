"""Wording of verdicts, robustness and hypotheses for readers."""

from collections.abc import Sequence
from dataclasses import dataclass

from sweeps.results.comparison import Summary
from sweeps.results.hypotheses import Claim, Outcome
from sweeps.results.robustness import Assessment, Robustness
from sweeps.statistics.families import Method
from sweeps.statistics.paired import ALPHA, CONFIDENCE
from sweeps.statistics.verdicts import Verdict
from sweeps.study.words import counted

TESTS: dict[Method, str] = {"sign_flip": "sign-flip test", "bootstrap_t": "bootstrap test"}
"""Test of a study -> its name."""


def verdict_words(summary: Summary) -> str:
    """Word a verdict with the number that qualifies it; empty where nothing is compared."""
    match summary.verdict:
        case None:
            return ""
        case Verdict.EQUIVALENT:
            return f"equivalent within {summary.margin:g}"
        case Verdict.INCONCLUSIVE:
            return f"inconclusive ({counted(summary.pairs, summary.unit)})"
        case verdict:
            return verdict.value


def robustness_words(examined: Robustness) -> str:
    """Word how robust a difference is, or what it depends on."""
    return ". ".join(filter(None, (_conclusion(examined), _shape(examined))))


def _conclusion(examined: Robustness) -> str:
    match examined.assessment:
        case Assessment.TOO_FEW_UNITS:
            return f"The interval excludes zero, but {_too_few(examined)}"
        case Assessment.INCONCLUSIVE:
            return ". ".join(filter(None, ("Inconclusive", _sensitivity(examined))))
        case Assessment.SINGLE_UNIT if not examined.excludes_zero:
            return f"the {CONFIDENCE:.0%} interval includes zero ({TESTS[examined.test]} significant)"
        case Assessment.SINGLE_UNIT:
            return f"depends on a single {examined.kind} ({examined.unit})"
        case Assessment.SINGLE_TEST:
            is_bootstrap = examined.test == "bootstrap_t"
            further = (examined.p_sign_flip, "sign-flip test") if is_bootstrap else (examined.p_bootstrap, "bootstrap")
            p, name = max((examined.p_t, "t test"), (examined.p_wilcoxon, "Wilcoxon test"), further)
            return f"depends on the choice of test (p = {p:.2g} by the {name})"
        case Assessment.ROBUST:
            return f"robust: no single {examined.kind} decides, and the other tests agree"


def _shape(examined: Robustness) -> str:
    """Say where the differences are not symmetric, which the test and the interval assume."""
    found = []
    if examined.is_skewed:
        found.append(f"skewed (skewness {examined.skewness:+.1f})")
    if examined.outlying is not None:
        found.append(f"with an outlying {examined.kind} ({examined.outlying})")
    if not found:
        return ""
    how = " and ".join(found)
    return f"Differences are {how}: the test's error may exceed {ALPHA}; bootstrap p {examined.p_bootstrap:.2g}"


def _too_few(examined: Robustness) -> str:
    """Say that the number of units limits the test."""
    smallest = examined.smallest_p
    before = "" if smallest > ALPHA else " before correction"
    verb = "are" if smallest > ALPHA else "may be"
    return (
        f"{counted(examined.num_units, examined.kind)} {verb} too few for the test (smallest p {smallest:.2g}{before})"
    )


def _sensitivity(examined: Robustness) -> str:
    """Say which differences these units could have shown; unknown for the bootstrap."""
    smallest, units = examined.smallest_difference, f"{examined.num_units} {examined.kind}s"
    if smallest is None:
        return _too_few(examined) if examined.test == "sign_flip" else ""
    if smallest == 0:
        return f"Arm and control are equal at each of the {units}"
    return f"These {units} could show differences of {smallest:.2g} or more (80 % power)"


@dataclass(frozen=True)
class RobustnessLine:
    """What a difference depends on, in words: arm, metric and conclusion."""

    arm: str
    metric: str
    conclusion: str


def robustness_lines(examined: Sequence[Robustness]) -> list[RobustnessLine]:
    """Word the robustness of what was found, and of all differences that are not symmetric."""
    return [
        RobustnessLine(item.arm, item.metric, robustness_words(item))
        for item in examined
        if item.p_corrected <= ALPHA or item.is_asymmetric
    ]


@dataclass(frozen=True)
class ClaimLine:
    """A hypothesis and its outcome, in words.

    Args:
        arm: The arm that it is about.
        claim: The hypothesis as the study states it.
        reading: The testable statement, such as ``worse by clip_score/shapes``.
        outcome: ``supported``, ``contradicted`` or ``open``.
        because: Reason for the outcome, with what qualifies it.
        evidence: Difference, interval, corrected p and number of pairs.
    """

    arm: str
    claim: str
    reading: str
    outcome: Outcome
    because: str
    evidence: str


def claim_line(claim: Claim) -> ClaimLine:
    """Word a hypothesis and its outcome for readers."""
    reading = f"{claim.effect} by {claim.metric}"
    return ClaimLine(claim.arm, claim.claim, reading, claim.outcome, _reason(claim), evidence(claim.summary))


def _reason(claim: Claim) -> str:
    summary, examined = claim.summary, claim.robustness
    if summary.verdict is None:
        return "Arm and control have no value of the same unit"
    if claim.outcome == "open":
        return robustness_words(examined) if examined else verdict_words(summary)
    verdict = verdict_words(summary)
    is_about_equivalence = Verdict.EQUIVALENT in (summary.verdict, claim.effect)
    if examined is not None and examined.is_fragile and not is_about_equivalence:
        return f"{verdict}, but {robustness_words(examined)}"
    if examined is not None and not is_about_equivalence:
        return ". ".join(filter(None, (verdict, _shape(examined))))
    return verdict


def evidence(summary: Summary) -> str:
    """Format the numbers behind a verdict on one line."""
    if summary.difference is None:
        return ""
    interval = "" if summary.low is None else f" [{summary.low:+.3g}, {summary.high:+.3g}]"
    p = "" if summary.p_corrected is None else f", corrected p {summary.p_corrected:.2g}"
    return f"{summary.difference:+.3g}{interval}{p}, {counted(summary.pairs, summary.unit)}"
