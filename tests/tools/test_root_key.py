#!/usr/bin/env python3
"""What `indexkey check` says of the root key, by a fake AWS KMS: never a fail by itself."""
import json
import os
import pathlib
import subprocess
import sys
import time
import unittest

import tool
from tool import OK, REFUSED, run

SERVER = pathlib.Path(__file__).resolve().parent.parent / "servers/fake_service.py"
DAY_S = 86400


class Fake:
    """A process of fake_service.py on loopback."""

    def __init__(self, handler):
        self.process = subprocess.Popen(
            [sys.executable, str(SERVER), "--handler", handler], stdin=subprocess.PIPE,
            stdout=subprocess.PIPE, text=True)
        self.url = f"http://127.0.0.1:{json.loads(self.process.stdout.readline())['port']}"

    def handler(self, what, **members):
        self.process.stdin.write(json.dumps({"do": "handler", "what": what, **members}) + "\n")
        self.process.stdin.flush()
        return json.loads(self.process.stdout.readline())

    def stop(self):
        self.process.stdin.close()
        self.process.wait()
        self.process.stdout.close()


def line_of(result):
    """The line of the root key."""
    (row,) = [row for row in result.json()["checks"] if row["check"] == "root-key"]
    return row


class RootKey(tool.TokenCase):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.fake = Fake("fake_aws:FakeAws")
        cls.addClassCleanup(cls.fake.stop)
        cls.fake.handler("save")
        cls.remote = cls.write("aws.conf", f"""[token remote]
source = aws
endpoint = {cls.fake.url}
key_id = 1234abcd-12ab-34cd-56ef-1234567890ab
aws_region = eu-central-1
deadline = 5s
store = sqlite:{cls.path("remote.db")}
""")

    def setUp(self):
        self.fake.handler("restore")

    def check(self, code=OK):
        """Result and detail."""
        result = run("check", "--conf", self.remote, "--json", AWS_ACCESS_KEY_ID="AKIDGOOD",
                     AWS_SECRET_ACCESS_KEY="good/secret+", AWS_EC2_METADATA_DISABLED="true",
                     AWS_PROFILE="", HOME=self.folder)
        self.assertEqual(result.code, code, result.out)
        self.assertEqual(result.err, "")
        row = line_of(result)
        self.assertEqual(row["subject"], "remote")
        return row["result"], row["detail"]

    def test_a_good_key(self):
        self.fake.handler("rotation", rotation={"KeyRotationEnabled": True,
                                                "RotationPeriodInDays": 365,
                                                "NextRotationDate": 1803859200})
        result, detail = self.check()
        self.assertEqual(result, "ok")
        self.assertEqual(detail, "arn:aws:kms:eu-central-1:111122223333:key/1234abcd-12ab-34cd-56ef"
                                 "-1234567890ab (AWS_KMS), state Enabled, rotation every 365 days, "
                                 "next 2027-03-01T00:00:00Z")

    def test_no_permission_to_ask(self):
        self.fake.handler("deny", act="DescribeKey")
        result, detail = self.check()
        self.assertEqual(result, "warn")
        self.assertIn("has not the permission kms:DescribeKey", detail)

    def test_a_disabled_key(self):
        self.fake.handler("state", state="Disabled")
        result, detail = self.check(REFUSED)
        self.assertEqual(result, "warn")
        self.assertIn("it unwraps nothing as it is: arn:", detail)
        self.assertIn("state Disabled", detail)

    def test_a_key_that_goes(self):
        self.fake.handler("state", state="PendingDeletion")
        result, detail = self.check(REFUSED)
        self.assertEqual(result, "warn")
        self.assertIn("deletion 2027-03-01T00:00:00Z", detail)
        self.fake.handler("restore")
        self.fake.handler("metadata", metadata={"DeletionDate": 1803859200})
        result, detail = self.check()
        self.assertEqual(result, "warn")
        self.assertIn("it will be destroyed: arn:", detail)

    def test_a_key_that_expires(self):
        for days, wanted in ((29, "warn"), (31, "ok")):
            self.fake.handler("metadata", metadata={"ValidTo": time.time() + days * DAY_S})
            result, detail = self.check()
            self.assertEqual(result, wanted)
            self.assertEqual("it expires in less than 30 days: arn:" in detail, wanted == "warn")

    def test_hostile_text(self):
        self.fake.handler("metadata", metadata={"Origin": "\x1b[2J\n" + "x" * 5000})
        result, detail = self.check()
        self.assertEqual(result, "ok")
        self.assertIn("(?[2J?xxx", detail)
        self.assertTrue(detail.isprintable())
        self.assertLess(len(detail), 400)

    def test_a_source_that_cannot_tell(self):
        document = self.good("check")
        (row,) = [row for row in document["checks"] if row["check"] == "root-key"]
        self.assertEqual((row["result"], row["detail"]),
                         ("ok", "source = file tells nothing of its key"))


class CredentialAsPin(tool.TokenCase):
    """Under `login = credential` it is the login's credential that asks."""

    @classmethod
    def configure(cls, more=""):
        cls.fake = Fake("fake_vault:FakeVault")
        cls.addClassCleanup(cls.fake.stop)
        cls.write("indexkey.conf", f"""[token vectors]
source = vault
vault_addr = {cls.fake.url}
key_name = index-keys
vault_token_env = FIRST_TOKEN
login = credential
store = sqlite:{cls.path("vectors.db")}
""")
        os.environ["INDEXKEY_CONF"] = cls.path("indexkey.conf")

    @classmethod
    def init_token(cls):
        os.environ["FIRST_TOKEN"] = "good-token"
        cls.addClassCleanup(os.environ.pop, "FIRST_TOKEN")
        cls.pkcs11("--init-token", "--slot-index", "0", "--label", "vectors", "--so-pin",
                   "env:SO_PIN")

    def test_the_login_asks(self):
        self.fake.handler("token", token="pin-token", options={},
                          acts=["decrypt", "lookup-self", "keys"])
        self.fake.handler("revoke", token="good-token")
        self.fake.handler("rotate")
        self.write("credential", "pin-token\n")
        result = run("check", "--pin-file", self.path("credential"), "--json")
        self.assertEqual(result.code, OK, result.out)
        row = line_of(result)
        self.assertEqual((row["result"], row["detail"]),
                         ("ok", "transit/keys/index-keys (aes256-gcm96, deletion not allowed), "
                                "wrapped by version 1, newest version 2, oldest usable version 1, "
                                "rotation off"))
        result = run("check", "--json")
        self.assertNotIn("root-key", [row["check"] for row in result.json()["checks"]])


if __name__ == "__main__":
    unittest.main(verbosity=2)
