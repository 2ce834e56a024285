"""Proof of ablation: before a cell runs, what each arm changes of the control, seen and not believed.

Control and arms are built twice: on the meta device, at the base's own size, to count parameters and operations; and on
a tiny random base, to run them: which code runs, whether outputs differ on a fixed batch, whether gradients arrive.
"""

from sweeps.proof.files import PROOF, proof_key, proved, read_proof
from sweeps.proof.types import ArmProof, Proof

__all__ = ["PROOF", "ArmProof", "Proof", "proof_key", "proved", "read_proof"]
