"""Fixed strings of ``report.json`` and ``table.csv``: programs compare them, so they never change.

The wording for readers is in ``sweeps.report.verdicts`` and ``sweeps.report.spent``.
"""

from collections.abc import Sequence

from sweeps.results.comparison import Summary
from sweeps.results.effort import Inequality, Unequal
from sweeps.results.hypotheses import Claim
from sweeps.results.robustness import Assessment, Robustness
from sweeps.statistics.power import MOST_SEEDS
from sweeps.statistics.verdicts import Verdict
from sweeps.study.words import counted


def json_verdict(summary: Summary) -> str:
    """Return the verdict of a comparison as JSON and CSV have it; empty for the control."""
    match summary.verdict:
        case None:
            return ""
        case Verdict.EQUIVALENT:
            return f"equivalent within {summary.margin:g}"
        case Verdict.INCONCLUSIVE:
            return f"no evidence with {counted(summary.pairs, 'seed')}"
        case verdict:
            return verdict.value


def json_robustness(examined: Robustness) -> str:
    """Return the robustness verdict as JSON has it."""
    needed = examined.seeds_needed
    more = f"about {needed} seeds would" if needed else f"more than {MOST_SEEDS:,} seeds would"
    match examined.assessment:
        case Assessment.TOO_FEW_SEEDS:
            few = f"{examined.num_seeds} seeds cannot make the test say so"
            return f"the interval excludes zero, but {few}: {more}"
        case Assessment.INCONCLUSIVE:
            return f"not shown; if it is what it seems, {more} show it"
        case Assessment.SINGLE_SEED:
            return f"hangs on one seed (worst without seed {examined.seed})"
        case Assessment.SINGLE_TEST:
            return f"hangs on the test: another has p = {max(examined.p_t, examined.p_wilcoxon):.2g}"
        case Assessment.ROBUST:
            return "stands: without any one seed, and by each test"


def json_because(claim: Claim) -> str:
    """Return the reason for a hypothesis' outcome as JSON has it."""
    summary, examined = claim.summary, claim.robustness
    if summary.verdict is None:
        return "no seed has a value in this arm and in the control"
    if claim.outcome == "open":
        return json_robustness(examined) if examined else "too few seeds to say"
    verdict = json_verdict(summary)
    if summary.verdict is Verdict.EQUIVALENT:
        return verdict
    if claim.effect != Verdict.EQUIVALENT and examined is not None and examined.is_fragile:
        return f"it is {verdict}, but {json_robustness(examined)}"
    return f"it is {verdict}"


def json_effort(unequal: Unequal) -> str:
    """Return a difference in effort as JSON has it."""
    match unequal.kind:
        case Inequality.UPDATES | Inequality.CLIPS as unit:
            numbers = f"{_either(unequal.here)} {unit} a cell, the control's have {_either(unequal.others)}"
            line = f"{unequal.arm}: {numbers}"
            return line if unequal.is_problem else f"{line}: this is what the arm changes"
        case Inequality.NOT_TUNED:
            return f"{unequal.arm}: not tuned, since nothing of the space is left in it"
        case Inequality.FEWER_SAMPLES:
            (here,), (most,) = unequal.here, unequal.others
            return f"{unequal.arm}: {counted(here, 'trial')}, where others have {most}: there are no more samples"
        case Inequality.BEHIND:
            (here,), (asked,) = unequal.here, unequal.others
            line = f"{unequal.arm}: {here} of {counted(asked, 'trial')} came to something, and more of another arm"
            return f"{line} ({unequal.failed} failed)" if unequal.failed else line


def _either(numbers: Sequence[int]) -> str:
    return " or ".join(f"{number:,}" for number in numbers)
