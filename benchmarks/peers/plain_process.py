"""Run a study's cells sequentially in one process on one thread: sampling and scoring only.

Prints the time at which each cell ended.
"""

import sys
import time
from pathlib import Path

import cv2
import torch

from models import SYSTEMS
from models.backbones import load_base
from models.bases import find_base, read_card
from models.streams import Streams
from sweeps.plan import load
from trainables.evaluate import to_pixels
from trainables.metrics import resolve
from trainables.metrics.score import Scorer


def main(study: Path) -> None:
    """Run all cells of a study file."""
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    cells = load(study).cells
    shared = cells[0].spec
    ref = find_base(shared.base)
    base = load_base(ref, precision=shared.precision)
    card = read_card(ref)
    scorer = Scorer([resolve(family, card, shared.extractors, shared.base) for family in shared.metrics])
    for cell in cells:
        spec = cell.spec
        prompts = spec.data.prompts(Streams(spec.seed), spec.protocol.clips)
        model = SYSTEMS[spec.system].model_validate(spec.tree).build(base)
        scorer.score(to_pixels(model.sample(prompts, Streams(spec.seed), spec.protocol).video), prompts)
        print(time.time(), flush=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
