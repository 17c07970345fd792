"""Studies: methods and protocols, the comparison that `vicinal compare` runs, suites of many, their records and reports."""

__all__ = [
    "analysis",
    "compare",
    "export",
    "methods",
    "plan",
    "protocol",
    "record",
    "report",
    "runner",
    "store",
    "suite",
]
__all__ += ["summary", "tally", "trials"]
