#!/usr/bin/env python3
"""docs/conformance.md against the code. Run in the tree's root.

Functions: the page has each of include/cryptoki_functions.h once; those marked "no" are those that
module/api_unsupported.c refuses. Mechanisms: those marked "served" are those of the table in
module/mechanisms.c; each is there once, and its name is in the header.
"""
import re
import sys

import c_source

PAGE = "docs/conformance.md"
FUNCTIONS = "include/cryptoki_functions.h"
UNSUPPORTED = "module/api_unsupported.c"
TABLE = "module/mechanisms.c"
NAMES = "include/cryptoki_mechanisms.h"

FUNCTION_STATES = ("served", "answers", "no")
MECHANISM_STATES = ("served", "no")

# The cells of a row: the state of a function is its second, of a mechanism its fourth.
ROW = re.compile(r"^\| ((?:C|CKM)_\w+) \|(.*)\|$")
# A line of the table: MACRO(CKM_X, … or .type = CKM_X.
LINE = re.compile(r"(?:^\s*\w+\(|\.type\s*=)\s*(CKM_\w+)", re.MULTILINE)


def read_page(report):
    """{name: (line, state)} of the functions, and of the mechanisms."""
    functions, mechanisms = {}, {}
    for number, line in enumerate(c_source.read(PAGE).splitlines(), 1):
        match = ROW.match(line)
        if not match:
            continue
        name, cells = match.group(1), [cell.strip() for cell in match.group(2).split("|")]
        is_function = name.startswith("C_")
        rows, states, at = ((functions, FUNCTION_STATES, 0) if is_function else
                            (mechanisms, MECHANISM_STATES, 2))
        state = cells[at] if at < len(cells) else ""
        if name in rows:
            report.add(PAGE, number, f"{name} is here twice")
        if state not in states:
            report.add(PAGE, number, f'{name}: "{state}" is no state')
        if state != "served" and not cells[-1]:
            report.add(PAGE, number, f"{name}: no reason is given")
        rows[name] = (number, state)
    return functions, mechanisms


def names_in(path, pattern):
    return set(re.findall(pattern, c_source.without_comments(c_source.read(path))))


def check_functions(report, rows):
    known = names_in(FUNCTIONS, r"\bX\((C_\w+)\)")
    refused = names_in(UNSUPPORTED, r"\bUNSUPPORTED\(\s*(C_\w+)")
    for name in sorted(known - rows.keys()):
        report.add(PAGE, 1, f"{name} is missing")
    for name, (line, state) in rows.items():
        if name not in known:
            report.add(PAGE, line, f"{name} is no function of Cryptoki")
        elif (state == "no") != (name in refused):
            report.add(PAGE, line, f'{name} is "{state}", and {UNSUPPORTED} '
                       f'{"refuses" if name in refused else "does not refuse"} it')


def mechanisms_of_table():
    text = c_source.without_comments(c_source.read(TABLE))
    start = text.index("static const struct mechanism table[]")
    return set(LINE.findall(text[start:text.index("\n};", start)]))


def check_mechanisms(report, rows):
    known = names_in(NAMES, r"#define\s+(CKM_\w+)")
    table = mechanisms_of_table()
    for name in sorted(table - rows.keys()):
        report.add(PAGE, 1, f"{name} is missing")
    for name, (line, state) in rows.items():
        if name not in known:
            report.add(PAGE, line, f"{name} is not in {NAMES}")
        if (state == "served") != (name in table):
            report.add(PAGE, line, f'{name} is "{state}", and is {"" if name in table else "not "}'
                       f"in the table of {TABLE}")


def main():
    report = c_source.Report()
    functions, mechanisms = read_page(report)
    check_functions(report, functions)
    check_mechanisms(report, mechanisms)
    return report.end(f"conformance of {len(functions)} functions and {len(mechanisms)} mechanisms")


if __name__ == "__main__":
    sys.exit(main())
