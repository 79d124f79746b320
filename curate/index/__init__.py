"""Which images show which words: SQLite FTS5 files, each a segment, asked together."""
