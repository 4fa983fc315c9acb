"""The one exception that a user is meant to read. Here, and not in the contract, since `harness list` imports nothing slow."""


class UserError(Exception):
    """A mistake that the user can mend. Says what was wrong, what was given and what is allowed; shown without a traceback."""
