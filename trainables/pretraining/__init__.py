"""Training of the embedded base: corpus, networks, stages, figures, card."""
