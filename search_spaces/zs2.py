"""Search spaces of ZS2: dotted path -> domain, as plain data.

Symbols: mu ``attention.mu``, lambda ``noise.threshold``. Lambda is searched on a log scale: 0.001 is nearly the
same noise in every frame, 1.5 nearly independent noise (sqrt(e) = 1.65 is independent noise).
"""

from collections.abc import Mapping

from search_spaces.domains import Domain, Kinds, LogUniform, Uniform

MOTION: Mapping[str, Domain] = {
    "attention.mu": Uniform(low=0, high=1),
    "noise.threshold": LogUniform(low=0.001, high=1.5),
}
"""Amount of motion: the two numbers of the method."""

COMPONENTS: Mapping[str, Domain] = {
    "noise": Kinds(values=("two_stage", "removed")),
    "attention": Kinds(values=("momentum", "previous_frame", "removed")),
    **MOTION,
}
"""Components and their numbers; a number is drawn only if the drawn kind has it."""
