"""Attacks on what the edge forwards, judged by parsers that are not ours."""
