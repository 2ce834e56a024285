"""Weights that a new module starts from: drawn by the module's name, so that no other part shifts them."""

import math
from collections.abc import Mapping

import torch
from torch import nn

from models.streams import Streams


@torch.no_grad()
def initialise(parts: Mapping[str, nn.Module], streams: Streams) -> None:
    """Draw the weights of linear layers and convolutions anew, from torch's own law.

        w, b ~ U(-1 / sqrt(n), 1 / sqrt(n)),   n inputs per output

    Weights that a part has set to zero stay zero, and all else (norms, learnt queries) stays as its part sets it.

    Args:
        parts: New modules by their names in the network; the draw of a layer is keyed by its full name.
        streams: Of the cell's seed.
    """
    for prefix, part in parts.items():
        for name, module in part.named_modules(prefix=prefix):
            if isinstance(module, nn.Linear | nn.Conv1d | nn.Conv2d | nn.Conv3d) and module.weight.any():
                bound = 1 / math.sqrt(module.weight[0].numel())
                for which, parameter in module.named_parameters(recurse=False):
                    draws = streams.generator(f"initialisation/{name}.{which}").uniform(-bound, bound, parameter.shape)
                    parameter.copy_(torch.from_numpy(draws))
