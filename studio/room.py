"""Whether there is room for something new: on the disks, and for what one submitter, one address and all may give."""

from __future__ import annotations

from collections.abc import Sequence

from db.artefacts import free_space, given
from db.artefacts.free_space import Disk
from db.artefacts.given import Quota
from db.errors import DiskNearlyFull
from studio.context import Studio, Submitter


def check_room(studio: Studio, wanted: int = 0) -> None:
    """Raises DiskNearlyFull where so many bytes more would leave less free than the host wants to stay so."""
    free_space.check(studio.db, studio.store, studio.settings.min_free_bytes, wanted=wanted)


def check_given(studio: Studio, submitter: Submitter, sizes: Sequence[int] = (0,)) -> None:
    """Raises DiskNearlyFull, and TooManyBytesGiven where pictures of these sizes in bytes are more than may be kept."""
    check_room(studio, sum(sizes))
    given.check(studio.db, giver=submitter.id, address=submitter.address, quota=quota(studio), wanted=sizes)


def quota(studio: Studio) -> Quota:
    """What may be kept of given pictures."""
    settings = studio.settings
    return Quota(
        settings.max_upload_bytes_per_submitter,
        settings.max_upload_bytes_per_address,
        settings.max_upload_bytes_total,
    )


def disks(studio: Studio) -> list[Disk]:
    """The disks of this machine that the studio writes to, and what is left of each."""
    return free_space.disks(studio.db, studio.store)


def nearly_full(studio: Studio) -> DiskNearlyFull | None:
    """Why nothing new is taken; None where there is room."""
    try:
        check_room(studio)
    except DiskNearlyFull as error:
        return error
    return None
