"""What prompts ask for against what captions show."""
