"""Training of the embedded base: corpus, networks, stages, quality, card."""
