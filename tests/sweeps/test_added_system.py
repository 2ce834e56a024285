"""A system is added by its folder and one line: those of ``tests/data/toy_system`` in a copy of the packages."""

import json
import shutil
from pathlib import Path

import pytest
from ray.cluster_utils import Cluster

from models import SYSTEMS
from models.bases.families import STABLE_VIDEO_DIFFUSION
from tests.factories import sweeps
from trainables.provenance import ROOT, code_hash

TOY = ROOT / "tests/data/toy_system"
PACKAGES = ("models", "search_spaces", "sweeps", "trainables")
LAST_LINE = '    "models.seer:Seer",\n'


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The four packages as they are, without embedded weights."""
    copy = tmp_path_factory.mktemp("added")
    left_out = shutil.ignore_patterns("__pycache__", "*.safetensors")
    for package in PACKAGES:
        shutil.copytree(ROOT / package, copy / package, ignore=left_out)
    return copy


@pytest.fixture(scope="module")
def hashes_before(plain: Path) -> dict[str, str]:
    return {system: code_hash(system, plain) for system in SYSTEMS}


@pytest.fixture(scope="module")
def checkout(plain: Path, hashes_before: dict[str, str]) -> Path:
    """The same with the toy systems, their studies and a tiny base; nothing else is touched."""
    assert hashes_before
    for system in ("toy", "still"):
        shutil.copytree(TOY / system, plain / "models" / system, ignore=shutil.ignore_patterns("__pycache__"))
    registry = plain / "models/__init__.py"
    text = registry.read_text()
    assert text.count(LAST_LINE) == 1
    registry.write_text(text.replace(LAST_LINE, f'{LAST_LINE}    "models.toy:Toy",\n    "models.still:Still",\n'))
    for study in ("smoke.yaml", "across.yaml"):
        shutil.copy(TOY / study, plain / study)
    STABLE_VIDEO_DIFFUSION.implementation().tiny().save(plain / "tiny")
    return plain


def test_results_of_other_systems_stay_theirs(hashes_before: dict[str, str], checkout: Path, tmp_path: Path) -> None:
    assert {system: code_hash.__wrapped__(system, checkout) for system in SYSTEMS} == hashes_before
    assert len(set(hashes_before.values())) == len(SYSTEMS)


@pytest.mark.parametrize(
    ("file", "systems"),
    [
        ("models/zs2/noise.py", {"zs2"}),
        ("models/seer/network.py", {"seer"}),
        ("models/attention.py", {"zs2", "seer", "exvideo", "aid"}),
        ("models/denoising.py", {"zs2", "seer", "exvideo", "aid"}),
        ("models/bases/stable_diffusion.py", {"zs2", "seer"}),
        ("models/bases/stable_video_diffusion.py", {"exvideo", "aid"}),
        ("models/bases/text_tower.py", {"zs2", "seer", "exvideo", "aid"}),
        ("models/bases/families.py", set()),
        ("models/__init__.py", set()),
        ("trainables/fit.py", {"zs2", "seer", "exvideo", "aid"}),
        ("trainables/metrics/score.py", {"zs2", "seer", "exvideo", "aid"}),
        ("trainables/data/shapes.py", {"zs2", "seer", "exvideo", "aid"}),
        ("trainables/pretrain.py", set()),
        ("trainables/pretraining/stages.py", set()),
        ("trainables/spool.py", set()),
        ("sweeps/__main__.py", set()),
    ],
)
def test_a_file_changes_the_results_that_it_can_decide(
    file: str, systems: set[str], hashes_before: dict[str, str], checkout: Path
) -> None:
    text = (checkout / file).read_text()
    try:
        (checkout / file).write_text(text + "\n# changed\n")
        after = {system: code_hash.__wrapped__(system, checkout) for system in SYSTEMS}
    finally:
        (checkout / file).write_text(text)
    assert {system for system in SYSTEMS if after[system] != hashes_before[system]} == systems


@pytest.mark.slow
@pytest.mark.xdist_group("added")
def test_the_added_system_is_known_at_once(checkout: Path) -> None:
    checked = sweeps("check", "smoke.yaml", cwd=checkout)
    assert checked.returncode == 0, checked.stderr
    assert "2 arms x 1 seeds = 2 cells" in checked.stdout
    parts = json.loads(sweeps("parts", "toy", "--json", cwd=checkout).stdout)
    assert parts["base"] == "shapes_video"
    assert parts["parameters"]["unet"] == 3_292_627
    assert parts["parameters"]["mixing"] == 52
    other = (checkout / "smoke.yaml").read_text().replace("base: tiny", "base: shapes")
    (checkout / "other.yaml").write_text(other)
    refused = sweeps("check", "other.yaml", cwd=checkout)
    assert refused.returncode == 2
    assert refused.stderr.startswith("other.yaml:4: base: shapes is a Stable Diffusion base, and toy needs")
    assert "-> shapes_video, stable-video-diffusion-img2vid-xt, or a folder or hub id" in refused.stderr


@pytest.mark.slow
@pytest.mark.xdist_group("added")
@pytest.mark.timeout(300)
def test_the_added_system_runs_from_its_study_to_trained_and_scored_cells(checkout: Path) -> None:
    ran = sweeps("run", "smoke.yaml", cwd=checkout, seconds=280)
    assert ran.returncode == 0, ran.stderr
    results = [json.loads(file.read_text()) for file in (checkout / "runs/toy-smoke/cells").glob("*/result.json")]
    assert sorted(result["spec"]["arm"] for result in results) == ["control", "mixing=removed"]
    for result in results:
        assert result["status"] == "done"
        assert len(result["scores"]) == 2
        folder = checkout / "runs/toy-smoke/cells" / result["cell_id"]
        assert (folder / "trained.safetensors").is_file()
        assert (folder / "clip_0.mp4").is_file()
    values = [{key: score["value"] for key, score in result["scores"].items()} for result in results]
    assert values[0] != values[1], "the part makes a difference"
    proof = json.loads((checkout / "runs/toy-smoke/proof.json").read_text())
    assert [arm["delta_parameters"] for arm in proof["arms"]] == [0, -52]


@pytest.mark.slow
@pytest.mark.xdist_group("added")
@pytest.mark.timeout(900)
def test_arms_with_and_without_training_share_one_core(checkout: Path) -> None:
    """Neither waits for what the other holds: each trial asks for the resources of its own cell."""
    study = checkout / "across.yaml"  # workers of a cluster have a working folder of their own
    study.write_text(study.read_text().replace("base: tiny", f"base: {checkout / 'tiny'}"))
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, "num_gpus": 0})
    try:
        cluster.add_node(num_cpus=1, num_gpus=0)
        there = {"cwd": checkout, "seconds": 400, "RAY_ADDRESS": cluster.address}
        priced = sweeps("plan", "across.yaml", "--calibrate", "--json", **there)
        ran = sweeps("run", "across.yaml", **there)
    finally:
        cluster.shutdown()
    assert priced.returncode == 0, priced.stderr
    assert ran.returncode == 0, ran.stderr
    assert [(arm["arm"], arm["cells"]) for arm in json.loads(priced.stdout)["arms"]] == [("control", 1), ("still", 1)]
    prices = json.loads((checkout / "runs/toy-across/calibration.json").read_text())["prices"].values()
    assert sorted(price["update"] > 0 for price in prices) == [False, True], "one shape of each system"
    report = json.loads((checkout / "runs/toy-across/report/report.json").read_text())
    control, still = report["arms"]
    assert [arm["metrics"]["motion_magnitude/farneback"]["n"] for arm in (control, still)] == [1, 1]
    assert still["metrics"]["motion_magnitude/farneback"]["mean"] == pytest.approx(0, abs=1e-3)
    assert still["metrics"]["motion_magnitude/farneback"]["difference"] < 0
