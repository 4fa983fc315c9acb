"""The exception whose message is written for the user.

It is kept apart from the contract so that importing it costs nothing.
"""


class UserError(Exception):
    """A mistake that the user can correct; commands show its message without a traceback.

    The message says what is wrong, what was given, and what is allowed or what to do.
    """


class MisplacedRecord(UserError):
    """A run's folder does not have the run's name: it was renamed or copied."""


class RecordWarning(UserWarning):
    """What a reader of the numbers must know about the records behind them.

    Such as a damaged one that was left out; commands show it on standard error.
    """
