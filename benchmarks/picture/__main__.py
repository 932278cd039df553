"""What a frame looks like from where the viewer may orbit to, and over time.

    python -m benchmarks.picture [--shots one,motorcycle,relief] [--px 504] [--sheet sheet.png] [--out picture.json]

Each shot goes through the packer and back with every set of options named (``--options behind_deg=0 behind_deg=15``), is drawn by
the benchmark's own splatter from 0°, ±5°, ±10°, ±15°, ±20° of yaw and ±8° of pitch about the subject's depth, and compared with
what is truly to be seen there: the procedural scene is drawn from any place, the motorcycle has a second photograph. Pixels outside
the capture camera's field count nowhere. ``--zoom`` draws the camera's own view larger and smaller, too. The sheet shows the frames
to people: truth above, then each set of options.

Figures come out the same on every run, but for the time that packing takes.
"""

import argparse
import sys
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from benchmarks.command import BenchmarkError, between, command, describe_machine, names, new_parser, publish, start_report
from benchmarks.figures import table
from benchmarks.picture import calm, still, zoom
from benchmarks.picture.shots import SHOTS, Shot
from deployments.stream.errors import BadMessage
from deployments.stream.options import FrameOptions, OptionLimits

USUAL = ("one", "three", "table", "across", "motorcycle", "relief", "relief-coffee", "one-native-middle", "across-native-middle")
TURNS = tuple((f"+{degrees}°", f"-{degrees}°") for degrees in (10, 15, 20))
SHOWN = ("0°", "+15°", "-15°", "pitch +8°", "other eye")
"""Places on the sheet."""


def describe(found: dict[str, dict[str, Any]]) -> str:
    """Shot → options → figures, for people. Means of left and right."""
    rows = []
    for shot, ways in found.items():
        for way, report in ways.items():
            places = report["places"]

            def mean(key: str, *at: str, places: dict[str, Any] = places) -> float:
                return float(np.mean([places[name][key] for name in at if name in places] or [np.nan]))

            sides = [("0°",), *((f"+{d}°", f"-{d}°") for d in (5, 10, 15, 20)), ("pitch +8°", "pitch -8°")]
            if "other eye" in places:
                sides = [("0°",), *[("other eye",)] * 2, *sides[3:]]
            rows.append(
                [
                    f"{shot}, {way}" if way else shot, report["bytes"] / 1e3, report["pack_ms"], report["splats"],
                    *(mean("psnr", *at) for at in sides[:5]), *(f"{mean('ssim', *sides[i]):.4f}" for i in (0, 2)),
                    *(f"{100 * mean('wrong', *sides[i]):.2f}" for i in (0, 2, 3)),
                    *(f"{100 * mean('holes', *at):.2f}" for at in (sides[0], *TURNS, sides[5])),
                ]
            )  # fmt: skip
    heads = [
        "",
        "kB without JPEG",
        "pack CPU ms",
        "splats",
        "PSNR 0°",
        "±5°",
        "±10°",
        "±15°",
        "±20°",
        "SSIM 0°",
        "±10°",
        "wrong % 0°",
        "±10°",
        "±15°",
    ]
    return table([*heads, "holes % 0°", "±10°", "±15°", "±20°", "pitch"], rows)


def sheet(shot: Shot, pictures: dict[str, list[Any]]) -> Any:
    """One shot for people: a row of truth where there is any, then one for each set of options. uint8 [H, W, 3]."""
    places = shot.places()
    columns = [index for index, place in enumerate(places) if place.name in SHOWN]
    blank = np.full_like(pictures[next(iter(pictures))][0], 0.2)
    rows = [[places[i].truth if places[i].truth is not None else blank for i in columns]]
    rows += [[drawn[i] for i in columns] for drawn in pictures.values()]
    strip = np.vstack([np.hstack(row) for row in rows])
    return np.asarray(strip * 255 + 0.5, np.uint8)


@command("picture")
def main(argv: list[str]) -> int:
    """Measure, print, and write the report and the sheet if files were named. Returns the exit status."""
    parser = new_parser("picture", __doc__ or "", formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shots", type=names, default=list(USUAL), help=f"of {', '.join(SHOTS)} (%(default)s)")
    parser.add_argument("--px", type=between(64, 1008, int), default=504, help="width of the grids (%(default)s)")
    parser.add_argument("--options", type=_options, nargs="+", default=[FrameOptions()], help="sets of options, each key=value,…")
    parser.add_argument(
        "--calm", type=between(0, 1), nargs="*", default=[0.0, 1.0], help="strengths to measure over time; none: skip"
    )
    parser.add_argument("--zoom", action="store_true", help="compare plain splats and flat tops, larger and smaller")
    parser.add_argument("--sheet", type=Path, help="write a contact sheet to this file, or to one a shot if it has a {}")
    args = parser.parse_args(argv)
    if unknown := set(args.shots) - set(SHOTS):
        raise BenchmarkError(f"--shots: expected some of {', '.join(SHOTS)}, got {', '.join(sorted(unknown))}")
    report = start_report("picture", 1, argv, args)
    found: dict[str, dict[str, Any]] = {}
    sheets, zoomed = {}, {}
    for name in args.shots:
        shot = SHOTS[name](args.px)
        found[name], pictures = {}, {}
        for options in args.options:
            found[name][_words(options)], pictures[_words(options)] = still.measure(shot, options)
        if args.zoom and shot.native is None:
            zoomed[name] = zoom.measure(shot)
        if args.sheet:
            sheets[name] = sheet(shot, pictures)
    for name, picture in sheets.items():
        path = Path(str(args.sheet).replace("{}", name))
        cv2.imwrite(str(path), picture[..., ::-1])
    report["shots"] = found
    text = f"{describe_machine(report)}\n\n{describe(found)}"
    if args.zoom:
        report["zoom"] = zoomed
        lines = [
            [f"{name}, {way}", *(row["psnr"] for row in rows), *(f"{row['black']:.2f}" for row in rows)]
            for name, ways in zoomed.items()
            for way, rows in ways.items()
        ]
        heads = [f"{what} {times:g} ×" for what in ("PSNR", "black %") for times in zoom.TIMES]
        text += f"\n\n{table(['', *heads], lines)}"
    if args.calm:
        report["calm"] = [calm.measure(strength) for strength in args.calm]
        rows = [[row["calm"], *(f"{row[key]:.2f}" for key in list(calm.HEADS)[1:])] for row in report["calm"]]
        text += f"\n\n{table(list(calm.HEADS.values()), rows)}"
    publish(report, text, args.out)
    return 0


def _options(text: str) -> FrameOptions:
    changes: dict[str, Any] = {}
    for pair in names(text):
        key, _, value = pair.partition("=")
        changes[key] = value if not value or value[0].isalpha() else float(value) if "." in value else int(value)
    try:
        return OptionLimits().apply(FrameOptions(), changes)
    except (BadMessage, KeyError) as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def _words(options: FrameOptions) -> str:
    """What is not as it is by default."""
    default = FrameOptions()
    return ",".join(
        f"{key}={getattr(options, key)}" for key in FrameOptions.__slots__ if getattr(options, key) != getattr(default, key)
    )


if __name__ == "__main__":
    sys.exit(main())
