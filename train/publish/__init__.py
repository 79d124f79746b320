"""A model as others receive it."""
