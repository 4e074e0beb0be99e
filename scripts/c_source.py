"""C source as the checks see it: where the files are, and their text without comments."""
import os
import re

# A layer is a folder of the tree's root.
CORE = ("base", "conf", "tokens", "module", "tools")
TEXT = re.compile(
    r'(?P<comment>//[^\n]*|/\*.*?\*/)|(?P<literal>"(?:\\.|[^"\\\n])*"|\'(?:\\.|[^\'\\\n])*\')',
    re.DOTALL)


def files(*folders, ends=(".c", ".h")):
    """Paths from the current folder, the tree's root, sorted."""
    found = []
    for folder in folders:
        for where, _, names in os.walk(folder):
            found += [os.path.join(where, name) for name in names if name.endswith(ends)]
    return sorted(found)


def read(path):
    with open(path, encoding="utf-8") as file:
        return file.read()


def _blank(match):
    """Line breaks stay, so that line numbers do."""
    if match.group("literal"):
        return match.group("literal")[0] * 2
    return " " + "\n" * match.group().count("\n")


def without_comments(text, keep_literals=False):
    """Comments become blanks, string and character literals become empty ones."""
    if keep_literals:
        return TEXT.sub(lambda m: m.group() if m.group("literal") else _blank(m), text)
    return TEXT.sub(_blank, text)


def line_of(text, position):
    return text.count("\n", 0, position) + 1


class Report:
    """Collects findings; the exit code is 1 when there is one."""

    def __init__(self):
        self.findings = []

    def add(self, path, line, text):
        self.findings.append(f"{path}:{line}: {text}")

    def end(self, what):
        for finding in self.findings:
            print(finding)
        print(f"{what}: {len(self.findings)} findings" if self.findings else f"{what}: ok")
        return 1 if self.findings else 0
