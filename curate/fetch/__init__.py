"""From what a source names to rows and bytes, and the account of it."""
