"""What can go wrong on the way out, told by the only thing that matters afterwards: can the other side have acted?"""


class NotSent(Exception):
    """Surely nothing reached the other side: refused here, not resolved, not connected, or not one byte written."""


class Blocked(NotSent):
    """The request or its address is one this process must not use."""


class Unknown(Exception):
    """At least a byte was written and no complete, acceptable answer came back: it may have happened."""
