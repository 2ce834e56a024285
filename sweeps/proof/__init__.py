"""Ablation proof: checks, before any cell runs, that every arm changes the model as declared.

Control and arms are built twice: on the meta device at the size of the base, to count parameters and FLOPs; and on a
small random base, to check which code runs, whether outputs differ on a fixed batch, and where gradients arrive.
"""

from sweeps.proof.files import PROOF, proof_key, proved, read_proof
from sweeps.proof.types import ArmProof, Proof

__all__ = ["PROOF", "ArmProof", "Proof", "proof_key", "proved", "read_proof"]
