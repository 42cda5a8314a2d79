"""Which block to tune of a user's own network, on the user's own data: `which_block`."""

from surgicalft.own.compare import which_block
from surgicalft.own.outcome import Outcome

__all__ = ["Outcome", "which_block"]
