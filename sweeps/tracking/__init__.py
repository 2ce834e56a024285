"""MLflow: what is recorded of a study and its cells, and where."""
