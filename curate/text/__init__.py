"""Words: their forms, what a dictionary knows of them, and which belong together."""
