// Numbers of the last minute, one a second, as small lines without axes.

const SECONDS = 60;
const WIDTH = 120;
const HEIGHT = 30;

/** The last minute of one number. Seconds without a value leave a gap. */
export class Minute {
  private readonly values: (number | null)[] = [];

  /** The value of the second that has just ended. */
  add(value: number | null): void {
    this.values.push(value);
    if (this.values.length > SECONDS) this.values.shift();
  }

  /** The known values, oldest first. */
  get known(): number[] {
    return this.values.filter((value) => value !== null);
  }

  /**
   * The path of an SVG of 120 × 30: the newest value at the right, zero at the bottom.
   *
   * @param top The value at the top; the largest one where that is larger.
   */
  path(top = 0): string {
    const most = Math.max(top, 1e-9, ...this.known);
    let path = "";
    let pen = "M";
    for (const [i, value] of this.values.entries()) {
      if (value === null) {
        pen = "M";
        continue;
      }
      const x = WIDTH - ((this.values.length - 1 - i) * WIDTH) / (SECONDS - 1);
      path += `${pen}${x.toFixed(1)} ${(HEIGHT - 1 - (value / most) * (HEIGHT - 3)).toFixed(1)}`;
      pen = "L";
    }
    return path;
  }
}

/** A minute on the page, with its name, its range and a sentence for those who don't see the line. */
export class Graph {
  readonly element = document.createElement("figure");
  private readonly minute = new Minute();
  private readonly range = document.createElement("span");
  private readonly svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  private readonly line = document.createElementNS(this.svg.namespaceURI, "path") as SVGPathElement;

  /**
   * @param name For people.
   * @param unit After a number, with a space in front where there should be one.
   * @param top The value that reaches the top, where a fixed one says more than the largest.
   */
  constructor(
    private readonly name: string,
    private readonly unit: string,
    private readonly top = 0,
  ) {
    this.element.className = "graph";
    const caption = document.createElement("figcaption");
    const label = document.createElement("span");
    label.textContent = name;
    caption.append(label, this.range);
    this.svg.setAttribute("viewBox", `0 0 ${WIDTH} ${HEIGHT}`);
    this.svg.setAttribute("preserveAspectRatio", "none");
    this.svg.setAttribute("role", "img");
    this.svg.append(this.line);
    this.element.append(caption, this.svg);
    this.draw();
  }

  add(value: number | null): void {
    this.minute.add(value);
    this.draw();
  }

  private draw(): void {
    const known = this.minute.known;
    const text = known.length > 0 ? `${range(Math.min(...known), Math.max(...known))}${this.unit}` : "";
    this.range.textContent = text;
    this.line.setAttribute("d", this.minute.path(this.top));
    const now = known.length > 0 ? `${text}, now ${number(known.at(-1)!)}${this.unit}` : "nothing yet";
    this.svg.setAttribute("aria-label", `${this.name} in the last minute: ${now}`);
  }
}

function range(least: number, most: number): string {
  const [from, to] = [number(least), number(most)];
  return from === to ? from : `${from}–${to}`;
}

function number(value: number): string {
  return value.toFixed(value === 0 || value >= 9.95 ? 0 : 1);
}
