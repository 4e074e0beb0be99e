#!/usr/bin/env python3
"""Counts the results of `meson test`: count-tests.py TESTLOG.json EXIT-CODE-OF-MESON

Each test case of a Check program counts as one, each other program as one. A skip counts as a
failure unless scripts/allowed-skips.txt names the test. The last line printed is
`N passed, N failed`, with `, N skipped` where there were any.
"""
import json
import os
import re
import sys

CHECK_TOTALS = re.compile(r"^\d+%: Checks: (\d+), Failures: (\d+), Errors: (\d+)$", re.MULTILINE)
GOOD = ("OK", "EXPECTEDFAIL")


class Counts:
    def __init__(self):
        self.passed = self.failed = self.skipped = 0

    def line(self):
        text = f"{self.passed} passed, {self.failed} failed"
        return text + (f", {self.skipped} skipped" if self.skipped else "")


def read_allowed():
    path = os.path.join(os.path.dirname(os.path.abspath(__file__)), "allowed-skips.txt")
    with open(path, encoding="utf-8") as lines:
        pairs = (line.split(None, 1) for line in lines if line.strip() and line[0] != "#")
        return {name: reason.strip() for name, reason in pairs}


def read_results(path):
    if not os.path.exists(path):
        return []
    with open(path, encoding="utf-8") as lines:
        return [json.loads(line) for line in lines if line.strip()]


def last_line(test):
    text = (test.get("stdout") or "") + "\n" + (test.get("stderr") or "")
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1] if lines else "no reason given"


def count_skip(counts, test, allowed):
    name = test["name"].split(" / ")[-1]
    if name in allowed:
        counts.skipped += 1
        print(f"skipped: {name}: {last_line(test)} (allowed: {allowed[name]})")
    else:
        counts.failed += 1
        print(f"failed: {name}: a required test was skipped: {last_line(test)}")


def count_run(counts, test):
    totals = [[int(n) for n in found] for found in CHECK_TOTALS.findall(test.get("stdout") or "")]
    bad = sum(failures + errors for _, failures, errors in totals)
    if test["result"] not in GOOD:
        print(f"failed: {test['name']}: {test['result']}")
        # A sanitizer, a crash or a timeout fails the program and no test case of it.
        bad = max(bad, 1)
    counts.failed += bad
    if totals:
        counts.passed += sum(cases - failures - errors for cases, failures, errors in totals)
    elif not bad:
        counts.passed += 1


def main():
    counts = Counts()
    allowed = read_allowed()
    for test in read_results(sys.argv[1]):
        if test["result"] == "SKIP":
            count_skip(counts, test, allowed)
        else:
            count_run(counts, test)
    if counts.passed + counts.failed == 0:
        print("failed: no test was run")
        counts.failed = 1
    if int(sys.argv[2]) != 0 and counts.failed == 0:
        print(f"failed: meson test ended with code {sys.argv[2]}")
        counts.failed = 1
    print(counts.line())
    return 0 if counts.failed == 0 else 1


if __name__ == "__main__":
    sys.exit(main())
