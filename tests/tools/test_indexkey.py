#!/usr/bin/env python3
"""The indexkey command on a token with `source = file` in SQLite: text, JSON, exit codes, and what
it must not give away."""
import base64
import os
import pty
import signal
import socket
import subprocess
import time
import unittest

import tool
from tool import CONFIG, FAILED, NOT_FOUND, OK, REFUSED, TAMPERED, UNREACHABLE, USAGE, run


class Reading(tool.TokenCase):
    """check, status and keys."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.keygen("packages", "01")
        cls.keygen("files", "0a0b", "AES:32")

    def results(self, document, result):
        return [row for row in document["checks"] if row["result"] == result]

    def test_check_of_a_good_token(self):
        document = self.good("check")
        self.assertEqual(self.results(document, "fail"), [])
        self.assertLessEqual({"file", "memory", "key_file", "store", "source", "login"},
                             {row["check"] for row in document["checks"]})
        text = self.user("check")
        self.assertEqual(text.code, OK)
        self.assertRegex(text.out, r"(?m)^ok +vectors +source +it unwrapped the token's data key")

    def test_check_names_file_and_line(self):
        path = self.write("bad.conf", "[module]\nlog = stderr:warning\n[token vectors]\n"
                                      "source = env\nkey_env = K\nstroe = memory:\n")
        result = run("check", "--conf", path, "--json")
        self.assertEqual(result.code, CONFIG)
        details = [row["detail"] for row in self.results(result.json(), "fail")]
        self.assertTrue(any(f"{path}:6: " in detail and "nearest: 'store'" in detail
                            for detail in details), details)
        self.assertEqual(len(details), len(set(details)))

    def test_check_of_permissions(self):
        os.chmod(self.path("root.key"), 0o604)
        self.addCleanup(os.chmod, self.path("root.key"), 0o600)
        result = run("check", "--json")
        self.assertNotEqual(result.code, OK)
        failed = self.results(result.json(), "fail")
        self.assertTrue(any(row["check"] == "key_file" and "chmod go-rwx" in row["detail"]
                            for row in failed), failed)

    def test_check_of_a_source_that_is_not_there(self):
        with socket.socket() as unused:
            unused.bind(("127.0.0.1", 0))
            address = f"http://127.0.0.1:{unused.getsockname()[1]}"
            path = self.write("vault.conf", f"""[token remote]
source = vault
vault_addr = {address}
key_name = k
vault_token_env = NO_TOKEN
deadline = 1s
store = sqlite:{self.path("remote.db")}
""")
            result = run("check", "--conf", path, "--json", NO_TOKEN="hvs.x")
        self.assertEqual(result.code, UNREACHABLE, result.out)
        self.assertEqual([row["check"] for row in self.results(result.json(), "fail")], ["source"])

    def test_check_of_an_edited_store(self):
        with open(self.path("vectors.db"), "rb") as file:
            former = file.read()
        subprocess.run(["python3", "-c", f"""
import sqlite3
db = sqlite3.connect({self.path("vectors.db")!r})
(data,) = db.execute("SELECT bytes FROM record WHERE name = 'token'").fetchone()
data = bytearray(data)
data[-1] ^= 1
db.execute("UPDATE record SET bytes = ? WHERE name = 'token'", (bytes(data),))
db.commit()
"""], check=True)
        result = run("check", "--json")
        for end in ("-wal", "-shm"):
            if os.path.exists(self.path("vectors.db" + end)):
                os.unlink(self.path("vectors.db" + end))
        self.write("vectors.db", former)
        self.assertEqual(result.code, TAMPERED, result.out)

    def test_status(self):
        (token,) = self.good("status")["tokens"]
        self.assertEqual((token["section"], token["label"], token["state"], token["user_pin"]),
                         ("vectors", "vectors", "initialised", "set"))
        self.assertEqual(token["secret_keys"], 7)
        self.assertRegex(token["serial"], "^[0-9a-f]{16}$")
        text = run("status")
        self.assertEqual(text.code, OK)
        self.assertRegex(text.out, r"(?m)^label: +vectors$")

    def test_status_hides_the_stores_password(self):
        path = self.write("pg.conf", f"""[token pg]
