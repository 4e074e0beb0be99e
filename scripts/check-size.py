#!/usr/bin/env python3
"""Sizes that fail: functions, files, parameters, nesting, lines. Run in the tree's root.

    check-size.py             the limits
    check-size.py --longest   the ten longest functions too
"""
import re
import sys

import c_source

FUNCTION_LINES = 70
FILE_LINES = 600
PARAMETERS = 5
NESTING = 3
LINE_COLUMNS = 100

FOLDERS = ("include", "base", "conf", "tokens", "module", "tools", "examples", "tests", "bench",
           "fuzz")
SCRIPT_FOLDERS = ("scripts", "tests", "conf", "examples")
SCRIPT_ENDS = (".sh", ".py", ".build", ".txt", ".sample")

DIRECTIVE = re.compile(r"^[ \t]*#(?:\\\n|[^\n])*", re.MULTILINE)
# The last "name(parameters)" before a body, attributes in between.
HEAD = re.compile(r"(\w+)\s*\(((?:[^()]|\((?:[^()]|\([^()]*\))*\))*)\)\s*"
                  r"(?:__attribute__\s*\(\(.*\)\)\s*)?$", re.DOTALL)
CONTROL = re.compile(r"\b(if|for|while|switch|do|else)\b")
LABEL = re.compile(r"^\s*(?:case\b[^:;{]*|default\s*|\w+\s*):(?!:)")


class Function:
    def __init__(self, path, line, name, parameters):
        self.path, self.line, self.name, self.parameters = path, line, name, parameters
        self.lines = self.nesting = 0


def count_parameters(text):
    depth = commas = 0
    for character in text:
        depth += {"(": 1, ")": -1}.get(character, 0)
        commas += character == "," and depth == 0
    return 0 if text.strip() in ("", "void") else commas + 1


def controls_in(statement):
    """How many control levels a statement opens: `else if` is one, `for (...) if (...)` two."""
    while LABEL.match(statement):
        statement = LABEL.sub("", statement, count=1)
    words = CONTROL.findall(statement)
    return len(words) - sum(1 for a, b in zip(words, words[1:]) if (a, b) == ("else", "if"))


def scan_body(text, start):
    """From the body's opening brace: where it ends, and its deepest control nesting."""
    levels = []
    statement = ""
    parentheses = deepest = 0
    for position in range(start, len(text)):
        character = text[position]
        parentheses += {"(": 1, ")": -1}.get(character, 0)
        if character == "{":
            # Braces of initialisers and literals are no control level.
            is_block = re.search(r"(\)|\belse|\bdo)\s*$", statement) and CONTROL.search(statement)
            opened = controls_in(statement) if is_block and parentheses == 0 else 0
            levels.append((opened, parentheses, statement))
            deepest = max(deepest, sum(level[0] for level in levels))
            parentheses, statement = 0, ""
        elif character == "}":
            opened, parentheses, statement = levels.pop()
            if not levels:
                return position, deepest
            statement = "" if parentheses == 0 and not re.search(r"[=,(]", statement[-1:]) and (
                opened or not statement.strip()) else statement + " "
        elif character == ";" and parentheses == 0:
            deepest = max(deepest, sum(level[0] for level in levels) + controls_in(statement))
            statement = ""
        else:
            statement += character
    return len(text) - 1, deepest


def functions_of(path):
    text = c_source.without_comments(c_source.read(path))
    text = DIRECTIVE.sub(lambda m: "\n" * m.group().count("\n"), text)
    position = head_start = 0
    while (found := re.compile(r"[;{}]").search(text, position)) is not None:
        position = found.end()
        if found.group() == "{":
            head = HEAD.search(text, head_start, found.start())
            end, nesting = scan_body(text, found.start())
            if head is not None:
                first = c_source.line_of(text, head.start())
                function = Function(path, first, head.group(1), count_parameters(head.group(2)))
                function.lines = c_source.line_of(text, end) - first + 1
                function.nesting = nesting
                yield function
            position = end + 1
        head_start = position


def check_function(report, function):
    at = function.path, function.line
    if function.lines > FUNCTION_LINES:
        report.add(*at, f"{function.name} has {function.lines} lines; at most {FUNCTION_LINES}")
    if function.parameters > PARAMETERS and not function.name.startswith("C_"):
        report.add(*at, f"{function.name} has {function.parameters} parameters; "
                        f"at most {PARAMETERS}")
    if function.nesting > NESTING:
        report.add(*at, f"{function.name} nests {function.nesting} deep; at most {NESTING}")


def check_lines(report, path):
    lines = c_source.read(path).split("\n")
    if len(lines) - 1 > FILE_LINES:
        report.add(path, 1, f"has {len(lines) - 1} lines; at most {FILE_LINES}")
    for number, line in enumerate(lines, 1):
        if len(line) > LINE_COLUMNS:
            report.add(path, number, f"has {len(line)} columns; at most {LINE_COLUMNS}")
        if line != line.rstrip() or "\t" in line:
            report.add(path, number, "has a tab, or blanks at its end")


def main():
    report = c_source.Report()
    paths = c_source.files(*FOLDERS)
    functions = [function for path in paths for function in functions_of(path)]
    scripts = c_source.files(*SCRIPT_FOLDERS, ends=SCRIPT_ENDS)
    for path in paths + scripts + c_source.files(".ci", ends=("",)) + ["dev"]:
        check_lines(report, path)
    for function in functions:
        check_function(report, function)
    if "--longest" in sys.argv:
        for function in sorted(functions, key=lambda f: -f.lines)[:10]:
            print(f"{function.lines:4} lines, nesting {function.nesting}: "
                  f"{function.path}:{function.line}: {function.name}")
    return report.end(f"sizes of {len(functions)} functions in {len(paths)} files")


if __name__ == "__main__":
    sys.exit(main())
