"""The parts of the page Train: data, a new run, a run as it learns."""
