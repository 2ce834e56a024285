"""Values to search over: typed domains, handed to Optuna or Ray Tune, and spaces of them that a study may name."""

from collections.abc import Mapping

from search_spaces import seer, zs2
from search_spaces.domains import Choice, Domain, IntUniform, Kinds, LogUniform, Uniform, Value, domain

__all__ = ["SPACES", "Choice", "Domain", "IntUniform", "Kinds", "LogUniform", "Uniform", "Value", "domain"]

SPACES: Mapping[str, Mapping[str, Domain]] = {
    "zs2_motion": zs2.MOTION,
    "zs2_components": zs2.COMPONENTS,
    "seer_training": seer.TRAINING,
}
"""Name -> dotted path -> domain: what ``search: {space: ...}`` may name."""
