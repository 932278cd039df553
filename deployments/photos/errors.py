"""Why a photo has no file, and why the rest of them will have none either."""


class PhotoFailed(Exception):
    """One photo has no file; the others are not affected. ``str()`` is the sentence."""


class Stopped(Exception):
    """The work was interrupted: the photo has no file because nobody waits for it."""


class CommandError(Exception):
    """Nothing more can be done, for a reason that all photos share. ``str()`` is the sentence."""
