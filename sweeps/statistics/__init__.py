"""Statistics on plain numbers: paired comparisons, group-sequential tests, power; no study, no plan."""
