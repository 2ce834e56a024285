"""Running a plan with Ray: driver, queue of cells, recorder."""
