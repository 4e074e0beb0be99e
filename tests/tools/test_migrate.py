#!/usr/bin/env python3
"""indexkey provision to SoftHSM's token, which has no key derivation, and migrate to a module that
has."""
import base64
import hashlib
import os
import re
import shutil
import subprocess
import sys
import time
import unittest

import tool
from tool import FAILED, NOT_FOUND, OK, REFUSED, USAGE

SCRIPT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "../servers/softhsm_token.sh")
HSM_PIN = "hsm-pin-86420"
PURPOSES = ("token", "centroid", "payload", "item", "query")


class ToSoftHsm(tool.TokenCase):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        made = subprocess.run(["sh", SCRIPT, cls.path("softhsm"), "new", "87654321", HSM_PIN,
                               "demo"], check=True, capture_output=True).stdout.decode()
        for setting in made.removeprefix("export ").split():
            name, value = setting.split("=", 1)
            os.environ[name] = value.strip("'")
        cls.write("hsm-pin", HSM_PIN + "\n")
        cls.write("message", b"a record")
        cls.hsm("--keypairgen", "--key-type", "rsa:2048", "--label", "import", "--id", "99",
                "--usage-wrap")
        cls.hsm("--read-object", "--type", "pubkey", "--label", "import", "--output-file",
                cls.path("import.der"))
        with open(cls.path("import.der"), "rb") as file:
            cls.pin = f"migrate_to = sha256:{hashlib.sha256(file.read()).hexdigest()}"

    def setUp(self):
        self.configure(self.pin)

    @classmethod
    def hsm(cls, *arguments):
        return subprocess.run(["pkcs11-tool", "--module", os.environ["SOFTHSM_MODULE"],
                               "--token-label", "new", "--login", "--pin", "env:HSM_PIN",
                               *arguments], check=True, capture_output=True, timeout=60,
                              env={**os.environ, "HSM_PIN": HSM_PIN}).stdout.decode()

    def mac(self, call, key_id):
        call("--sign", "--mechanism", "SHA256-HMAC", "--id", key_id, "--input-file",
             self.path("message"), "--output-file", self.path("mac"))
        with open(self.path("mac"), "rb") as file:
            return file.read()

    def token_mac(self, key_id):
        return self.mac(lambda *arguments: self.pkcs11("--token-label", "vectors", "--login",
                                                       "--pin", "env:PIN", *arguments), key_id)

    def imported(self, label, key_id):
        """An index key whose value the test knows."""
        value = os.urandom(32)
        text = subprocess.run(["openssl", "base64"], input=value, check=True,
                              capture_output=True).stdout
        self.good("import", self.write("value", text), "--label", label, "--id", key_id)
        return value

    def arguments(self, command, label, *, key="import", token="new", pin="hsm-pin"):
        return (command, label, "--to-module", os.environ["SOFTHSM_MODULE"], "--to-token", token,
                "--to-key", key, "--to-pin-file", self.path(pin))

    def refused(self, code, *arguments, says=""):
        return self.bad(code, *arguments, "--pin-file", self.path("pin"), says=says)

    def labels_there(self):
        return re.findall(r"label: +(\S+)", self.hsm("--list-objects", "--type", "secrkey"))

    def test_subkeys_arrive(self):
        value = self.imported("packages", "4242")
        document = self.good(*self.arguments("provision", "packages"))
        labels = [f"packages/{purpose}" for purpose in PURPOSES]
        self.assertEqual(document["keys"], labels)
        self.assertLessEqual(set(labels), set(self.labels_there()))
        for number, purpose in ((1, "token"), (2, "centroid"), (5, "query")):
            expected = tool.subkey_mac(value, purpose, b"a record")
            self.assertEqual(self.mac(self.hsm, f"4242{number:02x}"), expected)
            self.assertEqual(self.token_mac(f"4242{number:02x}"), expected)
        with self.assertRaises(subprocess.CalledProcessError):
            self.hsm("--read-object", "--type", "secrkey", "--label", "packages/token")
        self.refused(FAILED, *self.arguments("provision", "packages"), says="already")

    def test_an_index_key_goes_where_it_derives(self):
        self.imported("whole", "5151")
        self.refused(FAILED, *self.arguments("migrate", "whole"),
                     says="has no CKM_SP800_108_COUNTER_KDF: provision it")
        self.assertNotIn("whole", self.labels_there())

    def test_only_the_pinned_key_gets_them(self):
        self.imported("pinned", "6161")
        for more, words in (("", "is not set"), (f"migrate_to = sha256:{'0' * 64}", "another")):
            self.configure(more)
            self.refused(REFUSED, *self.arguments("provision", "pinned"), says=words)
        self.assertNotIn("pinned/token", self.labels_there())

    def test_refusals(self):
        self.imported("stays", "7171")
        self.refused(NOT_FOUND, *self.arguments("provision", "absent"), says="no key 'absent'")
        self.refused(NOT_FOUND, *self.arguments("provision", "stays", key="none"))
        self.refused(NOT_FOUND, *self.arguments("provision", "stays", token="other"),
                     says="check --to-token")
        self.write("wrong", "no-pin\n")
        self.refused(REFUSED, *self.arguments("provision", "stays", pin="wrong"),
                     says="CKR_PIN_INCORRECT")
        self.refused(USAGE, *self.arguments("provision", "stays")[:6], says="--to-key")
        self.refused(USAGE, "migrate", "stays", "--to-key", "import", says="--to-module")
        self.assertNotIn("stays/token", self.labels_there())

    def approve(self, refusal, name):
        """What the refusal asks for, signed as docs/formats-approvals.md says."""
        lines = re.search(r"sign '(token \w+)', '(operation \w+)', '(object \w+)'", refusal)
        text = "".join(line + "\n" for line in (
            "indexkey approval 1", *lines.groups(), f"nonce {os.urandom(16).hex()}",
            f"expires {int(time.time()) + 600}"))
        subprocess.run(["openssl", "pkeyutl", "-sign", "-rawin", "-inkey", self.path("alice.key"),
                        "-in", self.write("request", text), "-out", self.path("request.sig")],
                       check=True)
        with open(self.path("request.sig"), "rb") as file:
            self.write(f"{name}.approval", f"{text}signature {file.read().hex()}\n")

    def test_two_persons(self):
        subprocess.run(["openssl", "genpkey", "-algorithm", "ed25519", "-out",
                        self.path("alice.key")], check=True)
        public = subprocess.run(["openssl", "pkey", "-in", self.path("alice.key"), "-pubout"],
                                check=True, capture_output=True).stdout.decode()
        self.write("people.pem", f"# Alice\n{public}")
        self.imported("guarded", "8181")
        self.configure(f"{self.pin}\ntwo_person = export\napprovers = "
                       f"file:{self.path('people.pem')}\napprovals = {self.folder}")
        user = ("--pin-file", self.path("pin"))
        error = self.refused(REFUSED, *self.arguments("provision", "guarded"))
        self.assertNotIn("guarded/token", self.labels_there())
        self.approve(error["message"], "export")
        self.assertEqual(len(self.good(*self.arguments("provision", "guarded"))["keys"]), 5)
        error = self.bad(REFUSED, "backup", self.path("backup"), *user)
        self.assertFalse(os.path.exists(self.path("backup")))
        self.approve(error["message"], "backup")
        self.assertEqual(self.user("backup", self.path("backup")).code, OK)


