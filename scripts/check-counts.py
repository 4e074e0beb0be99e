#!/usr/bin/env python3
"""How many instructions each main operation takes, compared with bench/counts.txt:

    check-counts.py FOLDER [--update]      FOLDER has an optimised build; run in the tree's root

Counted are the instructions inside the module's own object file, and its calls to other libraries,
in runs under callgrind. What OpenSSL and libc do inside these calls is not counted: it changes with
their patch versions and with the processor whose extensions they use, so it would not repeat from
machine to machine. More work given to them shows as more calls.

Counts depend on compiler and OpenSSL: bench/counts.txt has a section for each combination. An
operation that rises by more than 2 % fails. Exit code 77: nothing to compare with.
"""
import argparse
import os
import re
import subprocess
import sys
import tempfile

TABLE = "bench/counts.txt"
MODULE = "indexkey-pkcs11.so"
LIMIT = 0.02
# CI must not pass for want of figures where they are kept for.
REQUIRED_IN_CI = "gcc-12 openssl-3.0 x86_64"
HEAD = """\
# Instructions of the module's own code, and its calls to other libraries, for one operation each:
# scripts/check-counts.py. Written by scripts/check-counts.sh --update; not by hand.
"""


class Dump:
    """What callgrind wrote at the end of one run of an operation (its manual, "Callgrind Format
    Specification")."""

    def __init__(self, path):
        self.instructions = self.calls = 0
        self.times, self.operation = 0, None
        self._names = {}
        with open(path, encoding="utf-8") as lines:
            self._read(lines)

    def _name(self, text):
        """`(3) name` at first, `(3)` later."""
        number, name = re.fullmatch(r"\((\d+)\)(?: (.*))?", text).groups()
        if name is not None:
            self._names[number] = name
        return self._names[number]

    def _read(self, lines):
        own = called = ""
        for line in map(str.strip, lines):
            if line.startswith("desc: Trigger: Client Request: "):
                times, self.operation = line.split(": ", 3)[3].split(" ", 1)
                self.times = int(times)
            elif line.startswith("ob="):
                own = self._name(line[3:])
            elif line.startswith("cob="):
                called = self._name(line[4:])
            elif line.startswith("calls="):
                if own.endswith(MODULE) and not (called or own).endswith(MODULE):
                    self.calls += int(line[6:].split()[0])
                called = ""
                next(lines)  # the inclusive cost
            elif line[:1] in tuple("0123456789+-*") and own.endswith(MODULE):
                self.instructions += int(line.split()[1])


def run(folder):
    """The combination, and {operation: (instructions, calls)}."""
    with tempfile.TemporaryDirectory() as out:
        command = ["valgrind", "-q", "--tool=callgrind", "--instr-atstart=no",
                   f"--callgrind-out-file={out}/dump", f"{folder}/bench/counts",
                   f"{folder}/module/{MODULE}"]
        result = subprocess.run(command, capture_output=True, text=True, check=False)
        if result.returncode != 0:
            sys.exit(f"{result.stderr}failed: {' '.join(command)}")
        dumps = [Dump(os.path.join(out, name)) for name in os.listdir(out)]
    return result.stdout.strip(), per_operation(dump for dump in dumps if dump.operation)


def per_operation(dumps):
    runs = {}
    for dump in dumps:
        runs.setdefault(dump.operation, {}).setdefault(dump.times, []).append(dump)
    counted = {}
    for operation, by_times in runs.items():
        few, many = sorted(by_times)
        counted[operation] = tuple(
            (min(getattr(dump, what) for dump in by_times[many]) -
             min(getattr(dump, what) for dump in by_times[few])) / (many - few)
            for what in ("instructions", "calls"))
    return counted


def read_table():
    """{combination: {operation: (instructions, calls)}}"""
    table, section = {}, None
    if not os.path.exists(TABLE):
        return table
    with open(TABLE, encoding="utf-8") as lines:
        for line in map(str.strip, lines):
            if line.startswith("["):
                section = table.setdefault(line.strip("[]"), {})
            elif line and not line.startswith("#"):
                instructions, calls, operation = line.split(None, 2)
                section[operation] = (float(instructions), float(calls))
    return table


def write_table(table):
    with open(TABLE, "w", encoding="utf-8") as file:
        file.write(HEAD)
        for combination in sorted(table):
            file.write(f"\n[{combination}]\n")
            for operation, (instructions, calls) in sorted(table[combination].items()):
                file.write(f"{instructions:9.1f} {calls:7.2f}  {operation}\n")


def change(now, kept):
    return (now - kept) / kept if kept else float(now > 0)


def compare(counted, kept):
    """The operations that rose, by name."""
    rose, fell = [], []
    for operation in sorted(counted | kept):
        if operation not in counted or operation not in kept:
            print(f"{operation}: only in {'the run' if operation in counted else TABLE}")
            rose.append(operation)
            continue
        changes = [change(now, old) for now, old in zip(counted[operation], kept[operation])]
        print(f"{counted[operation][0]:9.1f} instructions ({changes[0]:+.1%}), "
              f"{counted[operation][1]:6.2f} calls ({changes[1]:+.1%})  {operation}")
        if max(changes) > LIMIT:
            rose.append(operation)
        elif min(changes) < -LIMIT:
            fell.append(operation)
    if fell:
        print(f"fell by more than {LIMIT:.0%}: {'; '.join(fell)}\n"
              "Keep it that way: scripts/check-counts.sh --update")
    return rose


def check(combination, counted):
    kept = read_table().get(combination)
    if kept is None:
        in_ci = os.environ.get("CI") == "true" and combination == REQUIRED_IN_CI
        print(f"{'failed' if in_ci else 'skipped'}: {TABLE} has no counts for {combination}")
        return 1 if in_ci else 77
    rose = compare(counted, kept)
    for operation in rose:
        print(f"failed: {operation}: more than {LIMIT:.0%} above {TABLE}, or not in both")
    return 1 if rose else 0


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("folder")
    parser.add_argument("--update", action="store_true")
    options = parser.parse_args()
    combination, counted = run(options.folder)
    if not counted:
        sys.exit("failed: callgrind counted nothing")
    if options.update:
        write_table(read_table() | {combination: counted})
        print(f"{TABLE}: {len(counted)} operations for {combination}")
        return 0
    return check(combination, counted)


if __name__ == "__main__":
    sys.exit(main())
