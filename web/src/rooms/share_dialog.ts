// The dialog that shares: a link and its QR code, who watches, and what the owner may do.

import { encode } from "uqr";
import type { RoomState, State } from "../state.js";
import { copyFrom } from "../ui/copying.js";
import { byId, make, setText } from "../ui/dom.js";
import type { Store } from "../ui/store.js";
import { cameraLines } from "./camera_lines.js";
import { linkTo } from "./room_link.js";
import type { Rooms } from "./rooms.js";

const SVG = "http://www.w3.org/2000/svg";

/** @param needsToken The server asks for a token: it is not in the link. */
export function attachSharing(store: Store<State>, rooms: Rooms, needsToken: () => boolean): void {
  const dialog = byId<HTMLDialogElement>("share-dialog");
  const lock = byId<HTMLInputElement>("share-lock");
  const camera = byId<HTMLSelectElement>("room-camera");
  byId("share").addEventListener("click", () => {
    rooms.share();
    dialog.showModal();
  });
  byId("share-stop").addEventListener("click", () => {
    if (store.get().room?.keys["owner"]) rooms.close();
    else rooms.leave();
    dialog.close();
  });
  lock.addEventListener("change", () => (rooms.locked = lock.checked));
  camera.addEventListener("change", () => rooms.see(camera.value));
  copyFrom("share-copy", byId<HTMLInputElement>("share-link"));
  copyFrom("share-camera-copy", byId<HTMLInputElement>("share-camera-link"));
  byId("share-here").hidden = !isLoopback(location.hostname);
  let drawn = "";
  store.subscribe(({ room, watching }) => {
    showLine(room, watching);
    byId("share").hidden = watching;
    byId("share").setAttribute("aria-pressed", String(room !== null));
    camera.hidden = !watching || (room?.cameras.length ?? 0) < 2;
    if (!room) return;
    const viewer = room.keys["viewer"];
    const link = viewer ? linkTo(viewer, location.href) : location.href;
    byId<HTMLInputElement>("share-link").value = link;
    if (link !== drawn) drawCode(byId("share-code"), link);
    drawn = link;
    byId("share-token").hidden = !needsToken();
    const adds = room.keys["camera"];
    byId("share-cameras").hidden = !adds;
    byId<HTMLInputElement>("share-camera-link").value = adds ? linkTo(adds, location.href) : "";
    byId("share-owner").hidden = !room.keys["owner"];
    lock.checked = room.locked;
    setText(byId("share-stop"), room.keys["owner"] ? "Stop sharing" : "Leave the room");
    setText(byId("share-who"), watchers(room));
    byId("share-in").replaceChildren(...cameraLines(room.cameras, room.id).map((line) => make("li", line)));
    const choices = room.cameras.map(
      ({ id, name }, index) => new Option(name || `Camera ${index + 1}`, id, false, id === room.shown),
    );
    camera.replaceChildren(...choices);
  });
}

/** Whether a host name is the computer's own, on each computer another one. */
function isLoopback(hostname: string): boolean {
  return /^(localhost|.*\.localhost|127(\.\d+){3}|\[::1\])$/.test(hostname);
}

function showLine(room: RoomState | null, watching: boolean): void {
  const line = byId("room");
  line.hidden = !room && !watching;
  if (!room) {
    setText(line, watching ? "You are in no room" : "");
    return;
  }
  const there = room.cameras.filter(({ away }) => !away).length;
  if (!watching) setText(line, `Shared · ${watchers(room)}`);
  else if (there > 0) setText(line, room.viewers > 1 ? `Watching, one of ${room.viewers}` : "Watching");
  else
    setText(
      line,
      room.cameras.length > 0 ? "The camera is away, and may be back" : "No camera yet: it is shown as soon as there is one",
    );
}

function watchers({ viewers, names }: RoomState): string {
  const known = names.length > 0 ? `: ${names.join(", ")}` : "";
  const many = viewers === 1 ? "one watches" : `${viewers} watch`;
  return viewers === 0 ? "nobody watches yet" : `${many}${known}`;
}

/** Dark on light whatever the page's colours are: many readers know no other. */
function drawCode(svg: Element, text: string): void {
  const { data, size } = encode(text, { ecc: "M", border: 3 });
  let path = "";
  for (const [y, row] of data.entries()) for (const [x, dark] of row.entries()) if (dark) path += `M${x} ${y}h1v1h-1z`;
  svg.setAttribute("viewBox", `0 0 ${size} ${size}`);
  const [ground, modules] = [document.createElementNS(SVG, "rect"), document.createElementNS(SVG, "path")];
  ground.setAttribute("width", String(size));
  ground.setAttribute("height", String(size));
  ground.setAttribute("fill", "#fff");
  modules.setAttribute("d", path);
  modules.setAttribute("fill", "#000");
  svg.replaceChildren(ground, modules);
}
