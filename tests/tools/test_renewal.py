#!/usr/bin/env python3
"""A token as a whole, by the indexkey command: shred, rewrap, another token key, backup, restore.
After each step a fresh process reads what was written before."""
import os
import unittest

import tool
from tool import FAILED, NOT_FOUND, OK, REFUSED, USAGE, run


class Renewal(tool.TokenCase):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.write("message", b"a record that was written before")
        cls.keygen("packages", "01")
        cls.before = cls.sign()

    @classmethod
    def sign(cls):
        cls.pkcs11("--token-label", "vectors", "--login", "--pin", "env:PIN", "--sign",
                   "--mechanism", "SHA256-HMAC", "--id", "0101", "--input-file",
                   cls.path("message"), "--output-file", cls.path("mac"))
        with open(cls.path("mac"), "rb") as file:
            return file.read()

    def still_reads(self):
        self.assertEqual(self.sign(), self.before)
        self.assertEqual(run("check", "--pin-file", self.path("pin")).code, OK)

    def status(self):
        (token,) = self.good("status")["tokens"]
        return token

    def test_shred(self):
        epoch = self.status()["epoch"]
        self.assertEqual(self.good("shred")["shredded"], "locally")
        self.assertGreater(self.status()["epoch"], epoch)
        self.still_reads()

    def test_rewrap(self):
        self.assertIn("new_key", self.good("rewrap"))
        self.still_reads()

    def test_another_token_key(self):
        so = ("--so-pin-file", self.path("so-pin"))
        self.assertEqual(self.good("rotate", "--token-key", *so)["token"], "vectors")
        self.still_reads()
        self.bad(REFUSED, "rotate", "--token-key", "--so-pin-file", self.path("pin"), "--pin-file",
                 self.path("pin"))
        self.bad(REFUSED, "rotate", "--token-key", *so, "--pin-file", self.path("so-pin"))
        self.bad(USAGE, "rotate", "packages", "--token-key", *so, "--pin-file", self.path("pin"))
        self.still_reads()

    def test_backup_and_restore(self):
        backup = self.path("backup")
        self.addCleanup(os.unlink, backup)
        self.assertGreater(self.good("backup", backup)["bytes"], 100)
        self.assertEqual(os.stat(backup).st_mode & 0o777, 0o600)
        self.bad(FAILED, "backup", backup, "--pin-file", self.path("pin"))
        with open(backup, "rb") as file:
            self.assertNotIn(tool.PIN.encode(), file.read())
        # Another host with the same access to the source.
        other = self.write("other.conf", f"""[token vectors]
source = file
key_file = {self.path("root.key")}
store = sqlite:{self.path("other.db")}
""")
        self.bad(NOT_FOUND, "keys", "--conf", other, "--pin-file", self.path("pin"))
        self.bad(REFUSED, "restore", backup, "--conf", other, "--pin-file", self.path("so-pin"))
        self.assertEqual(self.good("restore", backup, "--conf", other)["token"], "vectors")
        os.environ["INDEXKEY_CONF"] = other
        self.addCleanup(self.configure)
        self.still_reads()
        result = self.user("restore", backup, "--json")
        self.assertNotEqual(result.code, OK)
        self.assertEqual(self.good("restore", backup, "--force", "--yes")["token"], "vectors")
        self.still_reads()

    def test_backups_that_are_none(self):
        empty = self.write("empty.conf", f"""[token vectors]
source = file
key_file = {self.path("root.key")}
store = sqlite:{self.path("empty.db")}
""")
        for content in (b"", b"no backup", os.urandom(10000)):
            result = self.user("restore", self.write("bad", content), "--conf", empty, "--json")
            self.assertNotEqual(result.code, OK)
            self.assertEqual(len(result.err.splitlines()), 1, result.err)
        self.bad(NOT_FOUND, "restore", self.path("absent"), "--conf", empty, "--pin-file",
                 self.path("pin"))
        (token,) = run("status", "--conf", empty, "--json").json()["tokens"]
        self.assertEqual(token["state"], "not initialised")


if __name__ == "__main__":
    unittest.main(verbosity=2)
