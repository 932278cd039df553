"""The viewer's types follow the messages."""

from pathlib import Path

from deployments.stream.typescript import generate

COMMITTED = Path(__file__).parents[2] / "web" / "src" / "stream" / "messages.ts"


def test_the_committed_typescript_is_what_the_messages_generate():
    assert COMMITTED.read_text(encoding="utf-8") == generate(), "run 'make messages' and commit web/src/messages.ts"


def test_what_a_client_may_leave_out_is_optional_and_what_a_server_sends_is_not():
    text = generate()
    assert "captured_ms?: number;" in text.split("interface FrameMessage")[1].split("}")[0]
    assert "  captured_ms: number;" in text.split("interface SplatsMessage")[1].split("}")[0]


def test_every_field_of_a_message_is_there_with_its_comment():
    body = generate().split("export interface LimitsMessage")[0]
    assert "/** Replies on the way before the server waits for an `ack`. */\n  max_unacked: number;" in body
