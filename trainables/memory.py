"""Memory estimate of the model state per worker: weights, gradients, master copy, moments."""

from dataclasses import dataclass

from models.bases import Precision, precision_in_full
from trainables.scaling import Scaling

BYTES = {"fp32": 4, "bf16": 2, "fp16": 2}


@dataclass(frozen=True)
class ModelState:
    """Bytes of model state on one worker; activations, buckets and library overhead are not included.

    Args:
        weights: Weights of the trained network, including frozen ones.
        gradients: Gradients of the trained weights.
        master: Float32 copy of the trained weights, which the optimizer updates.
        moments: AdamW's two moments.
        others: The base's other networks, which encode during training.
        offloaded: Part of these that is in CPU memory.
    """

    weights: int
    gradients: int
    master: int
    moments: int
    others: int
    offloaded: int

    @property
    def on_device(self) -> int:
        """Bytes in the device's memory."""
        return self.weights + self.gradients + self.master + self.moments + self.others - self.offloaded


def model_state(
    parameters: int, trained: int, others: int, scaling: Scaling, precision: Precision, *, gpu: bool
) -> ModelState:
    """Compute the model state of a training on one worker.

        stage 0: w p + w t + m + 8 t,   stage 1: m, moments / W,   stage 2: gradients / W,   stage 3: weights / W

    w is the width of the precision and W the number of workers; the master copy m = 4 t exists in half precision and
    from stage 1 on.

    Args:
        parameters: Parameters of the trained network.
        trained: Number of these that are trained.
        others: Parameters of the base's other networks, kept in float32.
        scaling: Workers and ZeRO.
        precision: "auto" is bf16 on a GPU, else fp32.
        gpu: Whether the workers have a GPU.

    Source: ZeRO (arXiv 1910.02054), section 3; DeepSpeed 0.19 also keeps a master copy in float32 from stage 1 on.
    """
    width = BYTES[precision_in_full(precision, gpu=gpu)]
    stage, workers = scaling.zero.stage, scaling.workers

    def share(number: int, sharded_from: int) -> int:
        return -(-number // workers) if stage >= sharded_from else number

    weights = width * share(parameters, 3)
    master = 4 * share(trained, 1) if stage or width < 4 else 0
    moments = 8 * share(trained, 1)
    offloaded = {"none": 0, "optimizer": master + moments, "optimizer_and_parameters": master + moments + weights}
    return ModelState(weights, width * share(trained, 2), master, moments, 4 * others, offloaded[scaling.zero.offload])
