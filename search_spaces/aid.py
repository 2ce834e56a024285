"""Search spaces of AID: dotted path -> domain, as plain data."""

from collections.abc import Mapping

from search_spaces.domains import Choice, Domain, LogUniform, Uniform

TRAINING: Mapping[str, Domain] = {
    "training.lr": LogUniform(low=1e-5, high=1e-2),
    "training.warm_up": Uniform(low=0, high=0.3),
    "drop_text": Uniform(low=0, high=0.3),
    "drop_frame": Uniform(low=0, high=0.3),
}
"""Training settings, and how often conditions are dropped."""

ADAPTERS: Mapping[str, Domain] = {
    "training.lr": LogUniform(low=1e-5, high=1e-2),
    "spatial_adapter.ratio": Choice(values=(0.125, 0.25, 0.5)),
    "short_term_adapter.ratio": Choice(values=(0.125, 0.25, 0.5)),
    "long_term_adapter.ratio": Choice(values=(0.125, 0.25, 0.5)),
}
"""Sizes of the three adapters."""

GUIDANCE: Mapping[str, Domain] = {
    "guidance.frame": Uniform(low=1.0, high=4.0),
    "guidance.text": Uniform(low=1.0, high=8.0),
}
"""Scales of the dual guidance."""
