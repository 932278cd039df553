"""``python -m deployments.stream.typescript`` prints ``web/src/stream/messages.ts``: the messages as TypeScript interfaces.

The comment of an interface is the class's docstring, the comment of a field is its line under ``Attributes:``.
"""

import inspect
import re
from typing import Any, Literal, get_args, get_origin, get_type_hints

from deployments.splats.camera import Camera
from deployments.stream import messages
from deployments.stream.options import FrameOptions

_HEADER = """\
// Generated from deployments/stream/messages.py by `python -m deployments.stream.typescript`. Do not edit.

/** Version of the wire protocol. */
export const PROTOCOL = {protocol};
"""

_SCALARS = {
    int: "number",
    float: "number",
    str: "string",
    bool: "boolean",
    bytes: "Uint8Array",
    type(None): "null",
    Any: "unknown",
}


def generate() -> str:
    """The whole TypeScript module."""
    client, server = get_args(messages.ClientMessage), get_args(messages.ServerMessage)
    parts = [_HEADER.format(protocol=messages.PROTOCOL)]
    inside = (FrameOptions, messages.Engine, messages.Limits, Camera, messages.QualityState, messages.RoomCamera)
    parts += [_interface(cls) for cls in inside]
    parts += [_interface(messages.KnownCamera, sent=True)]
    parts += [_interface(cls, tag=messages.type_name(cls), sent=True) for cls in client]
    parts += [_interface(cls, tag=messages.type_name(cls)) for cls in server]
    parts += [
        "\n".join([f"export type {name} =", *(f"  | {_ts_name(cls)}" for cls in classes)]) + ";\n"
        for name, classes in (("ClientMessage", client), ("ServerMessage", server))
    ]
    return "\n".join(parts)


def _interface(cls: type, tag: str | None = None, sent: bool = False) -> str:
    summary, attributes = _docstring(cls)
    hints = get_type_hints(cls)
    lines = [*_comment(summary, ""), f"export interface {_ts_name(cls)} {{"]
    if tag is not None:
        lines.append(f'  type: "{tag}";')
    for name, parameter in inspect.signature(cls).parameters.items():
        lines += _comment(attributes.get(name, ""), "  ")
        # A sender may leave out fields with a default; a receiver always gets them.
        optional = sent and parameter.default is not parameter.empty
        lines.append(f"  {name}{'?' if optional else ''}: {_type(hints[name], name)};")
    return "\n".join([*lines, "}\n"])


def _ts_name(cls: type) -> str:
    # Plain "Error" would shadow JavaScript's own.
    return f"{cls.__name__}Message" if cls in get_args(messages.ClientMessage | messages.ServerMessage) else cls.__name__


def _type(hint: Any, name: str) -> str:
    origin, args = get_origin(hint), get_args(hint)
    if name == "options":
        return "Partial<FrameOptions>"
    if hint in _SCALARS:
        return _SCALARS[hint]
    if origin is list:
        return f"{_type(args[0], '')}[]"
    if origin is dict:
        return f"Record<{_type(args[0], '')}, {_type(args[1], '')}>"
    if origin is Literal:
        return " | ".join(f'"{arg}"' for arg in args)
    if args:
        return " | ".join(_type(arg, "") for arg in args)
    return _ts_name(hint)


def _docstring(cls: type) -> tuple[str, dict[str, str]]:
    """The summary, and a map of attributes to their texts."""
    summary, _, rest = inspect.cleandoc(cls.__doc__ or "").partition("\nAttributes:\n")
    found = re.findall(r"^ {4}(\w[\w, ]*): (.*(?:\n {5,}.*)*)", rest, re.MULTILINE)
    return _text(summary), {name: _text(text) for names, text in found for name in names.split(", ")}


def _text(text: str) -> str:
    """The text as one line, with reStructuredText's roles and double backticks turned into Markdown."""
    text = re.sub(r":\w+:`~?([^`]+)`", r"`\1`", " ".join(text.split()))
    return text.replace("``", "`")


def _comment(text: str, indent: str) -> list[str]:
    return [f"{indent}/** {text} */"] if text else []


if __name__ == "__main__":
    print(generate(), end="")
