"""The command line: one function per verb, a treq client, rendering."""
