#!/usr/bin/env python3
"""A key's life by the indexkey command: versions, states, times, holds, destruction. Each run is a
process of its own, and what was written before is read after each step."""
import base64
import os
import pty
import signal
import time
import unittest

import tool
from tool import FAILED, NOT_FOUND, OK, REFUSED, USAGE, run


class Life(tool.TokenCase):
    MORE = "undo_window = 1h"

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.write("message", b"a record that was written before")

    def setUp(self):
        self.label = self.id().rsplit("_", 1)[-1]
        self.key_id = os.urandom(4).hex()
        self.keygen(self.label, self.key_id)
        self.mac = self.sign(self.key_id)

    def sign(self, key_id):
        """HMAC-SHA-256 by the subkey of purpose token, by pkcs11-tool in a process of its own."""
        self.pkcs11("--token-label", "vectors", "--login", "--pin", "env:PIN", "--sign",
                    "--mechanism", "SHA256-HMAC", "--id", f"{key_id}01", "--input-file",
                    self.path("message"), "--output-file", self.path("mac"))
        with open(self.path("mac"), "rb") as file:
            return file.read()

    def still_reads(self):
        self.assertEqual(self.sign(self.key_id), self.mac)

    def refuses(self, key_id):
        with self.assertRaises(Exception) as caught:
            self.sign(key_id)
        self.assertIn(b"CKR_KEY_FUNCTION_NOT_PERMITTED", caught.exception.stderr)

    def shown(self, label=None):
        (key,) = self.good("keys", label or self.label)["keys"]
        return key

    def test_rotate(self):
        new, old = self.good("rotate", self.label)["keys"]
        self.assertEqual((new["label"], new["version"], new["state"]), (self.label, 2, "active"))
        self.assertEqual((old["label"], old["version"], old["id"]),
                         (f"{self.label}@1", 1, self.key_id))
        self.assertEqual(new["line"], old["line"])
        self.assertNotEqual(new["id"], old["id"])
        self.still_reads()
        self.assertNotEqual(self.sign(new["id"]), self.mac)
        self.assertEqual(self.good("rotate", "--id", new["id"])["keys"][0]["version"], 3)
        self.bad(REFUSED, "rotate", f"{self.label}@1", "--pin-file", self.path("pin"))
        self.bad(REFUSED, "rotate", f"{self.label}/token", "--pin-file", self.path("pin"))

    def test_suspend(self):
        self.assertEqual(self.good("suspend", self.label)["state"], "suspended")
        self.refuses(self.key_id)
        self.assertEqual(self.good("resume", self.label)["state"], "active")
        self.still_reads()

    def test_deactivate(self):
        self.assertEqual(self.good("deactivate", self.label)["state"], "deactivated")
        self.still_reads()
        self.bad(REFUSED, "resume", self.label, "--pin-file", self.path("pin"),
                 says="CKR_ACTION_PROHIBITED")
        self.assertEqual(self.good("compromise", self.label)["state"], "compromised")
        self.assertEqual(self.shown()["state"], "compromised")
        self.still_reads()

    def test_times(self):
        document = self.good("times", self.label, "--activation", "2099-01-01T00:00:00Z")
        self.assertEqual((document["state"], document["activation"]),
                         ("pre-active", "2099-01-01T00:00:00Z"))
        self.refuses(self.key_id)
        document = self.good("times", self.label, "--activation", "none", "--deactivation",
                             "2099-01-01T00:00:00Z")
        self.assertEqual((document["state"], document["activation"]), ("active", None))
        self.still_reads()
        for arguments in ((), ("--activation", "tomorrow"),
                          ("--activation", "1960-01-01T00:00:00Z"),
                          ("--deactivation", "2026-13-01T00:00:00Z")):
            self.bad(USAGE, "times", self.label, *arguments, "--pin-file", self.path("pin"))

    def test_hold(self):
        self.assertTrue(self.good("hold", self.label)["hold"])
        self.bad(REFUSED, "destroy", self.label, "--yes", "--pin-file", self.path("pin"),
                 says="legal hold")
        self.still_reads()
        self.assertFalse(self.good("hold", self.label, "--off")["hold"])
        self.good("destroy", self.label, "--yes")

    def test_undelete(self):
        self.good("destroy", self.label, "--yes")
        self.bad(NOT_FOUND, "keys", self.label, "--pin-file", self.path("pin"))
        pending = {key["label"]: key for key in self.good("keys", "--pending")["pending"]}
        self.assertEqual(pending[self.label]["id"], self.key_id)
        self.assertEqual(self.good("purge")["purged"], 0)
        self.assertEqual(self.good("undelete", self.label)["id"], self.key_id)
        self.still_reads()
        self.good("destroy", self.label, "--yes")
        self.good("undelete", "--unique-id", pending[self.label]["unique_id"])
        self.still_reads()
        self.bad(NOT_FOUND, "undelete", self.label, "--pin-file", self.path("pin"))
        self.bad(USAGE, "undelete", "--pin-file", self.path("pin"))
        self.bad(USAGE, "undelete", "--unique-id", "0102", "--pin-file", self.path("pin"))
        self.bad(NOT_FOUND, "undelete", "--unique-id", "00" * 16, "--pin-file", self.path("pin"))

    def test_nothing_is_destroyed_unasked(self):
        self.bad(USAGE, "destroy", self.label, "--pin-file", self.path("pin"), says="--yes")
        self.assertEqual(self.at_terminal("another"), FAILED)
        self.still_reads()
        self.assertEqual(self.at_terminal(self.label), OK)
        self.bad(NOT_FOUND, "keys", self.label, "--pin-file", self.path("pin"))

    def at_terminal(self, answer):
        signal.alarm(60)
        self.addCleanup(signal.alarm, 0)
        pid, terminal = pty.fork()
        if pid == 0:
            os.execv(tool.TOOL, [tool.TOOL, "destroy", self.label, "--pin-file", self.path("pin")])
        seen = b""
        while b"': " not in seen:
            seen += os.read(terminal, 4096)
        os.write(terminal, answer.encode() + b"\n")
        try:
            while os.read(terminal, 4096):
                pass
        except OSError:  # the other side is closed
            pass
        _, status = os.waitpid(pid, 0)
        os.close(terminal)
        return os.waitstatus_to_exitcode(status)


