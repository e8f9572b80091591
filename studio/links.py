"""Short addresses of pictures, to be passed on: /p/ID for people, /p/ID/picture and so on for the files."""

from __future__ import annotations

PATH = "/p"


def link_to(job_id: str, name: str = "") -> str:
    """The address of a job's picture below the studio's own. name: picture, thumbnail, film or gif for that file."""
    return f"{PATH}/{job_id}/{name}" if name else f"{PATH}/{job_id}"
