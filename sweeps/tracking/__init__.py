"""MLflow records of studies and cells."""
