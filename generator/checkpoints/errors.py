"""What is wrong with weights that cannot be loaded."""


class CheckpointMissing(RuntimeError):
    """Weights that are not on this machine; the message gives the one command that gets them and the size."""


class CheckpointDamaged(RuntimeError):
    """Weights that are there but cannot be used; the message says what is wrong and what to do."""