source = file
key_file = {self.path("root.key")}
store = postgresql://someone:sec%40ret@127.0.0.1:1/db?password=secret
""")
        result = run("status", "--conf", path)
        self.assertEqual(result.code, OK)
        for word in ("sec%40", "sec@", "ret@", "secret"):
            self.assertNotIn(word, result.out + result.err)

    def test_keys(self):
        keys = {key["label"]: key for key in self.good("keys")["keys"]}
        self.assertEqual(set(keys), {"packages", "files"})
        self.assertEqual(keys["packages"]["kind"], "index key")
        self.assertEqual(keys["packages"]["subkeys"],
                         ["token", "centroid", "payload", "item", "query"])
        self.assertEqual((keys["files"]["id"], keys["files"]["bits"]), ("0a0b", 256))
        self.assertEqual(keys["files"]["kind"], "AES key")
        self.assertRegex(self.user("keys").out, r"(?m)^packages +01 +index key")

    def test_one_key(self):
        self.assertEqual([key["label"] for key in self.good("keys", "packages")["keys"]],
                         ["packages"])
        self.assertEqual([key["label"] for key in self.good("keys", "--id", "0a0B")["keys"]],
                         ["files"])
        self.bad(NOT_FOUND, "keys", "packets", "--pin-file", self.path("pin"))
        self.bad(USAGE, "keys", "--id", "0x1", "--pin-file", self.path("pin"))

    def test_token_by_label_section_and_slot(self):
        for name in ("vectors", "0"):
            self.assertEqual(self.good("keys", "--token", name)["token"], "vectors")
        self.bad(NOT_FOUND, "keys", "--token", "vector", "--pin-file", self.path("pin"))


class Refusals(tool.TokenCase):
    def test_usage(self):
        for arguments, says in (
                (("kyes",), "nearest: 'keys'"),
                (("keys", "--tokne", "x"), "nearest: '--token'"),
                (("keys", "a", "--token"), "needs a value"),
                (("keys", "a", "b"), "too many arguments"),
                (("keys", "--conf", "/a", "--conf", "/b"), "twice"),
                (("import", "file"), "--label"),
                (("import", "--label", "x"), "one of them"),
                (("keys", "--pin-file", "/a", "--pin-env", "A"), "twice")):
            with self.subTest(arguments=arguments):
                self.bad(USAGE, *arguments, says=says)

    def test_no_command(self):
        result = run()
        self.assertEqual((result.code, result.out), (USAGE, ""))
        self.assertEqual(result.err, "indexkey: error: no command; see indexkey help\n")

    def test_a_pin_on_the_command_line_is_not_repeated(self):
        for arguments in (("keys", "--pin", PIN_SHAPED), ("keys", f"--pin={PIN_SHAPED}"),
                          ("status", PIN_SHAPED), ("keys", "--pin-fil", PIN_SHAPED, "x", "y")):
            with self.subTest(arguments=arguments):
                result = run(*arguments, "--json")
                self.assertEqual(result.code, USAGE)
                self.assertNotIn(PIN_SHAPED, result.out + result.err)

    def test_wrong_pins(self):
        error = self.bad(REFUSED, "keys", "--pin-file", self.write("wrong", "wrong-pin\n"))
        self.assertEqual((error["code"], error["cause"]), ("CKR_PIN_INCORRECT", "pin"))
        self.good("keys")

    def test_pin_files(self):
        self.bad(REFUSED, "keys", "--pin-file", self.write("open", tool.PIN, 0o644), says="chmod")
        self.bad(NOT_FOUND, "keys", "--pin-file", self.path("absent"))
        self.bad(USAGE, "keys", "--pin-file", self.write("empty", "\n"))
        self.bad(USAGE, "keys", "--pin-file", self.write("zero", b"12\x0034\n"))
        self.bad(USAGE, "keys", "--pin-file", self.write("lines", "1234\n5678\n"))
        self.bad(FAILED, "keys", "--pin-file", self.write("huge", b"1" * 100000))
        self.bad(USAGE, "keys", says="no terminal")
        self.bad(USAGE, "keys", "--pin-env", "NOT_SET_ANYWHERE")

    def test_no_configuration(self):
        self.bad(CONFIG, "status", "--conf", self.path("absent.conf"))
        result = run("check", "--conf", self.path("absent.conf"), "--json")
        self.assertEqual(result.code, CONFIG)
        self.assertEqual(result.json()["checks"][0]["result"], "fail")
        empty = self.write("empty.conf", "\n")
        self.bad(NOT_FOUND, "keys", "--conf", empty)

    def test_bad_configuration(self):
        path = self.write("bad.conf", "[token vectors]\nsource = file\n")
        error = self.bad_token(path)
        self.assertEqual(error["exit"], CONFIG)
        garbage = self.write("garbage.conf", os.urandom(1000))
        self.bad(CONFIG, "status", "--conf", garbage)

    def bad_token(self, path):
        """The module's own lines about the section come first, as warnings."""
        result = run("keys", "--conf", path, "--json")
        lines = result.err.splitlines()
        self.assertRegex(lines[-1], "^indexkey: error: ")
        for line in lines[:-1]:
            self.assertRegex(line, "^indexkey: warning: ")
        return result.json()["error"]

    def test_output_that_cannot_be_written(self):
        with open("/dev/full", "wb") as full:
            process = subprocess.run([tool.TOOL, "status"], stdout=full, stderr=subprocess.PIPE,
                                     check=False, timeout=60)
        self.assertNotEqual(process.returncode, OK)


