"""Study files: their schema and their contents."""
