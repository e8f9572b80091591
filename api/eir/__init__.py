"""EIR's serving (`eirserve`): a model that was trained here answers as one of its tutorial does."""
