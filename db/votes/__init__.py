"""Votes between two pictures: each voter sees each pair once, whichever side each picture was on."""

from db.votes.casting import CHOICES, Choice, Tally, cast, cast_by, tallies
from db.votes.pairs import next_pair

__all__ = ["CHOICES", "Choice", "Tally", "cast", "cast_by", "next_pair", "tallies"]
