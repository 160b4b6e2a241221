"""The one error that a user is meant to read."""


class EarmarkError(Exception):
    """Something the user can mend. Its message is one sentence that names the thing and the remedy."""


def needs_package(what: str, error: ModuleNotFoundError, extra: str) -> EarmarkError:
    """What to tell where a package is missing; an extra of Earmark's brings it."""
    return EarmarkError(f"{what} needs the package {error.name}: install it with `pip install 'earmark[{extra}]'`.")
