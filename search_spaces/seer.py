"""Search spaces of Seer: dotted path -> domain, as plain data.

The learning rate is searched on a log scale, from a tenth of the paper's to the largest that suits a small model.
"""

from collections.abc import Mapping

from search_spaces.domains import Choice, Domain, LogUniform, Uniform

TRAINING: Mapping[str, Domain] = {
    "training.lr": LogUniform(low=1e-5, high=1e-2),
    "training.warm_up": Uniform(low=0, high=0.3),
    "temporal_attention.largest": Choice(values=(2, 4, 8)),
}
"""Training settings, and the size of the attention windows."""
