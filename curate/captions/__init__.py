"""From what a source says to a clean English sentence."""