PIN_SHAPED = "0815-4711-secret"


class Importing(tool.TokenCase):
    def import_file(self, name, content, label, code=OK, **more):
        path = self.write(name, content)
        result = self.user("import", path, "--label", label, "--json", **more)
        self.assertEqual(result.code, code, result.err)
        return result

    def mac(self, key_id, text):
        """HMAC-SHA-256 by the key's subkey of purpose token, with pkcs11-tool."""
        self.write("message", text)
        self.pkcs11("--token-label", "vectors", "--login", "--pin", "env:PIN", "--sign",
                    "--mechanism", "SHA256-HMAC", "--id", f"{key_id}01", "--input-file",
                    self.path("message"), "--output-file", self.path("mac"))
        with open(self.path("mac"), "rb") as file:
            return file.read()

    def test_the_key_is_the_one_of_the_file(self):
        key = os.urandom(32)
        document = self.import_file("a.b64", base64.b64encode(key) + b"\n", "a").json()
        self.assertRegex(document["id"], "^[0-9a-f]{32}$")
        self.assertEqual(self.mac(document["id"], "one"), tool.subkey_mac(key, "token", b"one"))
        (listed,) = self.good("keys", "a")["keys"]
        self.assertEqual((listed["kind"], listed["local"], listed["extractable"]),
                         ("index key", False, False))

    def test_standard_input(self):
        key = os.urandom(32)
        document = self.good("import", "-", "--label", "in", "--id", "77",
                             stdin=base64.b64encode(key))
        self.assertEqual(document["id"], "77")
        self.assertEqual(self.mac("77", "two"), tool.subkey_mac(key, "token", b"two"))

    def test_a_label_that_is_taken(self):
        text = base64.b64encode(os.urandom(32))
        self.import_file("b.b64", text, "b")
        self.assertIn("another label", self.import_file("b.b64", text, "b", FAILED).err)
        self.assertEqual(len(self.good("keys", "b")["keys"]), 1)

    def test_hostile_files(self):
        secret = base64.b64encode(b"k" * 31).decode()
        for name, content in (("empty", b""), ("short", secret), ("long", "A" * 48),
                              ("huge", b"A" * 10_000_000), ("nul", b"A" * 20 + b"\0" + b"A" * 23),
                              ("no base64", b"!" * 44), ("raw", os.urandom(32)),
                              ("two", b"A" * 43 + b"=\n" + b"A" * 43 + b"=\n")):
            with self.subTest(name=name):
                result = self.import_file("hostile", content, "hostile", FAILED)
                self.assertEqual(len(result.err.splitlines()), 1)
                self.assertNotIn(secret, result.out + result.err)
        self.bad(FAILED, "import", self.folder, "--label", "x", "--pin-file", self.path("pin"))
        self.bad(FAILED, "import", "/dev/zero", "--label", "x", "--pin-file", self.path("pin"))
        self.assertNotIn("hostile", [key["label"] for key in self.good("keys")["keys"]])

    def test_a_file_that_others_may_read(self):
        path = self.write("open.b64", base64.b64encode(os.urandom(32)), 0o644)
        self.bad(REFUSED, "import", path, "--label", "x", "--pin-file", self.path("pin"),
                 says="chmod 600")

    def test_reserved_labels(self):
        path = self.write("r.b64", base64.b64encode(os.urandom(32)))
        self.bad(REFUSED, "import", path, "--label", "a/token", "--pin-file", self.path("pin"))

    def test_a_module_that_is_none(self):
        self.bad(NOT_FOUND, "import", "--label", "x", "--from-module", self.path("absent.so"),
                 "--pin-file", self.path("pin"))
        self.bad(FAILED, "import", "--label", "x", "--from-module", "libsqlite3.so.0",
                 "--pin-file", self.path("pin"), says="no PKCS #11 module")


