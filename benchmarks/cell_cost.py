"""What does a cell cost under Ray Tune, beside the same sampling and scoring in one plain process?

Both sides do the same cells on one thread in the same run; the figure is their ratio, over the cells after the first
(which pays for loading). Asked: at most 1.1.
"""

import argparse
import subprocess
import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
STUDY = """
name: cell-cost
question: What does a cell cost beside its own computing?
system: zs2
base: shapes
metrics: [clip_score, temporal_consistency]
seeds: {seeds}
resources: {{workers: 1, cpus_per_worker: 1}}
ablations:
  - {{part: attention, action: REMOVE}}
"""
PLAIN = """
import sys, time
import torch
torch.set_num_threads(1)
from pathlib import Path
from models import SYSTEMS
from models.backbones import load_base
from models.bases import find_base, read_card
from models.streams import Streams
from sweeps.plan import expand
from sweeps.spec import load
from trainables.evaluate import to_pixels
from trainables.metrics import resolve
from trainables.metrics.score import Scorer

plan = expand(load(Path(sys.argv[1])))
spec = plan.cells[0].spec
base = load_base(find_base(spec.base), device="cpu", precision="fp32")
scorer = Scorer([resolve(f, read_card(find_base(spec.base)), spec.extractors, spec.base) for f in spec.metrics], None)
for cell in plan.cells:
    prompts = cell.spec.data.prompts(Streams(cell.seed), cell.spec.protocol.clips)
    model = SYSTEMS[cell.spec.system].model_validate(cell.spec.tree).build(base)
    clips = to_pixels(model.sample(prompts, Streams(cell.seed), cell.spec.protocol).video)
    scorer.score(clips, prompts)
    print(time.time(), flush=True)
"""


def main() -> None:
    """Measure both sides, print the ratio, and keep it with the date and the machine."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=6, help="seeds; cells are twice as many")
    parser.add_argument("--rounds", type=int, default=2, help="rounds, plain and engine in turn")
    arguments = parser.parse_args()
    plain, engine = [], []
    with tempfile.TemporaryDirectory() as scratch:
        study = Path(scratch) / "study.yaml"
        study.write_text(STUDY.format(seeds=arguments.seeds))
        for number in range(arguments.rounds):
            plain.append(plain_process(study))
            engine.append(under_tune(study, Path(scratch) / f"round{number}"))
    ratio = sum(engine) / sum(plain)
    cells = 2 * arguments.seeds - 1
    lines = [
        f"# Cell cost, {datetime.now(UTC):%Y-%m-%d}",
        "",
        f"Base shapes, 8 clips x 8 frames, 20 steps, one thread, {cells} cells after the first; machine: {machine()}.",
        "",
        "| round | plain process, s a cell | engine, s a cell | ratio |",
        "|---|---:|---:|---:|",
        *(f"| {i} | {p:.3f} | {e:.3f} | {e / p:.3f} |" for i, (p, e) in enumerate(zip(plain, engine, strict=True))),
        f"| all | {sum(plain) / len(plain):.3f} | {sum(engine) / len(engine):.3f} | {ratio:.3f} |",
        "",
        f"Asked: ratio at most 1.1. Measured: {ratio:.3f}.",
    ]
    print("\n".join(lines))
    results = ROOT / "benchmarks" / "results"
    results.mkdir(exist_ok=True)
    (results / f"{datetime.now(UTC):%Y-%m-%d}-cell-cost.md").write_text("\n".join(lines) + "\n")


def plain_process(study: Path) -> float:
    """Seconds a cell after the first, in a process that only loops."""
    done = subprocess.run(
        [sys.executable, "-c", PLAIN, str(study)], cwd=ROOT, capture_output=True, text=True, timeout=600, check=True
    )
    return per_cell([float(line) for line in done.stdout.split()])


def under_tune(study: Path, storage: Path) -> float:
    """Seconds a cell after the first, by the times at which results were written."""
    started = time.time()
    command = [sys.executable, "-m", "sweeps", "run", str(study), "--storage", str(storage)]
    subprocess.run(command, cwd=ROOT, capture_output=True, timeout=600, check=True)
    print(f"engine: {time.time() - started:.1f} s in all", file=sys.stderr)
    return per_cell(sorted(path.stat().st_mtime for path in storage.glob("cell-cost/cells/*/result.json")))


def per_cell(ends: list[float]) -> float:
    """Mean time between the ends of consecutive cells."""
    return (ends[-1] - ends[0]) / (len(ends) - 1)


def machine() -> str:
    """Processor and count of cores."""
    import os

    info = Path("/proc/cpuinfo")
    names = [line for line in info.read_text().splitlines() if line.startswith("model name")] if info.exists() else []
    return f"{os.cpu_count()} cores, {names[0].partition(':')[2].strip() if names else 'unknown processor'}"


if __name__ == "__main__":
    main()
