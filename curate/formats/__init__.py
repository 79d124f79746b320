"""The two contracts between curate and train: what a shard is, what a model file says."""
