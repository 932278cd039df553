"""The live session: messages, state machine, errors. Pure standard library and msgpack; performs no I/O."""
