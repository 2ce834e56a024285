"""Time, money and memory of a plan, before and during its run."""
