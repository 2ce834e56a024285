"""Numbers only: paired comparisons, looks on the way, power. Nothing here knows a study or a plan."""
