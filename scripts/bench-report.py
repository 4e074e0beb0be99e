#!/usr/bin/env python3
"""What bench/ measured, for docs/performance.md:

    bench-report.py JSON [--svg FILE] [--table FILE]

--svg writes the chart; --table writes the table between the two marker comments of a Markdown file.
"""
import argparse
import json
import re
import sys
from xml.sax.saxutils import escape

BEGIN = "<!-- figures: written by ./dev bench --save -->"
END = "<!-- end of figures -->"

# The chart, in pixels.
LEFT, RIGHT, TOP, ROW, SCALE = 330, 70, 62, 34, 360
LONGEST = 1.25  # ratios beyond are cut off and their number tells them
SIDES = (("module", 9, 2), ("softhsm", 5, 13), ("nss", 5, 20))
NAMES = {"module": "this module", "softhsm": "SoftHSM", "nss": "NSS"}

# Text and lines follow the reader's light or dark background; bars are readable on both.
STYLE = """
    text { font: 13px sans-serif; fill: #24292f; }
    .small { font-size: 11px; }
    .axis { stroke: #8c959f; stroke-width: 1; }
    .one { stroke: #24292f; stroke-width: 1; }
    .goal { stroke: #cf222e; stroke-width: 2; }
    .spread { stroke: #24292f; stroke-width: 1; }
    .module { fill: #2f81f7; } .softhsm { fill: #bf8700; } .nss { fill: #8c959f; }
    @media (prefers-color-scheme: dark) {
      text { fill: #e6edf3; } .one, .spread { stroke: #e6edf3; } .goal { stroke: #ff7b72; }
    }"""


def across(ratio):
    return LEFT + SCALE * min(ratio, LONGEST)


def line(kind, x1, y1, x2, y2):
    return f'<line class="{kind}" x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}"/>'


def text(x, y, words, anchor="start", kind=""):
    return f'<text class="{kind}" x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">' \
           f"{escape(words)}</text>"


def draw_row(row, top):
    parts = [text(LEFT - 8, top + 15, row["work"], "end", "small")]
    for side, height, offset in SIDES:
        if row[side] is None:
            continue
        median = row[side][1]
        parts.append(f'<rect class="{side}" x="{LEFT}" y="{top + offset}" height="{height}" '
                     f'width="{across(median) - LEFT:.1f}"/>')
        if side == "module":
            low, _, high = row[side]
            middle = top + offset + height / 2
            parts.append(line("spread", across(low), middle, across(high), middle))
            parts.append(text(across(LONGEST) + 8, top + 15, f"{median:.2f}"))
        elif median > LONGEST:
            parts.append(text(across(LONGEST) + 8, top + offset + 7, f"{median:.2f}", kind="small"))
    if 0 < row["reach"] <= LONGEST:
        parts.append(line("goal", across(row["reach"]), top, across(row["reach"]), top + 12))
    return parts


def draw_legend():
    parts, x = [], LEFT
    for side, _, _ in SIDES:
        parts += [f'<rect class="{side}" x="{x}" y="10" width="12" height="12"/>',
                  text(x + 17, 20, NAMES[side])]
        x += 110
    return parts + [line("goal", x, 10, x, 22), text(x + 8, 20, "to reach")]


def draw(report):
    rows = report["rows"]
    bottom = TOP + ROW * len(rows)
    width = LEFT + int(SCALE * LONGEST) + RIGHT
    parts = draw_legend()
    for tenth in range(0, 126, 25):
        x = across(tenth / 100)
        parts.append(line("one" if tenth == 100 else "axis", x, TOP - 10, x, bottom))
        name = "1 = OpenSSL" if tenth == 100 else f"{tenth / 100:g}"
        parts.append(text(x, TOP - 16, name, "middle", "small"))
    for number, row in enumerate(rows):
        parts += draw_row(row, TOP + ROW * number)
    return "\n".join([
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {bottom + 10}" '
        f'width="{width}" height="{bottom + 10}" role="img">',
        "<title>Speed of this module, SoftHSM and NSS as a ratio to raw OpenSSL</title>",
        f"<style>{STYLE}\n</style>", *parts, "</svg>", ""])


def ratio_cell(spread):
    return "–" if spread is None else f"{spread[1]:.2f}"


def module_cells(row):
    if row["module"] is None:
        return ["–", ""]
    low, median, high = row["module"]
    return [f"**{median:.3f}**", f"{low:.2f} to {high:.2f}"]


def table(report):
    yield (f"{report['processor']}, {report['processors']} processors; {report['evp']}; "
           f"compiler {report['compiler']}; {report['rounds']} rounds. SoftHSM: "
           f"{report['softhsm'] or 'absent'}; NSS: {report['nss'] or 'absent'}.")
    yield ""
    yield "| work | module | quartiles | SoftHSM | NSS | to reach | |"
    yield "|---|---:|---|---:|---:|---:|---|"
    for row in report["rows"]:
        cells = [row["work"], *module_cells(row), ratio_cell(row["softhsm"]),
                 ratio_cell(row["nss"]), f"{row['reach']:.2f}" if row["reach"] else "",
                 row["verdict"]]
        yield "| " + " | ".join(cells) + " |"


def write_table(report, path):
    with open(path, encoding="utf-8") as file:
        page = file.read()
    places = re.compile(re.escape(BEGIN) + ".*?" + re.escape(END), re.DOTALL)
    if len(places.findall(page)) != 1:
        sys.exit(f"bench-report: {path} has not one place for the figures")
    figures = "\n".join([BEGIN, "", *table(report), "", END])
    with open(path, "w", encoding="utf-8") as file:
        file.write(places.sub(lambda _: figures, page))


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("json")
    parser.add_argument("--svg")
    parser.add_argument("--table")
    options = parser.parse_args()
    with open(options.json, encoding="utf-8") as file:
        report = json.load(file)
    if options.svg:
        with open(options.svg, "w", encoding="utf-8") as file:
            file.write(draw(report))
    if options.table:
        write_table(report, options.table)


if __name__ == "__main__":
    main()
