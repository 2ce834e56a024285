"""Proof file of a study: read, or made if missing or outdated."""

from collections.abc import Callable
from pathlib import Path

from sweeps.plan import Plan
from sweeps.proof.types import Proof
from trainables.files import json_hash, write_atomically
from trainables.provenance import code_hash

PROOF = "proof.json"
"""File name of the proof in a study's folder."""


def proof_key(plan: Plan) -> str:
    """Return the hash of everything that a plan's proof depends on."""
    protocol = plan.cells[0].spec.protocol
    inputs = {
        "code": {arm.system.name: code_hash(arm.system.name) for arm in plan.arms},
        "arms": {arm.id: arm.system.model_dump(mode="json") for arm in plan.arms},
        "base": {arm.id: [arm.base, arm.text_encoder] for arm in plan.arms},
        "size": [protocol.frames, protocol.height, protocol.width],
    }
    return json_hash(inputs, 32)


def proved(plan: Plan, folder: Path, before: Callable[[], None] = lambda: None) -> Proof:
    """Return the proof of a plan: from the study's folder, else made now and saved there.

    Args:
        plan: The plan.
        folder: The study's folder.
        before: Called before a proof is made, which takes a while.

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
    """Read the proof in a study's folder; None if it is missing or unreadable."""
    try:
        return Proof.model_validate_json((folder / PROOF).read_bytes())
    except (OSError, ValueError):
        return None
