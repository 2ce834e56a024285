"""The proof of a plan in its study's folder, made where it does not lie there yet."""

from collections.abc import Callable
from pathlib import Path

from sweeps.plan import Plan
from sweeps.proof.types import Proof
from trainables.files import json_hash, write_atomically
from trainables.provenance import code_hash

PROOF = "proof.json"
"""Name of the proof in a study's folder."""


def proof_key(plan: Plan) -> str:
    """What a proof of a plan holds for: as long as it is the same, so is the proof."""
    protocol = plan.cells[0].spec.protocol
    holds_for = {
        "code": code_hash(plan.study.system),
        "arms": {arm.id: arm.system.model_dump(mode="json") for arm in plan.arms},
        "base": plan.study.base,
        "size": [protocol.frames, protocol.height, protocol.width],
    }
    return json_hash(holds_for, 32)


def proved(plan: Plan, folder: Path, before: Callable[[], None] = lambda: None) -> Proof:
    """The proof of a plan, as it lies in the study's folder or made now and left there.

    Args:
        plan: Whose arms.
        folder: The study's.
        before: Called where it has to be made, which takes a while.

    Raises:
        OSError: The base's configuration files cannot be read.
    """
    kept, key = read_proof(folder), proof_key(plan)
    if kept is not None and kept.key == key:
        return kept
    before()
    from sweeps.proof.proving import prove

    proof = Proof(key=key, arms=prove(plan))
    folder.mkdir(parents=True, exist_ok=True)
    write_atomically(folder / PROOF, proof.model_dump_json(indent=1).encode())
    return proof


def read_proof(folder: Path) -> Proof | None:
    """The proof that lies in a study's folder; None where there is none that can be read."""
    try:
        return Proof.model_validate_json((folder / PROOF).read_bytes())
    except (OSError, ValueError):
        return None
