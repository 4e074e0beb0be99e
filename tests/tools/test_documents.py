#!/usr/bin/env python3
"""The manual page and the completion tell the commands and options that the command has."""
import os
import re
import shutil
import subprocess
import unittest

import tool

TOP = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..")


def read(path):
    with open(os.path.join(TOP, path), encoding="utf-8") as file:
        return file.read()


def commands():
    text = tool.run("help").out.split("Commands:\n")[1]
    names = re.findall(r"(?m)^  ((?:[a-z-]+ ?)+)", text)
    return [name.strip() for name in names]


def options(command):
    text = tool.run("help", *command.split()).out
    return set(re.findall(r"(?m)^  --([a-z-]+)", text))


class Documents(unittest.TestCase):
    def setUp(self):
        self.commands = commands()
        self.assertGreater(len(self.commands), 10)

    def test_the_manuals_commands(self):
        told = re.findall(r"(?m)^\.It Cm ([a-z -]+?)(?: (?:Op )?Ar .*)?$", read("tools/indexkey.1"))
        self.assertEqual(sorted(told), sorted(self.commands))

    def test_the_manuals_options(self):
        told = re.findall(r"(?m)^\.It Fl -([a-z-]+)", read("tools/indexkey.1"))
        known = set().union(*(options(command) for command in self.commands)) | {"version"}
        self.assertEqual(sorted(told), sorted(known))

    def test_the_manuals_exit_codes(self):
        text = read("tools/indexkey.1").split(".Sh EXIT STATUS")[1].split(".Sh")[0]
        self.assertEqual(re.findall(r"(?m)^\.It (\d)$", text), list("01234567"))

    def test_the_manual_is_well_formed(self):
        if not shutil.which("man") or not shutil.which("groff"):
            self.fail("man and groff are not installed")
        result = subprocess.run(["man", "--warnings", "-l", os.path.join(TOP, "tools/indexkey.1")],
                                capture_output=True, check=False,
                                env={**os.environ, "MANROFFSEQ": "", "MANPAGER": "cat"})
        self.assertEqual(result.stderr, b"")

    def complete(self, *words):
        """What bash offers for the last word."""
        quoted = " ".join(f"'{word}'" for word in words)
        script = (f". tools/completion/indexkey; COMP_WORDS=(indexkey {quoted}); "
                  f"COMP_CWORD={len(words)}; _indexkey; printf '%s\\n' \"${{COMPREPLY[@]}}\"")
        result = subprocess.run(["bash", "-c", script], cwd=TOP, capture_output=True, check=True)
        self.assertEqual(result.stderr, b"")
        return set(result.stdout.decode().split())

    def test_completions_of_commands(self):
        first = {command.split()[0] for command in self.commands}
        self.assertEqual(self.complete(""), first | {"help", "--version"})
        self.assertEqual(self.complete("help", ""), first)
        for command in (command.split() for command in self.commands):
            if len(command) == 2:
                self.assertIn(command[1], self.complete(command[0], ""))

    def test_completions_of_options(self):
        for command in self.commands:
            with self.subTest(command=command):
                offered = self.complete(*command.split(), "--")
                self.assertEqual(offered, {f"--{name}" for name in options(command)})


if __name__ == "__main__":
    unittest.main(verbosity=2)
