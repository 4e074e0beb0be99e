#!/usr/bin/env python3
"""indexkey import from SoftHSM's token: keys that are readable, sensitive, and not extractable."""
import os
import shutil
import subprocess
import sys
import unittest

import tool
from tool import FAILED, NOT_FOUND, OK, REFUSED, USAGE

SCRIPT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "../servers/softhsm_token.sh")
HSM_PIN = "hsm-pin-86420"


class FromSoftHsm(tool.TokenCase):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        made = subprocess.run(["sh", SCRIPT, cls.path("softhsm"), "old", "87654321", HSM_PIN,
                               "demo"], check=True, capture_output=True).stdout.decode()
        for setting in made.removeprefix("export ").split():
            name, value = setting.split("=", 1)
            os.environ[name] = value.strip("'")
        cls.write("hsm-pin", HSM_PIN + "\n")
        cls.value = os.urandom(32)
        cls.write("value", cls.value)
        cls.write("message", b"a record")
        cls.store("readable", "--extractable")
        cls.store("sensitive", "--extractable", "--sensitive")
        cls.store("kept", "--sensitive")
        cls.write("value", os.urandom(16))
        cls.store("short", "--extractable")

    @classmethod
    def store(cls, label, *flags):
        """A generic secret key."""
        subprocess.run(["pkcs11-tool", "--module", os.environ["SOFTHSM_MODULE"], "--token-label",
                        "old", "--login", "--pin", "env:HSM_PIN", "--write-object",
                        cls.path("value"), "--type", "secrkey", "--label", label, "--private",
                        *flags], check=True,
                       capture_output=True, env={**os.environ, "HSM_PIN": HSM_PIN})

    def arguments(self, label):
        return ("import", "--label", label, "--from-module", os.environ["SOFTHSM_MODULE"],
                "--from-token", "old", "--from-label", label, "--from-pin-file",
                self.path("hsm-pin"))

    def token_mac(self, key_id):
        self.pkcs11("--token-label", "vectors", "--login", "--pin", "env:PIN", "--sign",
                    "--mechanism", "SHA256-HMAC", "--id", f"{key_id}01", "--input-file",
                    self.path("message"), "--output-file", self.path("mac"))
        with open(self.path("mac"), "rb") as file:
            return file.read()

    def test_keys_that_come(self):
        for label in ("readable", "sensitive"):
            with self.subTest(label=label):
                document = self.good(*self.arguments(label))
                self.assertEqual(self.token_mac(document["id"]),
                                 tool.subkey_mac(self.value, "token", b"a record"))
                (key,) = self.good("keys", label)["keys"]
                self.assertEqual((key["kind"], key["extractable"]), ("index key", False))

    def test_a_key_that_stays(self):
        self.bad(REFUSED, *self.arguments("kept"), "--pin-file", self.path("pin"),
                 says="not extractable")
        self.bad(NOT_FOUND, "keys", "kept", "--pin-file", self.path("pin"))

    def test_refusals(self):
        user = ("--pin-file", self.path("pin"))
        self.bad(FAILED, *self.arguments("short"), *user, says="32 bytes")
        self.bad(NOT_FOUND, *self.arguments("absent"), *user)
        self.bad(REFUSED, "import", "--label", "x", "--from-module", os.environ["SOFTHSM_MODULE"],
                 "--from-token", "old", "--from-label", "readable", "--from-pin-file",
                 self.write("wrong", "no-pin\n"), *user, says="CKR_PIN_INCORRECT")
        self.bad(NOT_FOUND, "import", "--label", "x", "--from-module",
                 os.environ["SOFTHSM_MODULE"], "--from-token", "other", "--from-label", "readable",
                 "--from-pin-file", self.path("hsm-pin"), *user)
        self.bad(USAGE, "import", "--label", "x", "--from-module", os.environ["SOFTHSM_MODULE"],
                 "--from-token", "old", "--from-pin-file", self.path("hsm-pin"), *user)
        self.assertEqual(self.user("check").code, OK)


if __name__ == "__main__":
    if not shutil.which("softhsm2-util"):
        print("skipped: softhsm2-util is not installed", file=sys.stderr)
        sys.exit(77)
    unittest.main(verbosity=2)
