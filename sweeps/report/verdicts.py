"""Verdicts, robustness and hypotheses in words."""

from dataclasses import dataclass

from sweeps.results.comparison import Summary
from sweeps.results.hypotheses import Claim, Outcome
from sweeps.results.robustness import Robustness, Standing
from sweeps.statistics.power import MOST_SEEDS
from sweeps.statistics.verdicts import Verdict
from sweeps.study.words import counted


def verdict_words(summary: Summary) -> str:
    """What a comparison amounts to, with the number that qualifies it; empty where there is none."""
    if summary.verdict is None:
        return ""
    if summary.verdict is Verdict.EQUIVALENT:
        return f"equivalent within {summary.margin:g}"
    if summary.verdict is Verdict.INCONCLUSIVE:
        return f"no evidence with {counted(summary.pairs, 'seed')}"
    return summary.verdict.value


def robustness_words(examined: Robustness) -> str:
    """Whether a difference would stand, and if not, on what it depends."""
    needed = examined.seeds_needed
    more = f"about {needed} seeds would" if needed else f"more than {MOST_SEEDS:,} seeds would"
    match examined.standing:
        case Standing.TOO_FEW_SEEDS:
            few = f"{examined.num_seeds} seeds cannot make the test say so"
            return f"the interval excludes zero, but {few}: {more}"
        case Standing.NOT_SHOWN:
            return f"not shown; if it is what it seems, {more} show it"
        case Standing.ONE_SEED:
            return f"hangs on one seed (worst without seed {examined.seed})"
        case Standing.ONE_TEST:
            return f"hangs on the test: another has p = {max(examined.p_t, examined.p_wilcoxon):.2g}"
        case Standing.STANDS:
            return "stands: without any one seed, and by each test"


@dataclass(frozen=True)
class ClaimLine:
    """A hypothesis in words.

    Args:
        arm: Of which it speaks.
        claim: In the author's words.
        reading: What of it can be tested, such as ``worse by clip_score/shapes``.
        outcome: ``supported``, ``contradicted`` or ``open``.
        because: The rule by which the evidence makes that outcome, with what qualifies it.
        evidence: Difference, interval, corrected p and seeds.
    """

    arm: str
    claim: str
    reading: str
    outcome: Outcome
    because: str
    evidence: str


def claim_line(claim: Claim) -> ClaimLine:
    """Put a hypothesis and its outcome into words."""
    reading = f"{claim.effect} by {claim.metric}"
    return ClaimLine(claim.arm, claim.claim, reading, claim.outcome, _because(claim), evidence(claim.summary))


def _because(claim: Claim) -> str:
    summary, examined = claim.summary, claim.robustness
    if summary.verdict is None:
        return "no seed has a value in this arm and in the control"
    if claim.outcome == "open":
        return robustness_words(examined) if examined else "too few seeds to say"
    words = verdict_words(summary)
    if summary.verdict is Verdict.EQUIVALENT:
        return words
    if claim.effect == Verdict.EQUIVALENT:
        return f"it is {words}"
    shaky = examined is not None and examined.standing in (Standing.ONE_SEED, Standing.ONE_TEST)
    return f"it is {words}, but {robustness_words(examined)}" if examined is not None and shaky else f"it is {words}"


def evidence(summary: Summary) -> str:
    """The numbers behind a verdict, on one line."""
    if summary.difference is None:
        return ""
    interval = "" if summary.low is None else f" [{summary.low:+.3g}, {summary.high:+.3g}]"
    p = "" if summary.p_corrected is None else f", corrected p {summary.p_corrected:.2g}"
    return f"{summary.difference:+.3g}{interval}{p}, {counted(summary.n, 'seed')}"
