"""``ood doctor``: facts are gathered, checks look at the facts, and each finding has its fix."""
