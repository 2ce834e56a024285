"""What an arm changes of the control, as it was seen."""

from pydantic import BaseModel, ConfigDict


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
        return [f"{arm_proof.arm}: {problem}" for arm_proof in self.arms for problem in arm_proof.problems]

    def of(self, arm: str) -> ArmProof | None:
        """One arm's."""
        return next((arm_proof for arm_proof in self.arms if arm_proof.arm == arm), None)
