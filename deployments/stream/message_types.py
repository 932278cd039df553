"""What the fields and classes of messages are made of, whose types set the bounds; :mod:`deployments.stream.messages` says why."""

import re
from typing import Annotated, TypeVar

import msgspec

T = TypeVar("T")
Text = Annotated[str, msgspec.Meta(max_length=65536)]
List = Annotated[list[T], msgspec.Meta(max_length=64)]
Map = Annotated[dict[Text, T], msgspec.Meta(max_length=64)]
Scalar = Text | float | int | bool | None
Option = Scalar | List[Scalar] | Map[Scalar]
"""Wider than today's options: a client with an option that we don't know is told about that option, and still served."""
Options = Map[Option]
Views = Annotated[list[bytes], msgspec.Meta(max_length=1024)]


class Message(msgspec.Struct, frozen=True, tag=lambda name: re.sub(r"(?<=[a-z])(?=[A-Z])", "_", name).lower()):
    """Written as a map: ``type``, which is the class's name, then the fields."""
