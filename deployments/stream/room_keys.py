"""Who may do what in a room: the text that names a room is also the right to it.

A room has a name, which anyone may use, or three keys, each of which opens less than the one it is made from:

    owner key ──SHA-256──▶ camera key ──SHA-256──▶ viewer key ──SHA-256──▶ the room's id
    close, lock            publish                 watch                   names it inside the server

Whoever has a key can make those below it, and nobody those above. The id follows from any of the three, so the server keeps no
secret, compares none, and forgets nothing when it restarts: another key is simply another room, which is empty. Keys have 256
random bits, and what is shorter or longer is a link that lost a letter; they travel in messages and in the fragments of links,
never in an address that a server or a proxy would log.
"""

import hashlib
import re
import secrets
from base64 import urlsafe_b64encode
from dataclasses import dataclass
from typing import Literal

from deployments.stream.errors import RoomNameRefused

Right = Literal["owner", "camera", "viewer"]
RIGHTS: tuple[Right, ...] = ("owner", "camera", "viewer")
"""Each includes those after it."""

_KEY = re.compile(rf"({'|'.join(RIGHTS)})\.([A-Za-z0-9_-]{{43}})")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")
_PLACE = re.compile(r"[A-Za-z0-9_-]{16,64}")
NEW = "new"
"""In place of a name: a room that nobody knows yet."""


@dataclass(frozen=True, slots=True)
class RoomKey:
    """What a client may do in which room.

    Attributes:
        room_id: Names the room inside the server; nothing that opens it follows from this.
        right: The most that the client may do.
        keys: Right → the text that gives it, for this one and those below; empty for a room with a name.
    """

    room_id: str
    right: Right
    keys: dict[str, str]

    def allows(self, right: Right) -> bool:
        """Whether ``right`` is among those that it gives."""
        return RIGHTS.index(self.right) <= RIGHTS.index(right)


def new_room() -> str:
    """The owner key of a room of which nobody knows."""
    return f"owner.{secrets.token_urlsafe(32)}"


def read_room(text: str) -> RoomKey:
    """The room that a client names, and its rights there.

    Raises:
        RoomNameRefused: It is neither a name nor a key. The sentence does not repeat it: it may be a secret with a typing error.
    """
    if key := _KEY.fullmatch(text):
        right: Right = key[1]  # type: ignore[assignment]
        keys: dict[str, str] = {right: text}
        secret = key[2]
        for lower in RIGHTS[RIGHTS.index(right) + 1 :]:
            secret = _derived(lower, secret)
            keys[lower] = f"{lower}.{secret}"
        return RoomKey(f"key-{_derived('room', secret)[:22]}", right, keys)
    if _NAME.fullmatch(text):
        return RoomKey(f"name-{text}", "camera", {})  # Nobody owns it.
    raise RoomNameRefused()


def read_place(text: str) -> tuple[str, str]:
    """The token that keeps a place in a room, a new one unless ``text`` is one; and what the others know the place by, its hash."""
    token = text if _PLACE.fullmatch(text) else secrets.token_urlsafe(18)
    return token, hashlib.sha256(f"splatcast place {token}".encode()).hexdigest()[:12]


def _derived(purpose: str, secret: str) -> str:
    digest = hashlib.sha256(f"splatcast {purpose} {secret}".encode()).digest()
    return urlsafe_b64encode(digest).decode().rstrip("=")
