"""The exit codes of the commands."""

from enum import IntEnum


class Exit(IntEnum):
    DONE = 0
    INCOMPLETE = 1  # something is wrong, missing or left; the output names it
    MISUSE = 2  # wrong arguments or settings
    UNAVAILABLE = 3  # Supabase cannot be reached, or refuses
    SIGNALLED = 128  # plus the signal's number
