"""What is told, and when: pure code."""
