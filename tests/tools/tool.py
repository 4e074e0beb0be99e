"""What the tests of the indexkey command share: a token of their own, and runs of the command.

INDEXKEY_TOOL and INDEXKEY_MODULE name what was built.
"""
import base64
import json
import os
import subprocess
import tempfile
import unittest

TOOL = os.environ["INDEXKEY_TOOL"]
MODULE = os.environ["INDEXKEY_MODULE"]
PIN = "user-pin-5829"
SO_PIN = "so-pin-73025"

OK, FAILED, USAGE, REFUSED, UNREACHABLE, TAMPERED, NOT_FOUND, CONFIG = range(8)


class Result:
    def __init__(self, process):
        self.code = process.returncode
        self.out = process.stdout.decode()
        self.err = process.stderr.decode()

    def json(self):
        return json.loads(self.out)


def run(*arguments, stdin=b"", **environment):
    """Without a terminal, so that nothing can ask."""
    process = subprocess.run([TOOL, *arguments], input=stdin, capture_output=True, timeout=60,
                             start_new_session=True, env={**os.environ, **environment}, check=False)
    return Result(process)


def subkey_mac(key, purpose, message):
    """By OpenSSL: the subkey of an index key's value, and its HMAC-SHA-256."""
    subkey = subprocess.run(
        ["openssl", "kdf", "-keylen", "32", "-kdfopt", "mac:HMAC", "-kdfopt", "digest:SHA256",
         "-kdfopt", "mode:COUNTER", "-kdfopt", f"hexkey:{key.hex()}", "-kdfopt",
         f"salt:indexkey/1/{purpose}", "-binary", "KBKDF"], check=True, capture_output=True).stdout
    return subprocess.run(["openssl", "dgst", "-sha256", "-mac", "HMAC", "-macopt",
                           f"hexkey:{subkey.hex()}", "-binary"], input=message, check=True,
                          capture_output=True).stdout


class TokenCase(unittest.TestCase):
    """A folder with one token `vectors` on `file` and SQLite, its PINs set; gone at the end."""
    MORE = ""  # lines of the token's section

    @classmethod
    def setUpClass(cls):
        os.umask(0o077)
        folder = tempfile.TemporaryDirectory()
        cls.addClassCleanup(folder.cleanup)
        cls.folder = folder.name
        cls.write("root.key", base64.b64encode(os.urandom(32)) + b"\n")
        cls.write("pin", PIN + "\n")
        cls.write("so-pin", SO_PIN + "\n")
        cls.configure()
        cls.init_token()

    @classmethod
    def path(cls, name):
        return os.path.join(cls.folder, name)

    @classmethod
    def write(cls, name, content, mode=0o600):
        with open(cls.path(name), "wb") as file:
            file.write(content if isinstance(content, bytes) else content.encode())
        os.chmod(cls.path(name), mode)
        return cls.path(name)

    @classmethod
    def configure(cls, more=""):
        cls.write("indexkey.conf", f"""[module]
log = stderr:warning
[token vectors]
source = file
key_file = {cls.path("root.key")}
store = sqlite:{cls.path("vectors.db")}
{cls.MORE.format(folder=cls.folder)}
{more}
""")
        os.environ["INDEXKEY_CONF"] = cls.path("indexkey.conf")

    @classmethod
    def pkcs11(cls, *arguments):
        return subprocess.run(["pkcs11-tool", "--module", MODULE, *arguments], check=True,
                              capture_output=True, timeout=60,
                              env={**os.environ, "PIN": PIN, "SO_PIN": SO_PIN}).stdout.decode()

    @classmethod
    def init_token(cls):
        cls.pkcs11("--init-token", "--slot-index", "0", "--label", "vectors", "--so-pin",
                   "env:SO_PIN")
        cls.pkcs11("--token-label", "vectors", "--login", "--login-type", "so", "--so-pin",
                   "env:SO_PIN", "--init-pin", "--new-pin", "env:PIN")

    @classmethod
    def keygen(cls, label, key_id="01", kind="GENERIC:32"):
        cls.pkcs11("--token-label", "vectors", "--login", "--pin", "env:PIN", "--keygen",
                   "--key-type", kind, "--label", label, "--id", key_id)

    def user(self, *arguments, **more):
        return run(*arguments, "--pin-file", self.path("pin"), **more)

    def good(self, *arguments, **more):
        """The document of a command that must succeed."""
        result = self.user(*arguments, "--json", **more)
        self.assertEqual(result.code, OK, result.err)
        self.assertEqual(result.err, "")
        return result.json()

    def bad(self, code, *arguments, says="", **more):
        """A refusal: exit code, one line on stderr, and the same as JSON."""
        result = run(*arguments[:1], "--json", *arguments[1:], **more)
        self.assertEqual(result.code, code, result.err)
        self.assertEqual(len(result.err.splitlines()), 1, result.err)
        self.assertIn(says, result.err)
        error = result.json()["error"]
        self.assertEqual(error["exit"], code)
        self.assertEqual(result.err, f"indexkey: error: {error['message']}\n")
        return error
