"""The weights half: from shards to a model that says the new words."""
