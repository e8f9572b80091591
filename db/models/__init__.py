"""Models that jobs have trained: by name, with the key of their file and their card."""
