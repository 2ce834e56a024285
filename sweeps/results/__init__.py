"""Results of a study as numbers and kinds: the ledger, and the analyses of its records."""