class Secrets(tool.TokenCase):
    """While the command runs: its command line, environment and limits."""

    def start(self, **environment):
        """One that has logged in and waits for a key on its standard input."""
        process = subprocess.Popen(
            [tool.TOOL, "import", "-", "--label", "waits", "--pin-env", "THE_PIN"],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
            env={**os.environ, **environment})
        self.addCleanup(process.stdout.close)
        self.addCleanup(process.stderr.close)
        for _ in range(200):
            with open(f"/proc/{process.pid}/wchan", encoding="ascii") as file:
                if "pipe" in file.read():
                    return process
            time.sleep(0.05)
        return process

    def read_proc(self, process, name):
        try:
            with open(f"/proc/{process.pid}/{name}", "rb") as file:
                return file.read()
        except PermissionError:
            return b""  # not dumpable: only root may look

    def test_nothing_shows_the_pin(self):
        process = self.start(THE_PIN=tool.PIN)
        time.sleep(0.5)
        seen = {name: self.read_proc(process, name) for name in ("cmdline", "environ", "limits")}
        out, err = process.communicate(base64.b64encode(os.urandom(32)), timeout=60)
        self.assertEqual(process.returncode, OK, err)
        self.assertIn(b"import", seen["cmdline"])
        for name in ("cmdline", "environ"):
            self.assertNotIn(tool.PIN.encode(), seen[name])
        self.assertRegex(seen["limits"].decode(), r"Max core file size +0 +0 ")
        self.assertNotIn(tool.PIN.encode(), out + err)

    def test_the_terminal_is_asked_without_echo(self):
        signal.alarm(60)
        self.addCleanup(signal.alarm, 0)
        pid, terminal = pty.fork()
        if pid == 0:
            os.execv(tool.TOOL, [tool.TOOL, "keys", "--json"])
        seen = self.read_until(terminal, b": ")
        os.write(terminal, tool.PIN.encode() + b"\n")
        seen += self.read_until(terminal, b"never")
        _, status = os.waitpid(pid, 0)
        os.close(terminal)
        self.assertEqual(os.waitstatus_to_exitcode(status), OK, seen)
        self.assertIn(b"the user PIN of token 'vectors'", seen)
        self.assertIn(b'"keys"', seen)
        self.assertNotIn(tool.PIN.encode(), seen)

    def read_until(self, terminal, mark):
        seen = b""
        while mark not in seen:
            try:
                piece = os.read(terminal, 4096)
            except OSError:  # the other side is closed
                break
            seen += piece
        return seen


if __name__ == "__main__":
    unittest.main(verbosity=2)
