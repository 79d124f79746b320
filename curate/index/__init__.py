"""Which images show which words: one SQLite FTS5 file a segment, all asked together."""
