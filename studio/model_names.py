"""Names of models: one that is asked for is nobody's yet, neither in the studio nor in the folder of checkpoints."""

from __future__ import annotations

from characters.brief import Term
from db.errors import NameTaken
from db.models import trained
from generator.checkpoints.model_file import put_by_hand
from generator.params.learning import run_key
from studio.context import Studio


def check_free(studio: Studio, name: str) -> None:
    """Raises NameTaken where a model is called so, KIND/NAME, or a run that is not over makes one, or where the host
    has put one there by hand: that is neither replaced nor mixed with another."""
    trained.check_free(studio.db, name, batch_key=run_key(name.partition("/")[2]))
    if put_by_hand(name, studio.settings.checkpoints_dir):
        raise NameTaken(name, Term("a model in the folder of checkpoints"))
