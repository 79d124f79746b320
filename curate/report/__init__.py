"""The report as values, sentences, a page, a plan, and as CI reads it."""
