import csv
import io
import json
import math
from dataclasses import asdict, replace

from sweeps.report.exports import to_csv, to_json, to_values_csv
from sweeps.report.table import Report
from sweeps.report.verdicts import verdict_words

DOCUMENTED = {"mean", "sd", "n", "difference", "low", "high"}
ADDED = {"low_mean", "high_mean", "p_value", "p_corrected", "smallest_p", "correlation", "verdict", "unit"}


def test_json_has_the_documented_form(report: Report) -> None:
    found = json.loads(to_json(report))
    keys = {metric.key for metric in report.metrics}
    assert [arm["id"] for arm in found["arms"]] == [row.id for row in report.rows]
    for arm, row in zip(found["arms"], report.rows, strict=True):
        assert set(arm["metrics"]) == keys, "the study's metrics only"
        for key, numbers in arm["metrics"].items():
            assert set(numbers) == DOCUMENTED | ADDED
            summary = row.metrics[key]
            expected = {name: value for name, value in asdict(summary).items() if name in DOCUMENTED | ADDED}
            assert numbers == expected | {"verdict": verdict_words(summary)}, "unrounded"
        assert (arm["failed"], arm["missing"]) == (row.failed, row.missing)
    assert found["caption"] == report.caption
    assert found["errors"] == list(report.errors)


def test_json_has_the_search(report: Report, nothing_scored: Report) -> None:
    assert report.search is not None
    found = json.loads(to_json(report))["search"]
    assert [trial["sampled"] for trial in found["trials"]] == [trial.sampled for trial in report.search.trials]
    assert [(trial["arm"], trial["number"]) for trial in found["pareto"]] == [
        (trial.arm, trial.number) for trial in report.search.pareto
    ]
    assert {objective["direction"] for objective in found["objectives"]} == {"max", "min"}
    assert [arm["id"] for arm in found["confirmed"]] == [row.id for row in report.search.confirmed]
    assert json.loads(to_json(nothing_scored))["search"] is None


def test_csv_reads_back_as_the_numbers(report: Report) -> None:
    lines = list(csv.DictReader(io.StringIO(to_csv(report))))
    assert len(lines) == len(report.rows) * len(report.metrics)
    by_place = {(line["arm"], line["metric"]): line for line in lines}
    for row in report.rows:
        for metric in report.metrics:
            line = by_place[row.id, metric.key]
            summary = row.metrics[metric.key]
            for name in (DOCUMENTED | ADDED) - {"verdict", "unit"}:
                assert (float(line[name]) if line[name] else None) == getattr(summary, name)
            assert (line["verdict"], line["unit"]) == (verdict_words(summary), summary.unit)
            assert line["direction"] == metric.direction
            assert int(line["failed"]) == row.failed
            assert line["changes"] == row.changes


def test_values_read_back_as_what_the_means_are_of(report: Report) -> None:
    lines = list(csv.DictReader(io.StringIO(to_values_csv(report))))
    for row in report.rows:
        for metric in report.metrics:
            values = [float(line["value"]) for line in lines if (line["arm"], line["metric"]) == (row.id, metric.key)]
            assert len(values) == row.metrics[metric.key].n
            assert math.fsum(values) / len(values) == row.metrics[metric.key].mean
    assert {int(line["seed"]) for line in lines} == set(range(9))


def test_odd_names_stay_in_their_column(report: Report) -> None:
    odd = replace(report.rows[1], id='a_b & <c> %, "x"\n;')
    changed = replace(report, rows=(report.rows[0], odd))
    assert list(csv.DictReader(io.StringIO(to_csv(changed))))[-1]["arm"] == odd.id
    assert json.loads(to_json(changed))["arms"][1]["id"] == odd.id


def test_nothing_is_null_or_empty(nothing_scored: Report) -> None:
    first = nothing_scored.metrics[0].key
    control = json.loads(to_json(nothing_scored))["arms"][0]["metrics"][first]
    assert (control["mean"], control["n"]) == (None, 0)
    line = next(line for line in csv.DictReader(io.StringIO(to_csv(nothing_scored))) if line["metric"] == first)
    assert (line["mean"], line["n"]) == ("", "0")
