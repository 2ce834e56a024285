"""Trends over the values of a VALUES ablation: one contrast for an ordered set of arms."""

from collections.abc import Iterator, Sequence
from typing import TypeGuard

from sweeps.plan.arms import CONTROL, Arm
from sweeps.study.designs import Contrast, trend
from trainables.trial_spec import leaves


def trends(arms: Sequence[Arm]) -> Iterator[Contrast[str]]:
    """List a trend for each number that VALUES varies over arms without other changes, and the control's own.

    Args:
        arms: The control first, then the arms.
    """
    own = leaves(arms[0].system.model_dump(mode="json"))
    values: dict[str, dict[str, float]] = {}
    for arm in arms:
        if arm.action == "VALUES" and len(arm.changes) == 1:
            ((path, value),) = arm.changes.items()
            if _is_number(value):
                values.setdefault(path, {})[arm.id] = float(value)
    for path, of_arms in values.items():
        control = own.get(path)
        of_control = {CONTROL: float(control)} if _is_number(control) else {}
        if (found := trend(path, of_control | of_arms)) is not None:
            yield found


def _is_number(value: object) -> TypeGuard[int | float]:
    return isinstance(value, int | float) and not isinstance(value, bool)
