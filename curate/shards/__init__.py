"""The contract with the trainer: tar shards and their index."""
