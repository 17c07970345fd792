"""Studies: methods and protocols, the comparison that `vicinal compare` runs, and its report."""

__all__ = ["compare", "methods", "protocol", "report", "summary", "trials"]
