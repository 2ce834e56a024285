"""Findings in numbers and kinds: what the ledger holds, and what it shows."""
