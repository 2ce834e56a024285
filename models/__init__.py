"""Video diffusion models whose parts can be removed or replaced (plain data until a model is built)."""

from models.seer import Seer
from models.system import System
from models.zs2 import ZS2

SYSTEMS: dict[str, type[System]] = {ZS2.name: ZS2, Seer.name: Seer}
"""Every system by the word a study file uses for it."""
