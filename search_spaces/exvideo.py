"""Search spaces of ExVideo: dotted path -> domain, as plain data.

The learning rate is searched on a log scale, from the paper's to the largest that suits a small model.
"""

from collections.abc import Mapping

from search_spaces.domains import Choice, Domain, LogUniform, Uniform

TRAINING: Mapping[str, Domain] = {
    "training.lr": LogUniform(low=1e-5, high=1e-2),
    "training.warm_up": Uniform(low=0, high=0.3),
    "contrast": Uniform(low=1.0, high=1.05),
}
"""Training settings, and the contrast of the target."""

LOW_RANK: Mapping[str, Domain] = {
    "training.lr": LogUniform(low=1e-5, high=1e-2),
    "trainable.rank": Choice(values=(4, 8, 16, 32)),
    "trainable.alpha": Choice(values=(4, 8, 16, 32)),
}
"""Low-rank adapters, for a control with ``trainable: low_rank``."""