class ToDerivingModule(tool.TokenCase):
    """The built module with another configuration (deriving_module.c); both are read by
    pkcs11-tool."""

    def sign(self, conf, label, key_id):
        subprocess.run(["pkcs11-tool", "--module", tool.MODULE, "--token-label", label, "--login",
                        "--pin", "env:PIN", "--sign", "--mechanism", "SHA256-HMAC", "--id", key_id,
                        "--input-file", self.path("message"), "--output-file", self.path("mac")],
                       check=True, capture_output=True, timeout=60,
                       env={**os.environ, "PIN": tool.PIN, "INDEXKEY_CONF": self.path(conf)})
        with open(self.path("mac"), "rb") as file:
            return file.read()

    def make_other(self):
        self.write("other.key", base64.b64encode(os.urandom(32)) + b"\n")
        conf = self.write("other.conf", f"[token other]\nsource = file\nkey_file = "
                          f"{self.path('other.key')}\nstore = sqlite:{self.path('other.db')}\n")
        environment = {**os.environ, "PIN": tool.PIN, "SO_PIN": tool.SO_PIN, "INDEXKEY_CONF": conf}
        for arguments in (("--init-token", "--slot-index", "0", "--label", "other"),
                          ("--token-label", "other", "--login", "--login-type", "so", "--init-pin",
                           "--new-pin", "env:PIN")):
            subprocess.run(["pkcs11-tool", "--module", tool.MODULE, "--so-pin", "env:SO_PIN",
                            *arguments], check=True, capture_output=True, env=environment)
        return conf

    def test_an_index_key_arrives(self):
        environment = {"DERIVING_CONF": self.make_other(), "DERIVING_KEY": self.path("rsa.pem")}
        subprocess.run(["openssl", "genrsa", "-out", self.path("rsa.pem"), "2048"], check=True,
                       capture_output=True)
        public = subprocess.run(["openssl", "pkey", "-in", self.path("rsa.pem"), "-pubout",
                                 "-outform", "DER"], check=True, capture_output=True).stdout
        self.configure(f"migrate_to = sha256:{hashlib.sha256(public).hexdigest()}")
        self.keygen("packages", "42")
        self.write("message", b"a record")
        arguments = ("migrate", "packages", "--to-module", os.environ["DERIVING_MODULE"],
                     "--to-token", "other", "--to-key", "import", "--to-pin-file",
                     self.path("pin"))
        self.assertEqual(self.good(*arguments, **environment)["keys"], ["packages"])
        self.assertEqual(self.sign("other.conf", "other", "4201"),
                         self.sign("indexkey.conf", "vectors", "4201"))
        self.bad(FAILED, *arguments, "--pin-file", self.path("pin"), says="already", **environment)


if __name__ == "__main__":
    if not shutil.which("softhsm2-util"):
        print("skipped: softhsm2-util is not installed", file=sys.stderr)
        sys.exit(77)
    unittest.main(verbosity=2)
