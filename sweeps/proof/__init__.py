"""Proof of ablation: before a cell runs, what each arm changes of the control, seen and not believed.

Control and arms are built twice: on the meta device, at the base's own size, to count parameters and operations; and on
a tiny random base, to run them: which code runs, whether outputs differ on a fixed batch, whether gradients arrive.
"""

from collections.abc import Callable
from pathlib import Path

from pydantic import BaseModel, ConfigDict

from sweeps.plan import Plan
from trainables.files import json_hash, write_atomically
from trainables.provenance import code_hash

PROOF = "proof.json"
"""Name of the proof in a study's folder."""


class ArmProof(BaseModel):
    """What an arm changes of the control.

    Args:
        arm: Its id.
        parameters: Of what it denoises with, at the base's size.
        flops: Of one denoising pass of one clip, multiplications and additions counted apart.
        delta_parameters: Parameters less the control's.
        delta_flops: Operations less the control's.
        gone: Parameters of the control that it lacks, by the path of what they are in.
        added: Parameters that the control lacks, likewise.
        no_more_called: Functions of ``models`` that run for the control and not for it.
        newly_called: Functions that run for it and not for the control.
        difference: Largest difference of its outputs from the control's on a fixed batch; None where it could not be
            run at tiny width.
        num_trained: Tensors that are trained.
        without_gradient: Of these, those that no gradient reaches.
        problems: Why it does not do what it says; the study does not run then.
        remarks: What else a reader should know.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    arm: str
    parameters: int
    flops: int
    delta_parameters: int = 0
    delta_flops: int = 0
    gone: dict[str, int] = {}
    added: dict[str, int] = {}
    no_more_called: tuple[str, ...] = ()
    newly_called: tuple[str, ...] = ()
    difference: float | None = None
    num_trained: int = 0
    without_gradient: tuple[str, ...] = ()
    problems: tuple[str, ...] = ()
    remarks: tuple[str, ...] = ()


class Proof(BaseModel):
    """The proofs of a study's arms, the control first.

    Args:
        key: What they hold for: code, arms, base and size of clips.
        arms: One each.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    key: str
    arms: tuple[ArmProof, ...]

    @property
    def problems(self) -> list[str]:
        """Everything that keeps the study from running."""
        return [f"{one.arm}: {problem}" for one in self.arms for problem in one.problems]

    def of(self, arm: str) -> ArmProof | None:
        """One arm's."""
        return next((one for one in self.arms if one.arm == arm), None)


def proof_key(plan: Plan) -> str:
    """What a proof of a plan holds for: as long as it is the same, so is the proof."""
    protocol = plan.cells[0].spec.protocol
    holds_for = {
        "code": code_hash(),
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
    found, key = read_proof(folder), proof_key(plan)
    if found is not None and found.key == key:
        return found
    before()
    from sweeps.proof.making import prove

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
