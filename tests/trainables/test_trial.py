"""What Ray Tune calls: a worker has to be up sooner than a cell takes."""

import subprocess
import sys
from pathlib import Path


def test_a_worker_starts_without_the_heavy_libraries() -> None:
    # Tune drops a starting worker as soon as another is free for its cell: a slow start leaves one worker alone.
    code = """
import sys
from trainables.trial import CellTrial
worker = CellTrial.__new__(CellTrial)
worker.setup({"storage": "nowhere", "warm": True})
sys.exit(", ".join({"torch", "diffusers", "transformers", "cv2", "decord"} & set(sys.modules)) or 0)
"""
    root = Path(__file__).resolve().parents[2]
    done = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
