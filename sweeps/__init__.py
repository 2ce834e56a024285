"""Questions: study files, their arms and cells, how they are run and what came of them."""
