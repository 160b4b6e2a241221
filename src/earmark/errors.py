"""The one error that a user is meant to read."""


class EarmarkError(Exception):
    """Something the user can mend. Its message is one sentence that names the thing and the remedy."""
