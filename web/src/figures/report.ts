// The JSON of `/api/status`; deployments/http/status.py makes it.

type Percentiles = { p50?: number; p95?: number };
/** Label → in the window, since the start. */
type ByLabel = Record<string, [number, number]>;

export interface Row {
  session: string;
  client: string;
  open_s: number;
  fps: number;
  mbit_s: number;
  splats: number;
  age_ms_p50: number | null;
  total_ms_p50: number | null;
  quality: { max_splats: number; inference_px: number; cause: string; message: string } | null;
}

export interface RoomRow {
  /** Its name inside the server, which opens nothing. */
  room: string;
  cameras: number;
  /** Cameras whose place is kept while they are gone. */
  away: number;
  viewers: number;
  /** Of them, by way of this ingress. */
  viewers_here: number;
  replicas: number;
  locked: boolean;
}

export interface Report {
  version: string;
  /** Of the ingress; empty outside Ray. */
  replica: string;
  uptime_s: number;
  engine: { label: string; licence: string; licence_note: string } | null;
  graph: { state: string; deployments: { name: string; state: string; replicas: Record<string, number> }[] } | null;
  target_age_ms: number;
  findings: { level: "good" | "warn" | "bad"; text: string }[];
  recent: {
    seconds: number;
    frames_in_s: number;
    sent_s: number;
    shown_s: number;
    mbit_in_s: number;
    mbit_out_s: number;
    age_ms: Percentiles;
    stages_ms: Record<string, Percentiles>;
    dropped: ByLabel;
    errors: ByLabel;
    refused: ByLabel;
    quality_changes: ByLabel;
  };
  admission: { limit: number; in_flight: number; waiting: number; pressure: number; batch: number; max_batch: number };
  sessions: { open: number; max: number; slowest: Row[] };
  rooms: { open: number; max: number; largest: RoomRow[] };
}
