"""The ``splatcast`` command: with photos it makes files of them, without any it starts the server."""

import sys
from collections.abc import Sequence


def main(argv: Sequence[str] | None = None) -> int:
    """Entry point. Returns the exit status."""
    arguments = sys.argv[1:] if argv is None else list(argv)
    # Each imports what the other does not need.
    if asks_for_files(arguments):
        from deployments.photos.command import main as make_files

        # Also where -o would take it for the folder's name: "splatcast --help" sends people to "splatcast -o --help".
        return make_files(["--help"] if {"-h", "--help"} & set(arguments) else arguments)
    from deployments.ops.launch import main as launch

    return launch(arguments)


def asks_for_files(arguments: Sequence[str]) -> bool:
    """Whether photos or a folder for files are named: the server takes neither."""
    names_photo = bool(arguments) and not arguments[0].startswith("-")
    return names_photo or any(each.startswith(("-o", "--out")) for each in arguments)
