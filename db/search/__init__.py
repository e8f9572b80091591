"""Search by meaning: what CLIP sees in finished pictures, what was searched for, and which pictures are nearest."""
