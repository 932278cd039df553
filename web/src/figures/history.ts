// The last minutes of a number, as a line without axes.

const KEPT = 90;
const WIDTH = 120;
const HEIGHT = 28;

/** The newest values of each name. */
export class History {
  private readonly values = new Map<string, number[]>();

  add(name: string, value: number): void {
    const list = this.values.get(name) ?? [];
    list.push(value);
    if (list.length > KEPT) list.shift();
    this.values.set(name, list);
  }

  /** A line from the oldest value at the left to the newest at the right; zero is at the bottom. */
  line(name: string): SVGSVGElement {
    const list = this.values.get(name) ?? [];
    const most = Math.max(1e-9, ...list);
    const points = list.map((value, i) => {
      const x = WIDTH - ((list.length - 1 - i) * WIDTH) / (KEPT - 1);
      return `${x.toFixed(1)},${(HEIGHT - 1 - (value / most) * (HEIGHT - 3)).toFixed(1)}`;
    });
    const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
    svg.setAttribute("viewBox", `0 0 ${WIDTH} ${HEIGHT}`);
    svg.setAttribute("preserveAspectRatio", "none");
    svg.setAttribute("aria-hidden", "true");
    const line = document.createElementNS(svg.namespaceURI, "polyline");
    line.setAttribute("points", points.join(" "));
    svg.append(line);
    return svg;
  }
}
