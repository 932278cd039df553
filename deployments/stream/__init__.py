"""The live session: messages, state machine, errors. Needs the standard library, msgpack and msgspec; performs no I/O."""
