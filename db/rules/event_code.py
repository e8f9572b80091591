"""The code of an event: who has shown it may draw, vote and send pictures; a new one is asked for anew.

Kept with a visitor is not the code but what stands for it, made with the database's secret. The wall's QR code carries
the same: it cannot be guessed, while a code that people type is short.
"""

from __future__ import annotations

import hashlib
import hmac

import sqlalchemy as sa

from db.engine import reading, writing
from db.errors import CodeNeeded
from db.rules.salt import salt
from db.rules.visitors import lock, put
from db.schema import visitors


def stand_in(db: sa.Engine, code: str) -> str:
    """What stands for a code, as links carry it: 22 letters and digits. Capitals and blanks make no difference."""
    plain = "".join(code.split()).casefold()
    return hmac.new(salt(db), f"event code {plain}".encode("utf-8", "replace"), hashlib.sha256).hexdigest()[:22]


def check(db: sa.Engine, visitor: str, code: str) -> None:
    """Raises CodeNeeded where this visitor has not shown this code."""
    if not has_shown(db, visitor, code):
        raise CodeNeeded


def has_shown(db: sa.Engine, visitor: str, code: str) -> bool:
    """Whether this visitor has shown this code, by whatever door."""
    with reading(db) as conn:
        shown = conn.scalar(_SHOWN, {"visitor": visitor})
    return shown is not None and hmac.compare_digest(str(shown), stand_in(db, code))


def admit(db: sa.Engine, visitor: str, code: str) -> None:
    """Remember that this visitor has shown this code."""
    shown = stand_in(db, code)
    with writing(db) as conn:
        lock(conn, visitor)
        put(conn, visitor, {"code": shown})


# Made once: making a statement takes longer than running it.
_SHOWN = sa.select(visitors.c.code).where(visitors.c.id == sa.bindparam("visitor"))
