"""Wording of verdicts, robustness and hypotheses for readers."""

from dataclasses import dataclass

from sweeps.results.comparison import Summary
from sweeps.results.hypotheses import Claim, Outcome
from sweeps.results.robustness import Assessment, Robustness
from sweeps.statistics.paired import ALPHA, CONFIDENCE, smallest_p
from sweeps.statistics.power import MOST_SEEDS
from sweeps.statistics.verdicts import Verdict
from sweeps.study.words import counted


def verdict_words(summary: Summary) -> str:
    """Word a verdict with the number that qualifies it; empty where nothing is compared."""
    match summary.verdict:
        case None:
            return ""
        case Verdict.EQUIVALENT:
            return f"equivalent within {summary.margin:g}"
        case Verdict.INCONCLUSIVE:
            return f"inconclusive ({counted(summary.pairs, 'seed')})"
        case verdict:
            return verdict.value


def robustness_words(examined: Robustness) -> str:
    """Word how robust a difference is, or what it depends on."""
    match examined.assessment:
        case Assessment.TOO_FEW_SEEDS:
            return f"The interval excludes zero, but {_too_few(examined)}. {_needed(examined)}"
        case Assessment.INCONCLUSIVE:
            return f"Inconclusive. {_sensitivity(examined)}"
        case Assessment.SINGLE_SEED if not examined.excludes_zero:
            return f"the {CONFIDENCE:.0%} interval includes zero (sign-flip test significant)"
        case Assessment.SINGLE_SEED:
            return f"depends on a single seed ({examined.seed})"
        case Assessment.SINGLE_TEST:
            p, name = max((examined.p_t, "t test"), (examined.p_wilcoxon, "Wilcoxon test"))
            return f"depends on the choice of test (p = {p:.2g} by the {name})"
        case Assessment.ROBUST:
            return "robust: no single seed decides, and all three tests agree"


def _too_few(examined: Robustness) -> str:
    """Say that the number of seeds limits the test."""
    smallest = smallest_p(examined.num_seeds)
    if smallest > ALPHA:
        return f"{examined.num_seeds} seeds are too few for the test (smallest p {smallest:.2g})"
    # Holm's correction of this arm is weaker where other arms are significant, so the test is not excluded.
    return f"{examined.num_seeds} seeds may be too few for the test (smallest p {smallest:.2g} before correction)"


def _needed(examined: Robustness) -> str:
    """Say how many seeds would detect a difference of this size."""
    needed = f"About {examined.seeds_needed}" if examined.seeds_needed else f"More than {MOST_SEEDS:,}"
    return f"{needed} seeds would detect a difference of this size (80 % power)"


def _sensitivity(examined: Robustness) -> str:
    """Say which differences these seeds could have detected."""
    smallest = examined.smallest_difference
    if smallest is None:
        return _too_few(examined)
    if smallest == 0:
        return f"Arm and control are equal at each of the {examined.num_seeds} seeds"
    return f"These {examined.num_seeds} seeds could show differences of {smallest:.2g} or more (80 % power)"


@dataclass(frozen=True)
class ClaimLine:
    """A hypothesis and its outcome, in words.

    Args:
        arm: The arm that it is about.
        claim: The hypothesis as the study states it.
        reading: The testable statement, such as ``worse by clip_score/shapes``.
        outcome: ``supported``, ``contradicted`` or ``open``.
        because: Reason for the outcome, with what qualifies it.
        evidence: Difference, interval, corrected p and number of seeds.
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
        return "No seed has a value both in this arm and in the control"
    if claim.outcome == "open":
        return robustness_words(examined) if examined else verdict_words(summary)
    verdict = verdict_words(summary)
    is_about_equivalence = Verdict.EQUIVALENT in (summary.verdict, claim.effect)
    if examined is not None and examined.is_fragile and not is_about_equivalence:
        return f"{verdict}, but {robustness_words(examined)}"
    return verdict


def evidence(summary: Summary) -> str:
    """Format the numbers behind a verdict on one line."""
    if summary.difference is None:
        return ""
    interval = "" if summary.low is None else f" [{summary.low:+.3g}, {summary.high:+.3g}]"
    p = "" if summary.p_corrected is None else f", corrected p {summary.p_corrected:.2g}"
    return f"{summary.difference:+.3g}{interval}{p}, {counted(summary.n, 'seed')}"
