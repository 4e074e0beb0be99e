#!/usr/bin/env python3
"""Audit logs by the indexkey command: show, usage, key, and verification with and without a PIN."""
import os
import unittest

import tool
from tool import FAILED, NOT_FOUND, OK, TAMPERED, run


class Audit(tool.TokenCase):
    MORE = "audit = file:{folder}/audit.jsonl"

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.keygen("packages", "01")
        cls.write("message", b"a record")
        for _ in range(3):
            cls.pkcs11("--token-label", "vectors", "--login", "--pin", "env:PIN", "--sign",
                       "--mechanism", "SHA256-HMAC", "--id", "0101", "--input-file",
                       cls.path("message"), "--output-file", cls.path("mac"))
        cls.log = cls.path("audit.jsonl")
        key = run("audit", "key", "--pin-file", cls.path("pin"), "--json")
        cls.public = key.json()["public_key"]

    def verify(self, *arguments):
        """As a third party: no configuration, no token."""
        return run("audit", "verify", *arguments, "--public-key", self.public, "--json",
                   INDEXKEY_CONF="/nonexistent")

    def edited(self, edit):
        with open(self.log, "rb") as file:
            lines = file.read().splitlines(keepends=True)
        return self.write("edited.jsonl", b"".join(edit(lines)))

    def test_the_public_key(self):
        self.assertRegex(self.public, "^[0-9a-f]{64}$")
        self.assertEqual(self.good("audit", "key")["public_key"], self.public)

    def test_a_good_log(self):
        result = self.verify(self.log)
        self.assertEqual(result.code, OK, result.out + result.err)
        document = result.json()
        self.assertTrue(document["good"])
        self.assertGreater(document["good_signatures"], 0)
        self.assertGreater(document["lines"], 5)
        self.assertTrue(self.good("audit", "verify", self.log)["good"])
        keys = self.write("keys.pub", f"{'0' * 64}\n{self.public}\n")
        self.assertEqual(run("audit", "verify", self.log, "--public-key", keys).code, OK)

    def test_tampered_logs(self):
        with open(self.log, "rb") as file:
            middle = len(file.readlines()) // 2
        for name, edit in (
                ("dropped", lambda lines: lines[:middle] + lines[middle + 1:]),
                ("edited", lambda lines: [line.replace(b'"label":"packages"', b'"label":"packagee"')
                                          for line in lines]),
                ("reordered", lambda lines: lines[:3] + lines[4:5] + lines[3:4] + lines[5:]),
                ("of another token", lambda lines: lines)):
            with self.subTest(name=name):
                path = self.edited(edit)
                result = self.verify(path) if name != "of another token" else run(
                    "audit", "verify", path, "--public-key", "ab" * 32, "--json")
                self.assertEqual(result.code, TAMPERED, result.out)
                self.assertFalse(result.json()["good"])
                self.assertGreater(len(result.json()["findings"]), 0)

    def test_a_head_that_is_missing(self):
        with open(self.log, "rb") as file:
            lines = file.read().splitlines(keepends=True)
        last_signed = [line for line in lines if b'"sig":' in line][-1]
        head = self.write("head.jsonl", last_signed)
        self.assertEqual(self.verify(self.log, "--head", head).code, OK)
        cut = self.edited(lambda lines: lines[:4])
        result = self.verify(cut, "--head", head)
        self.assertEqual(result.code, TAMPERED)
        self.assertIn("truncated", [row["found"] for row in result.json()["findings"]])

    def test_show(self):
        document = run("audit", "show", self.log, "--json").json()
        events = {line["event"] for line in document["lines"]}
        self.assertLessEqual({"login", "init-token"}, events)
        self.assertEqual(document["other_lines"], 0)
        self.assertRegex(run("audit", "show", self.log).out, r"(?m)^20\S+ +user +login")
        garbage = self.write("garbage", os.urandom(5000) + b"\n\n\0\n{}\n")
        result = run("audit", "show", garbage, "--json")
        self.assertEqual((result.code, result.json()["lines"]), (OK, []))
        self.assertGreater(result.json()["other_lines"], 0)

    def test_usage(self):
        rows = run("usage", self.log, "--json").json()["uses"]
        (row,) = [row for row in rows if row["mechanism"] == "CKM_SHA256_HMAC"]
        self.assertGreaterEqual(row["uses"], 3)
        self.assertRegex(row["day"], r"^20\d\d-\d\d-\d\d$")

    def test_refusals(self):
        self.bad(NOT_FOUND, "usage", self.path("absent"))
        self.bad(FAILED, "audit", "show", self.folder)
        self.bad(NOT_FOUND, "audit", "verify", self.log, "--public-key", self.path("absent"))
        self.bad(FAILED, "audit", "verify", self.log, "--public-key",
                 self.write("bad.pub", "00\n"))

    def bad(self, code, *arguments, says="", **more):
        result = run(*arguments, "--json", **more)
        self.assertEqual(result.code, code, result.err)
        self.assertEqual(len(result.err.splitlines()), 1, result.err)
        self.assertEqual(result.json()["error"]["exit"], code)


if __name__ == "__main__":
    unittest.main(verbosity=2)
