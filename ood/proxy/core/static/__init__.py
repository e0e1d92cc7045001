"""What a request for a file means: its path, its conditions, its ranges, its type."""
