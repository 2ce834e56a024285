"""What designs and proofs add to the table, in every form."""

import json
from collections.abc import Callable

import pytest

from sweeps.plan import Plan
from sweeps.proof import ArmProof, Proof
from sweeps.report import texts
from sweeps.report.exports import to_csv, to_json
from sweeps.report.latex import to_latex
from sweeps.report.markdown import to_markdown
from sweeps.report.page import to_html
from sweeps.report.table import Report, build
from sweeps.report.terminal import print_terminal
from sweeps.results.record import Record

FACTORIAL = """\
design: factorial
seeds: 5
ablations:
  - {part: noise, action: REMOVE}
  - {part: attention, action: REMOVE}
"""


@pytest.fixture(scope="module")
def crossed(planned: Callable[[str], Plan], simulated: Callable[..., dict[str, Record]]) -> Report:
    plan = planned(FACTORIAL)
    control, noise, attention, both = (arm.id for arm in plan.arms)
    proof = Proof(
        key="k",
        arms=(
            ArmProof(arm=control, parameters=3_583_684, flops=1_430_900_000),
            ArmProof(arm=noise, parameters=3_583_684, flops=1_430_900_000),
            ArmProof(
                arm=attention, parameters=2_786_212, flops=10**9, delta_parameters=-797_472, delta_flops=-430_900_000
            ),
        ),
    )
    return build(plan, simulated(plan), proof)


def test_effects_have_their_intervals_and_corrected_tests(crossed: Report) -> None:
    assert [(row.kind, row.name) for row in crossed.contrasts] == [
        ("effect", "noise=removed"),
        ("effect", "attention=removed"),
        ("interaction", "noise=removed x attention=removed"),
    ]
    key = crossed.metrics[0].key
    values = {arm: list(metrics[key].values()) for arm, metrics in crossed.values.items()}
    control, noise, attention, both = (values[row.id] for row in crossed.rows)
    sums = [b - n - a + c for c, n, a, b in zip(control, noise, attention, both, strict=True)]
    interaction = crossed.contrasts[2].metrics[key]
    assert interaction.effect.difference == pytest.approx(sum(sums) / 5)
    assert interaction.effect.low < interaction.effect.difference < interaction.effect.high
    assert interaction.p_corrected == interaction.effect.p_value, "one interaction, nothing to correct"
    first, second = (row.metrics[key] for row in crossed.contrasts[:2])
    assert max(first.p_corrected, second.p_corrected) >= max(first.effect.p_value, second.effect.p_value)


def test_every_form_has_them(crossed: Report, capsys: pytest.CaptureFixture[str]) -> None:
    markdown = to_markdown(crossed)
    assert "## Interactions" in markdown
    assert "noise=removed x attention=removed" in markdown
    assert "Δ parameters" in markdown
    assert "-797 k (-22.3%)" in markdown
    latex = to_latex(crossed)
    assert latex.count(r"\begin{table}") == latex.count(r"\end{table}") >= 3
    assert "Interactions: effect of two changes together" in latex
    assert "noise=removed x attention=removed & " in latex
    plain = json.loads(to_json(crossed))
    assert [one["kind"] for one in plain["contrasts"]] == ["effect", "effect", "interaction"]
    assert plain["arms"][2]["size"]["delta_parameters"] == -797_472
    assert "size" not in plain["arms"][3], "of that arm nothing was counted"
    assert "delta_flops" in to_csv(crossed).splitlines()[0]
    page = to_html(crossed, [], [])
    assert "Interactions: effect of two changes together" in page
    assert "3.58 M" in page
    print_terminal(crossed)
    printed = capsys.readouterr().out
    assert "Model size" in printed
    assert "Interactions: clip_score" in printed
    assert texts.SIZES[1] in printed
    latex = to_latex(crossed)
    assert r"$-$797 k ($-$22.3\%)" in latex
    assert latex.isascii()


def test_without_design_and_proof_nothing_is_added(report: Report) -> None:
    assert {row.kind for row in report.contrasts} == {"trend"}, "over the values of mu"
    assert texts.sizes(report.rows) == []
    assert "Δ FLOPs" not in to_markdown(report) + to_html(report, [], [])
