"""Models that users train on their own captions: their data, their recipes and their runs, driven by an engine."""
