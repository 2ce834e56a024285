"""Spaces of ZS2: dotted path -> domain, as plain data.

Symbols: mu ``attention.mu``, lambda ``noise.threshold``. Lambda is searched by its order of magnitude: 0.001 is
nearly the same noise in every frame, 1.5 nearly independent noise (at sqrt(e) = 1.65 it is independent).
"""

from collections.abc import Mapping

from search_spaces.domains import Domain, Kinds, LogUniform, Uniform

MOTION: Mapping[str, Domain] = {
    "attention.mu": Uniform(low=0, high=1),
    "noise.threshold": LogUniform(low=0.001, high=1.5),
}
"""How much clips move: the two numbers of the method."""

COMPONENTS: Mapping[str, Domain] = {
    "noise": Kinds(values=("two_stage", "removed")),
    "attention": Kinds(values=("momentum", "previous_frame", "removed")),
    **MOTION,
}
"""Which components, and how much of each; a number is drawn where the drawn kind has it."""
