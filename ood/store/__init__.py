"""Where the document is kept."""
