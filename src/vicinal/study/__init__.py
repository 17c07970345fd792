"""Studies: methods and protocols, the comparison that `vicinal compare` runs, and its report."""
