"""Types of the ablation proof."""

from pydantic import BaseModel, ConfigDict


class ArmProof(BaseModel):
    """Measured changes of an arm relative to the control; names of another system are not compared.

    Args:
        arm: Id of the arm.
        parameters: Number of parameters of the denoiser, at the size of the base.
        flops: FLOPs of one denoising pass of one clip; a multiply-add counts as two.
        delta_parameters: Parameters minus those of the control.
        delta_flops: FLOPs minus those of the control.
        gone: Parameter counts that only the control has, by module path.
        added: Parameter counts that only the arm has, by module path.
        no_more_called: Functions of ``models`` that run in the control only.
        newly_called: Functions of ``models`` that run in the arm only.
        difference: Largest absolute difference from the control's outputs on a fixed batch; None if the arm cannot run
            on the small base.
        num_trained: Number of trained tensors.
        without_gradient: Names of trained tensors that no gradient reaches.
        problems: Violations; with any, the study is refused.
        remarks: Further notes for the reader.
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
    """Ablation proof of a study.

    Args:
        key: Hash of code, arms, base and size of clips.
        arms: Proofs of the arms, the control first.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    key: str
    arms: tuple[ArmProof, ...]

    @property
    def problems(self) -> list[str]:
        """Problems of all arms, for which the study is refused."""
        return [f"{arm_proof.arm}: {problem}" for arm_proof in self.arms for problem in arm_proof.problems]

    def of(self, arm: str) -> ArmProof | None:
        """Return the proof of an arm; None if it has none."""
        return next((arm_proof for arm_proof in self.arms if arm_proof.arm == arm), None)
