"""Spanish and Basque into English, for what the embedded models can draw: word lists and the order of words."""

from generator.wording.languages.translation import Translated, translate

__all__ = ["Translated", "translate"]
