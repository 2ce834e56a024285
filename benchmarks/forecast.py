"""Accuracy of ``plan --calibrate``: the smoke studies are calibrated and then run."""

import argparse
import json
import sys
import tempfile
from pathlib import Path
from typing import Any

from benchmarks.commands import sweeps
from benchmarks.figures import ROOT, Figure, conclude, table
from sweeps.plan import load

STUDIES = ("sweeps/seer/smoke.yaml", "sweeps/zs2/components.yaml")
TARGET = 0.3


def main() -> int:
    """Forecast and run each study in a separate storage, and save the results with the date and the machine."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("studies", nargs="*", default=STUDIES)
    by_study = {study: measured(study) for study in parser.parse_args().studies}
    head = ("study", "forecast, s", "from", "to", "actual, s", "worker-hours, forecast", "actual", "calibration, s")
    keys = ("seconds", "least", "most", "took", "worker_hours", "took_hours", "calibration_seconds")
    rows = [(study, *(float(values[key]) for key in keys)) for study, values in by_study.items()]
    figures = [
        Figure(f"{study}: relative error of the {name}", abs(values[forecast] / values[actual] - 1), "at most", TARGET)
        for study, values in by_study.items()
        for name, forecast, actual in (("duration", "seconds", "took"), ("worker-hours", "worker_hours", "took_hours"))
    ]
    setting = "Each study is calibrated and then run in the same storage; the duration is that of the whole command."
    return conclude("forecast", setting, table(head, rows), figures)


def measured(study: str) -> dict[str, Any]:
    """Measure a study: its forecast, and its actual time."""
    with tempfile.TemporaryDirectory() as storage:
        forecast = json.loads(sweeps("plan", Path(study), Path(storage), "--calibrate", "--json").output)
        took = sweeps("run", Path(study), Path(storage)).seconds
        folder = Path(storage) / load(ROOT / study).study.name
        report = json.loads((folder / "report" / "report.json").read_text())
        hours = sum(arm["worker_hours"] for arm in report["effort"]["efforts"])
    return dict(forecast) | {"took": took, "took_hours": hours}


if __name__ == "__main__":
    sys.exit(main())
