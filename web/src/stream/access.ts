// The server's access token: out of the page's address into the tab, and from there into every request.

const KEY = "splatcast.token";
const SUBPROTOCOL = "splatcast";
/** What a server's token is made of, and what a subprotocol can carry. */
export const TOKEN_PATTERN = "[A-Za-z0-9._~\\-]+";

/** The token in the address, from the fragment or else from the query, and the address without it. */
export function tokenOf(address: string): { token: string | null; rest: string } {
  const url = new URL(address);
  const fragment = new URLSearchParams(url.hash.slice(1));
  const token = fragment.get("token") || url.searchParams.get("token");
  // Rewritten only if they had one: a fragment need not look like a query.
  if (fragment.has("token")) {
    fragment.delete("token");
    url.hash = fragment.toString();
  }
  if (url.searchParams.has("token")) url.searchParams.delete("token");
  return { token: token && isToken(token) ? token : null, rest: url.href };
}

export function isToken(text: string): boolean {
  return new RegExp(`^(?:${TOKEN_PATTERN})$`).test(text);
}

export class Access {
  private token: string | null = null;

  /** Takes the token out of the address bar, from which people would copy it; if there is none, takes the tab's. */
  constructor() {
    const { token, rest } = tokenOf(location.href);
    if (rest !== location.href) history.replaceState(history.state, "", rest);
    this.token = token;
    withStorage((storage) => {
      if (token) storage.setItem(KEY, token);
      else this.token = storage.getItem(KEY);
    });
  }

  /** Whether requests carry a token. */
  get known(): boolean {
    return this.token !== null;
  }

  /** Another token from now on, or none; kept until the tab is closed. */
  set(token: string | null): void {
    this.token = token;
    withStorage((storage) => (token ? storage.setItem(KEY, token) : storage.removeItem(KEY)));
  }

  /** What the WebSocket offers: the only place where a browser lets it send a token. */
  get subprotocols(): string[] {
    return this.token ? [SUBPROTOCOL, `${SUBPROTOCOL}.token.${this.token}`] : [];
  }

  /** `fetch` of a path beside the page, with the token. */
  fetch(path: string, init: RequestInit = {}): Promise<Response> {
    const headers = new Headers(init.headers);
    if (this.token) headers.set("authorization", `Bearer ${this.token}`);
    return fetch(new URL(path, document.baseURI), { ...init, headers });
  }
}

/** A browser that stores nothing for sites throws as soon as it is named: the token then lives as long as the page. */
function withStorage(use: (storage: Storage) => void): void {
  try {
    use(sessionStorage);
  } catch {}
}
