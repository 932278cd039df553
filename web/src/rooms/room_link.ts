// Rooms in addresses. A room's key is a secret: it stands in the fragment, which browsers send to nobody.

/** A room that an address names. */
export interface RoomAddress {
  /** A name or a key. */
  readonly room: string;
  /** What the page does there. */
  readonly role: "both" | "viewer";
}

/**
 * The room in an address: `#room=KEY`, or `#room=NAME`, which is watched, or sent to with `&role=camera`. Null where there is none.
 * What can be neither is left to the server, which says so.
 */
export function roomOf(address: string): RoomAddress | null {
  const fragment = new URLSearchParams(new URL(address).hash.slice(1));
  const room = fragment.get("room");
  if (!room) return null;
  const sends = /^(owner|camera)\./.test(room) || fragment.get("role") === "camera";
  return { room: room.slice(0, 200), role: sends ? "both" : "viewer" };
}

/** The address that lets somebody into a room, without what was set for this page alone. */
export function linkTo(room: string, address: string): string {
  const url = new URL(address);
  url.search = "";
  url.hash = new URLSearchParams({ room }).toString();
  return url.href;
}
