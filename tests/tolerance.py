"""How far two ways to one value may lie apart: never a figure seen on one machine.

Processors sum in different orders, so that the last digits differ from one to the next. A test therefore compares

- with ``==`` where both sides are copies, integers, or the same operations on the same data in the same places;
- else in float64, within the ``bound`` of the arithmetic: there a mistake of method stands out by many digits;
- in float32, within the same bound, where the code under test computes in float32 for good (a compiled network, NumPy);
- averages of random draws within ``STANDARD_ERRORS`` of what their law says.
"""

import copy
import dataclasses
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import torch
from torch import nn
from torch.overrides import TorchFunctionMode

if TYPE_CHECKING:
    from models.backbones import Base

STANDARD_ERRORS = 4
"""By how many standard errors an average may lie from its expectation: one in 16,000 draws does."""


def bound(dtype: torch.dtype, operations: int, size: float = 1.0) -> float:
    """How far rounding can move a value that a chain of operations leads to.

        gamma_n size,   gamma_n = n u / (1 - n u),   u = eps / 2

    Each operation multiplies its result by 1 + delta with |delta| <= u, and n such factors differ from 1 by at most
    gamma_n. A sum of n terms is a chain of n - 1 operations at most, in whatever order it is taken.

    Args:
        dtype: Of the arithmetic.
        operations: n, on the longest way from an input to the value; of both ways, where two are compared.
        size: Sum of the magnitudes of the terms, so what cancels counts in full.

    Source: Higham, Accuracy and Stability of Numerical Algorithms (2002), lemma 3.1 and section 4.2.
    """
    error = operations * torch.finfo(dtype).eps / 2
    assert error < 0.1, f"{operations} operations in {dtype} leave no digit to compare"
    return error / (1 - error) * size


def network_bound(*networks: nn.Module, passes: int = 1, size: float = 1.0) -> float:
    """How far two ways through networks may lie apart in float64, for values of up to a size.

    The longest way through a layer has as many operations as a weight matrix has columns. All weights are counted, and
    for both ways: at least its rows times too many, which is left to what one layer enlarges of the error of the one
    before (next to nothing, since a norm stands between any two).

    Args:
        networks: What is passed through, one after another.
        passes: How often: steps of denoising, times the branches of guidance and its scale.
        size: Of the values.
    """
    weights = sum(weight.numel() for network in networks for weight in network.parameters())
    return bound(torch.float64, 2 * passes * weights, size)


class Float64(TorchFunctionMode):
    """While it is active, what asks torch for float32 gets float64.

    So the code under test runs in float64 from end to end, also where it holds latents or mixes frames in float32
    whatever the precision of the networks. NumPy's and loaded float32 tensors stay what they are until they are cast.
    """

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: Sequence[Any] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Call with float64 in place of float32."""
        if func in _READS_BYTES:
            return func(*args, **(kwargs or {}))
        call = torch.Tensor.double if func is torch.Tensor.float else func
        named = {name: _widened(value) for name, value in (kwargs or {}).items()}
        return call(*(_widened(value) for value in args), **named)


_READS_BYTES = (torch.Tensor.view, torch.frombuffer)


def _widened(value: Any) -> Any:
    return torch.float64 if value is torch.float32 else value


@contextmanager
def in_float64() -> Iterator[None]:
    """Compute in float64 what is computed in float32 otherwise; new tensors are float64 too."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    try:
        with Float64():
            yield
    finally:
        torch.set_default_dtype(before)


def widened(base: "Base") -> "Base":
    """A copy of a base in float64, with its noise schedule; to be made and used ``in_float64``."""
    networks = {name: copy.deepcopy(network).double() for name, network in base.networks.items()}
    schedule = type(base.noise_scheduler).from_config(base.noise_scheduler.config)
    return dataclasses.replace(base, **networks, noise_scheduler=schedule, dtype=torch.float64)


def base_bound(base: "Base", *, steps: int = 1, guidance: float = 1.0) -> float:
    """``network_bound`` of a clip drawn from a base in float64.

    Guidance takes w e_text and (w - 1) e_uncond, so that a step counts 2 w - 1 times.
    """
    passes = int(steps * (2 * guidance - 1))
    return network_bound(*base.networks.values(), passes=passes)
