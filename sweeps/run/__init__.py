"""A plan under Ray: the driver, its queue of cells, and what is recorded of them."""
