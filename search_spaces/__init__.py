"""Search spaces: typed domains for Optuna or Ray Tune, and named spaces for studies."""

from collections.abc import Mapping

from search_spaces import aid, exvideo, seer, zs2
from search_spaces.domains import Choice, Domain, IntUniform, Kinds, LogUniform, Uniform, Value, domain

__all__ = ["SPACES", "Choice", "Domain", "IntUniform", "Kinds", "LogUniform", "Uniform", "Value", "domain"]

SPACES: Mapping[str, Mapping[str, Domain]] = {
    "zs2_motion": zs2.MOTION,
    "zs2_components": zs2.COMPONENTS,
    "seer_training": seer.TRAINING,
    "exvideo_training": exvideo.TRAINING,
    "exvideo_low_rank": exvideo.LOW_RANK,
    "aid_training": aid.TRAINING,
    "aid_adapters": aid.ADAPTERS,
    "aid_guidance": aid.GUIDANCE,
}
"""Name -> dotted path -> domain: the names allowed in ``search: {space: ...}``."""
