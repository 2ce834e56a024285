"""What the engine is measured beside: the same work, done in the ways one would do it without the engine."""
