"""Time, money and memory of a plan, before it runs and on its way."""
