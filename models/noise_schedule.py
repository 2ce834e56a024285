"""The forward process of a base's noise schedule: noisy latents, training targets, conversion to another sampler.

Legend: z clean latents, eps noise, a_t = sqrt(alpha_t) and s_t = sqrt(1 - alpha_t), with alpha_t the cumulative product
of 1 - beta up to step t.
"""

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Self

import diffusers
import torch

from models.bases.configurations import PREDICTION_TYPES

_PROCESS = (
    "num_train_timesteps",
    "beta_start",
    "beta_end",
    "beta_schedule",
    "trained_betas",
    "rescale_betas_zero_snr",
    "set_alpha_to_one",
    "prediction_type",
)
"""Settings of a schedule that belong to the base; the others choose steps and solver of a sampler."""

_TARGETS: dict[str, Callable[..., torch.Tensor]] = {
    "epsilon": lambda clean, noise, a, s: noise,
    "v_prediction": lambda clean, noise, a, s: a * noise - s * clean,
    "sample": lambda clean, noise, a, s: clean,
}
assert _TARGETS.keys() == set(PREDICTION_TYPES)


@dataclass(frozen=True)
class NoiseSchedule:
    """The noise that is added in training, and the quantity that the denoiser predicts.

        z_t = a_t z + s_t eps
        epsilon: eps,   v_prediction: a_t eps - s_t z,   sample: z

    Args:
        alphas: Cumulative products (T,), kept in float32.
        prediction_type: One of ``PREDICTION_TYPES``, as in diffusers' schedulers.

    Raises:
        ValueError: The prediction type is not known.

    Source: DDPM (arXiv 2006.11239); v: Progressive Distillation (arXiv 2202.00512), appendix D.
    """

    alphas: torch.Tensor
    prediction_type: str = "epsilon"

    def __post_init__(self) -> None:
        if self.prediction_type not in _TARGETS:
            raise ValueError(
                f"noise schedule: prediction_type: {self.prediction_type} is not known -> {', '.join(_TARGETS)}"
            )

    @classmethod
    def of(cls, noise_scheduler: Any) -> Self:
        """Return the forward process of a diffusers scheduler."""
        return cls(noise_scheduler.alphas_cumprod.float(), noise_scheduler.config.prediction_type)

    def add_noise(self, clean: torch.Tensor, noise: torch.Tensor, time: torch.Tensor) -> torch.Tensor:
        """Return the noisy latents z_t.

        Shape:
            clean and noise (b ...), time (b,) -> (b ...).
        """
        a, s = self._factors(time, clean.ndim)
        return a * clean + s * noise

    def target(self, clean: torch.Tensor, noise: torch.Tensor, time: torch.Tensor) -> torch.Tensor:
        """Return the quantity that an exact denoiser predicts from z_t.

        Shape:
            clean and noise (b ...), time (b,) -> (b ...).
        """
        return _TARGETS[self.prediction_type](clean, noise, *self._factors(time, clean.ndim))

    def _factors(self, time: torch.Tensor, ndim: int) -> tuple[torch.Tensor, torch.Tensor]:
        alpha = self.alphas.to(time.device)[time].view(-1, *[1] * (ndim - 1))
        return alpha.sqrt(), (1 - alpha).sqrt()


def converted(configuration: Mapping[str, Any], kind: Any, **fixed: Any) -> Any:
    """Build a diffusers scheduler of another class from a configuration, for the same forward process.

    diffusers' ``from_config`` gives settings that the configuration leaves out the new class's default. Those of the
    forward process get the default of the class that the configuration names: PNDM ends at the first alpha
    (``set_alpha_to_one: false``), DDIM by default at 1.

    Args:
        configuration: Content of a ``scheduler_config.json``, or a scheduler's ``config``.
        kind: Class of the scheduler.
        fixed: Settings that replace the configuration's.
    """
    named = getattr(diffusers, str(configuration.get("_class_name")), kind)
    parameters = inspect.signature(named.__init__).parameters
    defaults = {name: parameters[name].default for name in _PROCESS if name in parameters}
    # A scheduler's own config lists the settings at their default, which from_config then leaves out.
    left_out = {*configuration.get("_use_default_values", ()), "_use_default_values"} - {*_PROCESS}
    kept = {name: value for name, value in configuration.items() if name not in left_out}
    return kind.from_config({**defaults, **kept}, **fixed)