class Reset(tool.TokenCase):
    """The root key is gone, and with it all keys: the store's owner begins anew."""

    def type_serial(self, serial):
        signal.alarm(60)
        self.addCleanup(signal.alarm, 0)
        pid, terminal = pty.fork()
        if pid == 0:
            os.execv(tool.TOOL, [tool.TOOL, "reset", "--so-pin-file", self.path("new-so-pin")])
        seen = b""
        while b"': " not in seen:
            seen += os.read(terminal, 4096)
        os.write(terminal, serial.encode() + b"\n")
        try:
            while os.read(terminal, 4096):
                pass
        except OSError:  # the other side is closed
            pass
        _, status = os.waitpid(pid, 0)
        os.close(terminal)
        return os.waitstatus_to_exitcode(status)

    def test_reset(self):
        self.keygen("lost", "01")
        self.write("new-so-pin", "another-so-pin\n")
        self.write("root.key", base64.b64encode(os.urandom(32)))
        self.assertNotEqual(run("check").code, OK)
        (former,) = run("status", "--json").json()["tokens"]
        self.bad(USAGE, "reset", "--so-pin-file", self.path("new-so-pin"))
        self.assertEqual(self.type_serial("0" * 16), FAILED)
        self.assertEqual(run("status", "--json").json()["tokens"][0]["serial"], former["serial"])
        self.assertEqual(self.type_serial(former["serial"]), OK)
        (token,) = run("status", "--json").json()["tokens"]
        self.assertEqual((token["label"], token["user_pin"]), ("vectors", "not set"))
        self.assertNotEqual(token["serial"], former["serial"])
        self.assertEqual(run("check").code, OK)
        self.pkcs11("--token-label", "vectors", "--login", "--login-type", "so", "--so-pin",
                    "another-so-pin", "--init-pin", "--new-pin", "env:PIN")
        self.assertEqual(self.good("keys")["keys"], [])


class ShortWindow(tool.TokenCase):
    MORE = "undo_window = 1s"

    def test_purge(self):
        self.keygen("gone", "01")
        self.good("destroy", "gone", "--yes")
        time.sleep(2.1)
        purged = self.good("purge")["purged"]
        # The login of `purge` itself may have done it.
        self.assertLessEqual(purged, 1)
        self.assertEqual(self.good("keys", "--pending")["pending"], [])
        self.bad(NOT_FOUND, "undelete", "gone", "--pin-file", self.path("pin"))


class Anchor(tool.TokenCase):
    """A store that was put back to an older copy."""
    MORE = "anchor = file:{folder}/anchor"

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.keygen("packages", "01")

    def test_accept(self):
        self.good("keys")
        with open(self.path("vectors.db"), "rb") as file:
            copy = file.read()
        path = self.write("k.b64", base64.b64encode(os.urandom(32)))
        self.good("import", path, "--label", "later")
        for name in os.listdir(self.folder):
            if name.startswith("vectors.db"):
                os.unlink(self.path(name))
        self.write("vectors.db", copy)
        refused = run("keys", "--pin-file", self.path("pin"))
        self.assertNotEqual(refused.code, OK)
        self.bad(USAGE, "anchor", "--so-pin-file", self.path("so-pin"))
        self.bad(REFUSED, "anchor", "--accept", "--so-pin-file", self.path("pin"))
        accepted = run("anchor", "--accept", "--so-pin-file", self.path("so-pin"), "--json")
        self.assertEqual(accepted.code, OK, accepted.err)
        self.assertGreater(accepted.json()["generation"], 0)
        self.assertEqual([key["label"] for key in self.good("keys")["keys"]], ["packages"])


class TheSoAdministers(tool.TokenCase):
    MORE = "administer = so"

    def so(self, *arguments):
        result = run(*arguments, "--so-pin-file", self.path("so-pin"), "--json")
        self.assertEqual(result.code, OK, result.err)
        return result.json()

    def test_by_the_so_alone(self):
        self.write("key", base64.b64encode(os.urandom(32)) + b"\n")
        self.so("import", self.path("key"), "--label", "packages")
        for act in ("suspend", "rotate"):
            self.bad(REFUSED, act, "packages", "--pin-file", self.path("pin"))
        self.assertEqual(self.so("suspend", "packages")["state"], "suspended")
        self.assertEqual(self.good("keys", "packages")["keys"][0]["state"], "suspended")
        self.so("resume", "packages")
        self.so("rotate", "packages")
        labels = [key["label"] for key in self.so("keys")["keys"]]
        self.assertEqual(sorted(labels), ["packages", "packages@1"])
        self.so("destroy", "packages@1", "--yes")
        self.bad(REFUSED, "suspend", "packages", "--so-pin-file", self.path("pin"))


if __name__ == "__main__":
    unittest.main(verbosity=2)
