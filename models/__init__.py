"""Video diffusion models whose parts can be removed or replaced (plain data until a model is built)."""

from pkgutil import resolve_name

from models.system import System

_REGISTERED = (
    "models.zs2:ZS2",
    "models.seer:Seer",
    "models.exvideo:ExVideo",
    "models.aid:AID",
)

SYSTEMS: dict[str, type[System]] = {system.name: system for system in map(resolve_name, _REGISTERED)}
"""Every system by its name in a study file; one line above registers a system."""
