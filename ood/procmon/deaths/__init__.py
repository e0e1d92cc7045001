"""Deaths of workers: what was seen, why it was, and who is told."""
