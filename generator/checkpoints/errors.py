"""What is wrong with weights that cannot be loaded, and how it is said: in one line, whatever the files hold."""

from characters.brief import Brief

# What readers, parsers and builders raise for a file that is not what it should be. RecursionError and
# NotImplementedError are RuntimeErrors; errors in decoding and those of this package are ValueErrors.
UNFIT = (
    OSError,
    LookupError,
    TypeError,
    ValueError,
    AttributeError,
    ArithmeticError,
    RuntimeError,
    AssertionError,
    MemoryError,
)
MAX_NAME = 1000  # characters of a tensor's name


class CheckpointMissing(Brief, RuntimeError):
    """Weights that are not on this machine; the message gives the one command that gets them and the size."""


class CheckpointDamaged(Brief, RuntimeError):
    """Weights that are there but cannot be used; the message says what is wrong and what to do."""


def plain(value: object, max_length: int = 60) -> str:
    """What a foreign file calls something, for a message: one short line, that a terminal shows and does not obey."""
    try:
        text = str(value)
    except UNFIT:  # a number of too many digits, a list in itself
        text = type(value).__name__
    start = text[: max_length + 1]
    printable = "".join(sign if sign.isprintable() else ascii(sign)[1:-1] for sign in start)
    return printable if len(printable) <= max_length else f"{printable[:max_length]}..."


def shown(value: object, max_length: int = 60) -> str:
    """The same in quotes."""
    return f"'{plain(value, max_length)}'"


def sentence(error: BaseException) -> str:
    """What an error says, without a full stop."""
    if isinstance(error, KeyError) and error.args:
        return f"{plain(error.args[0])} is missing"
    if isinstance(error, MemoryError):
        return "it takes more memory than there is"
    if isinstance(error, RecursionError):
        return "it is nested far too deep"
    text = plain(" ".join(str(error)[:10_000].split()) or type(error).__name__, 400).rstrip(".")
    # What a library stumbles over, which its words alone do not explain.
    stumbled = isinstance(error, (AttributeError, ArithmeticError, IndexError, AssertionError))
    return f"it does not fit together ({text})" if stumbled else text


def is_name(name: object) -> bool:
    """Whether it can be a tensor's name."""
    return isinstance(name, str) and len(name) <= MAX_NAME and name.isprintable()
