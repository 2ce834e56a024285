"""Values to search over: typed domains, handed to Optuna or Ray Tune."""

from search_spaces.domains import Choice, Domain, IntUniform, Kinds, LogUniform, Uniform, domain

__all__ = ["Choice", "Domain", "IntUniform", "Kinds", "LogUniform", "Uniform", "domain"]
