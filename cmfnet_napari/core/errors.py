"""The one error that is written for the person in front of the screen."""


class UserError(Exception):
    """Something the user can act on.

    The message is one clear sentence that names what is wrong, with both values where two
    things disagree, and what to do. The command line prints it and exits with 1; the window
    shows it as a notification; the worker sends it as a ``failed`` event.
    """


class CancelledError(Exception):
    """The user ended something that was going on; there is nothing to say of it."""
