"""The exception whose message is written for the user.

It is kept apart from the contract so that importing it costs nothing.
"""


class UserError(Exception):
    """A mistake that the user can correct; commands show its message without a traceback.

    The message says what is wrong, what was given, and what is allowed or what to do.
    """
