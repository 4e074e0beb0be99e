#!/usr/bin/env python3
"""An independent verifier of audit logs, written from docs/audit.md alone.

    audit_verifier.py PUBLIC_KEY_HEX FILE...      files oldest first

Exit 0: nothing wrong. 1: a line of what is wrong each. It needs nothing but Python: Ed25519 is
RFC 8032's own arithmetic, slow and simple.
"""
import hashlib
import json
import re
import sys

# ---- Ed25519 (RFC 8032, 5.1) ----

P = 2**255 - 19
ORDER = 2**252 + 27742317777372353535851937790883648493
D = -121665 * pow(121666, P - 2, P) % P
ROOT = pow(2, (P - 1) // 4, P)


def add(a, b):
    x1, y1, z1, t1 = a
    x2, y2, z2, t2 = b
    one, two = (y1 - x1) * (y2 - x2) % P, (y1 + x1) * (y2 + x2) % P
    three, four = 2 * t1 * t2 * D % P, 2 * z1 * z2 % P
    e, f, g, h = two - one, four - three, four + three, two + one
    return e * f % P, g * h % P, f * g % P, e * h % P


def times(number, point):
    result = (0, 1, 1, 0)
    while number > 0:
        if number & 1:
            result = add(result, point)
        point = add(point, point)
        number >>= 1
    return result


def equal(a, b):
    return (a[0] * b[2] - b[0] * a[2]) % P == 0 and (a[1] * b[2] - b[1] * a[2]) % P == 0


def point_of(encoded):
    y = int.from_bytes(encoded, "little")
    sign, y = y >> 255, y & (2**255 - 1)
    if y >= P:
        return None
    square = (y * y - 1) * pow(D * y * y + 1, P - 2, P) % P
    x = pow(square, (P + 3) // 8, P)
    if (x * x - square) % P != 0:
        x = x * ROOT % P
    if (x * x - square) % P != 0 or (x == 0 and sign):
        return None
    if x & 1 != sign:
        x = P - x
    return x, y, 1, x * y % P


BASE = point_of((4 * pow(5, P - 2, P) % P).to_bytes(32, "little"))


def ed25519_verifies(public, message, signature):
    key, commitment = point_of(public), point_of(signature[:32])
    response = int.from_bytes(signature[32:], "little")
    if key is None or commitment is None or response >= ORDER:
        return False
    challenge = hashlib.sha512(signature[:32] + public + message).digest()
    challenge = int.from_bytes(challenge, "little") % ORDER
    return equal(times(response, BASE), add(commitment, times(challenge, key)))


# ---- the log ----

FIELDS = ("v time token writer seq prev above event phase role pid uid program key label mechanism "
          "uses result cause next mac sig").split()
REQUIRED = "v time token writer seq prev event pid uid program".split()
HEX = {"writer": 32, "prev": 64, "above": 64, "key": 32, "next": 64, "mac": 64, "sig": 128}
NUMBERS = ("v", "seq", "pid", "uid", "uses")
ZEROS = "0" * 64


def quote(text):
    """A string as the log writes it: UTF-16 units, all but printable ASCII escaped."""
    units = text.encode("utf-16-be", "surrogatepass")
    codes = [units[i] << 8 | units[i + 1] for i in range(0, len(units), 2)]
    return '"' + "".join("\\" + chr(code) if code in (34, 92) else
                         chr(code) if 32 <= code < 127 else "\\u%04x" % code
                         for code in codes) + '"'


def encode(fields):
    return ("{" + ",".join('"%s":%s' % (name, quote(value) if isinstance(value, str) else value)
                           for name, value in fields.items()) + "}").encode()


def parse(raw):
    """The fields of a line, or None when it is not of the form."""
    try:
        pairs = json.loads(raw.decode("ascii"), object_pairs_hook=list)
    except ValueError:
        return None
    names = [name for name, _ in pairs] if isinstance(pairs, list) else []
    fields = dict(pairs) if names else {}
    if names != [name for name in FIELDS if name in fields] or \
            any(name not in fields for name in REQUIRED) or len(raw) > 4096:
        return None
    for name, value in fields.items():
        if isinstance(value, bool) or isinstance(value, int) != (name in NUMBERS):
            return None
        if name in HEX and not re.fullmatch("[0-9a-f]{%d}" % HEX[name], value):
            return None
    return fields if encode(fields) == raw else None


def before(raw, name):
    return raw[:raw.rindex(b',"%s":"' % name.encode())]


class Writer:
    def __init__(self):
        self.seq, self.hash, self.key = None, ZEROS, None


class Log:
    def __init__(self, public):
        self.publics, self.writers, self.wrong = [public], {}, []

    def check_signature(self, writer, fields, raw):
        is_login = fields["event"] == "login" and "next" in fields
        is_succession = fields["event"] == "audit-key"
        keys = self.publics if is_login or is_succession else [writer.key]
        good = any(key is not None and ed25519_verifies(key, before(raw, "sig"),
                                                        bytes.fromhex(fields["sig"]))
                   for key in keys)
        if is_succession:
            if good and "next" in fields:
                self.publics.append(bytes.fromhex(fields["next"]))
            return good
        writer.key = bytes.fromhex(fields["next"]) if good and "next" in fields else None
        return good

    def line(self, where, raw, above):
        fields = parse(raw)
        if fields is None:
            torn = raw.startswith(b'{"v":1,'[:len(raw)]) and not raw.endswith(b"}")
            if not torn:
                self.wrong.append(where + " not of the form")
            return
        if fields.get("above", above) != above:
            self.wrong.append(where + " another line stood above")
        writer = self.writers.setdefault(fields["writer"], Writer())
        expected = 0 if writer.seq is None else writer.seq + 1
        if fields["seq"] != expected or fields["prev"] != writer.hash:
            self.wrong.append(where + " does not follow its writer's last line")
        if "sig" in fields and not self.check_signature(writer, fields, raw):
            self.wrong.append(where + " has a wrong signature")
        writer.seq, writer.hash = fields["seq"], hashlib.sha256(raw).hexdigest()

    def file(self, path):
        above = ZEROS
        with open(path, "rb") as file:
            lines = file.read().split(b"\n")
            if lines[-1] == b"":
                lines.pop()
            for number, raw in enumerate(lines, 1):
                self.line("%s:%d" % (path, number), raw, above)
                above = hashlib.sha256(raw[-4096:]).hexdigest()


def main():
    log = Log(bytes.fromhex(sys.argv[1]))
    for path in sys.argv[2:]:
        log.file(path)
    print("\n".join(log.wrong))
    return 1 if log.wrong else 0


if __name__ == "__main__":
    sys.exit(main())
