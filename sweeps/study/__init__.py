"""Study files: what may be written in one, and what was."""
