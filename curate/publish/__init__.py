"""A dataset as others receive it: only what may be shared, described for people and programs."""
