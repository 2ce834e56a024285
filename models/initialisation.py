"""Initialisation of new modules, keyed by the module's name, so that it does not depend on other parts."""

import math
from collections.abc import Mapping

import torch
from torch import nn

from models.streams import Streams


@torch.no_grad()
def initialise(parts: Mapping[str, nn.Module], streams: Streams) -> None:
    """Draw the weights of linear layers and convolutions again, from torch's default distribution.

        w, b ~ U(-1 / sqrt(n), 1 / sqrt(n)),   n inputs per output

    Weights that a part has set to zero stay zero; other parameters (norms, learnt queries) are not changed.

    Args:
        parts: New modules by their names in the network; the full name of a layer is the key of its draw.
        streams: Streams of the cell's seed.
    """
    for prefix, part in parts.items():
        for name, module in part.named_modules(prefix=prefix):
            if isinstance(module, nn.Linear | nn.Conv1d | nn.Conv2d | nn.Conv3d) and module.weight.any():
                bound = 1 / math.sqrt(module.weight[0].numel())
                for parameter_name, parameter in module.named_parameters(recurse=False):
                    generator = streams.generator(f"initialisation/{name}.{parameter_name}")
                    draws = generator.uniform(-bound, bound, parameter.shape)
                    parameter.copy_(torch.from_numpy(draws))
