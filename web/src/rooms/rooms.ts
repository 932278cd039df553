// The page's place in a room: enters it, keeps it over reloads of this tab, and tells the page who is there.

import { nowMs } from "../clock.js";
import type { State } from "../state.js";
import type { JoinedMessage, RoomMessage } from "../stream/messages.js";
import type { Stream } from "../stream/stream.js";
import type { Store } from "../ui/store.js";
import { type RoomAddress, roomOf } from "./room_link.js";

/** For this tab: the room, the role in it, and the token that keeps the place. */
const KEY = "splatcast.room";

interface Kept extends RoomAddress {
  readonly place: string;
}

export class Rooms {
  private kept: Kept | null = null;

  constructor(
    private readonly store: Store<State>,
    private readonly stream: Stream,
  ) {
    // The address comes first: somebody has just opened a link.
    const named = roomOf(location.href);
    const before = readKept();
    if (named) this.enter(named, before?.room === named.room ? before.place : "");
    else if (before?.role === "both") this.enter(before, before.place);
  }

  /** Whether the page only watches. */
  get watches(): boolean {
    return this.kept?.role === "viewer";
  }

  /** Opens a room of which nobody knows yet, for what this page shows. */
  share(): void {
    if (!this.kept) this.enter({ room: "new", role: "both" }, "");
  }

  leave(): void {
    this.forget();
    this.stream.join(null);
  }

  /** Ends the room for all. */
  close(): void {
    this.stream.govern({ close: true });
  }

  set locked(locked: boolean) {
    this.stream.govern({ locked });
  }

  see(camera: string): void {
    this.stream.watch(camera);
  }

  joined({ id, role, place, keys }: JoinedMessage): void {
    if (!this.kept) return;
    const room = this.kept.room === "new" ? (keys["owner"] ?? "") : this.kept.room;
    this.keep({ ...this.kept, room, place });
    const before = this.store.get().room;
    const news = before ?? { cameras: [], viewers: 0, names: [], locked: false, shown: "" };
    this.store.set({ room: { ...news, id, role: role === "viewer" ? "viewer" : "both", keys } });
  }

  changed({ cameras, viewers, names, locked, shown }: RoomMessage): void {
    const { room } = this.store.get();
    if (room) this.store.set({ room: { ...room, cameras, viewers, names, locked, shown } });
  }

  /** The server has no place for this page there, or no longer; the stream has forgotten the room. */
  refused(): void {
    const watched = this.watches;
    this.forget();
    // Who came to watch must not find a page that asks for their camera.
    if (watched) this.kept = { room: "", role: "viewer", place: "" };
  }

  private enter({ room, role }: RoomAddress, place: string): void {
    this.keep({ room, role, place });
    this.stream.join({ type: "join", room, role, place, t: nowMs() });
    this.store.set({ watching: role === "viewer" });
  }

  private keep(kept: Kept): void {
    this.kept = kept;
    withSession((storage) => storage.setItem(KEY, JSON.stringify(kept)));
  }

  private forget(): void {
    this.kept = null;
    withSession((storage) => storage.removeItem(KEY));
    this.store.set({ room: null });
  }
}

function readKept(): Kept | null {
  let kept: Kept | null = null;
  withSession((storage) => {
    const { room, role, place } = JSON.parse(storage.getItem(KEY) ?? "{}") as Partial<Kept>;
    const isRoom = typeof room === "string" && (role === "both" || role === "viewer") && typeof place === "string";
    if (isRoom && room !== "new") kept = { room, role, place };
  });
  return kept;
}

/** Browsers may refuse to keep anything: then nothing is. */
function withSession(use: (storage: Storage) => void): void {
  try {
    use(sessionStorage);
  } catch {}
}
