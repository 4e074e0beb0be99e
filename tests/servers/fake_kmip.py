"""A KMIP 1.4 server for fake_service.py, which answers as PyKMIP's does: GetAttributes (the state),
Encrypt and Decrypt with AES-GCM, and Get where a fault says what. It encrypts nothing: it keeps
what it was given, and knows its own ciphertexts again by IV, associated data and tag.

Faults of its own, beside those of fake_service.py; "path" is an operation ("decrypt"):
    refuse   "reason": a result reason, in place of the answer
    twist    "how": one of TWISTS
Commands of its own ("do": "handler"):
    {"what": "save"} {"what": "restore"}     the state of the key
    {"what": "state", "state": N}            of the key: 1 to 6
    {"what": "forget"}                       there is no such key
"""
import os
import struct

from fake_service import Connection, Request

STRUCTURE, INTEGER, ENUMERATION, TEXT, BYTES, DATE = 1, 2, 5, 7, 8, 9
ATTRIBUTE, ATTRIBUTE_NAME, ATTRIBUTE_VALUE = 0x420008, 0x42000A, 0x42000B
BATCH_COUNT, BATCH_ITEM, MODE, ALGORITHM = 0x42000D, 0x42000F, 0x420011, 0x420028
PARAMETERS, IV, OPERATION, VERSION = 0x42002B, 0x42003D, 0x42005C, 0x420069
MAJOR, MINOR, REQUEST_HEADER, REQUEST, REQUEST_PAYLOAD = (0x42006A, 0x42006B, 0x420077, 0x420078,
                                                           0x420079)
SYMMETRIC_KEY, KEY_BLOCK, KEY_VALUE, KEY_MATERIAL = 0x42008F, 0x420040, 0x420045, 0x420043
RESPONSE_HEADER, RESPONSE, RESPONSE_PAYLOAD = 0x42007A, 0x42007B, 0x42007C
REASON, STATUS, TIME, ID, DATA = 0x42007E, 0x42007F, 0x420092, 0x420094, 0x4200C2
TAG_LENGTH, AAD, TAG = 0x4200CE, 0x4200FE, 0x4200FF
OPERATIONS = {0x0A: "fetch", 0x0B: "get_attributes", 0x1F: "encrypt", 0x20: "decrypt"}
NOT_FOUND, INVALID_FIELD, NOT_SUPPORTED, DENIED, GENERAL_FAILURE = 1, 7, 5, 0x0C, 0x100
KEY = "index-keys"
ACTIVE = 2


class Refusal(Exception):
    def __init__(self, reason):
        super().__init__(reason)
        self.reason = reason


def item(tag, kind, value):
    if kind in (INTEGER, ENUMERATION):
        value = struct.pack(">I", value)
    elif kind == DATE:
        value = struct.pack(">Q", value)
    elif kind == TEXT:
        value = value.encode()
    return struct.pack(">II", tag << 8 | kind, len(value)) + value + bytes(-len(value) % 8)


def parse(bytes_):
    """[(tag, type, value)], strictly."""
    items = []
    while bytes_:
        head, length = struct.unpack(">II", bytes_[:8])
        value = bytes_[8:8 + length]
        padded = 8 + length + -length % 8
        if len(bytes_) < padded or any(bytes_[8 + length:padded]):
            raise ValueError("malformed TTLV")
        kind = head & 0xFF
        if kind == STRUCTURE:
            value = parse(value)
        elif kind in (INTEGER, ENUMERATION):
            value, = struct.unpack(">I", value)
        elif kind == TEXT:
            value = value.decode()
        items.append((head >> 8, kind, value))
        bytes_ = bytes_[padded:]
    return items


def get(items, tag, kind, default=None):
    found = [value for tag_, kind_, value in items if (tag_, kind_) == (tag, kind)]
    if len(found) == 1:
        return found[0]
    if found or default is None:
        raise ValueError(f"not one item {tag:#x}")
    return default


def response(operation, status, rest):
    header = item(VERSION, STRUCTURE, item(MAJOR, INTEGER, 1) + item(MINOR, INTEGER, 4))
    header += item(TIME, DATE, 1700000000) + item(BATCH_COUNT, INTEGER, 1)
    body = item(OPERATION, ENUMERATION, operation) + item(STATUS, ENUMERATION, status) + rest
    return item(RESPONSE, STRUCTURE,
                item(RESPONSE_HEADER, STRUCTURE, header) + item(BATCH_ITEM, STRUCTURE, body))


def refused(operation, reason):
    return response(operation, 1, item(REASON, ENUMERATION, reason))


def answered(operation, payload):
    return response(operation, 0, item(RESPONSE_PAYLOAD, STRUCTURE, payload))


def operation_of(body):
    return get(get(get(parse(body), REQUEST, STRUCTURE), BATCH_ITEM, STRUCTURE), OPERATION,
               ENUMERATION)


def object_of(material):
    return item(SYMMETRIC_KEY, STRUCTURE, item(KEY_BLOCK, STRUCTURE, item(
        KEY_VALUE, STRUCTURE, material)))


def wrapped_of(length):
    return lambda operation, _: answered(operation, item(ID, TEXT, KEY) + object_of(
        item(KEY_MATERIAL, BYTES, bytes(length))))


# What is wrong with an answer that says it is right.
TWISTS = {
    "no_payload": lambda operation, _: response(operation, 0, b""),
    "no_status": lambda operation, _: item(RESPONSE, STRUCTURE, item(
        BATCH_ITEM, STRUCTURE, item(OPERATION, ENUMERATION, operation))),
    "two_items": lambda operation, body: item(RESPONSE, STRUCTURE, 2 * item(
        BATCH_ITEM, STRUCTURE, item(STATUS, ENUMERATION, 0))),
    "other_key": lambda operation, _: answered(operation, item(ID, TEXT, "another")),
    "no_data": lambda operation, _: answered(operation, item(ID, TEXT, KEY)),
    "no_key": lambda operation, _: answered(operation, item(DATA, BYTES, bytes(32))),
    "text_for_bytes": lambda operation, _: answered(
        operation, item(ID, TEXT, KEY) + item(DATA, TEXT, "a" * 32)),
    "empty": lambda operation, _: answered(operation,
                                           item(ID, TEXT, KEY) + item(DATA, BYTES, b"")),
    "short": lambda operation, _: answered(operation,
                                           item(ID, TEXT, KEY) + item(DATA, BYTES, bytes(31))),
    "long": lambda operation, _: answered(operation,
                                          item(ID, TEXT, KEY) + item(DATA, BYTES, bytes(33))),
    "huge": lambda operation, _: answered(operation,
                                          item(ID, TEXT, KEY) + item(DATA, BYTES, bytes(2000))),
    "other": lambda operation, _: answered(operation,
                                           item(ID, TEXT, KEY) + item(DATA, BYTES, bytes(32))),
    "wrapped_empty": wrapped_of(0),
    "wrapped_odd": wrapped_of(39),
    "wrapped_wrong": wrapped_of(40),
    "wrapped_huge": wrapped_of(2000),
    "wrapped_text": lambda operation, _: answered(operation, item(ID, TEXT, KEY) + object_of(
        item(KEY_MATERIAL, TEXT, "a" * 40))),
    "bad_length": lambda _, body: body[:-36] + b"\xff\xff\xff\xff" + body[-32:],
    "longer_than_whole": lambda _, body: body[:8] + body[8:].replace(
        struct.pack(">I", 4), struct.pack(">I", 4000)),
    "too_long": lambda _, body: body[:4] + struct.pack(">I", 1 << 30) + body[8:],
    "other_message": lambda _, body: item(REQUEST, STRUCTURE, b""),
    "nothing": lambda _, body: item(RESPONSE, STRUCTURE, b""),
    "odd_state": lambda operation, _: answered(operation, item(ID, TEXT, KEY) + item(
        ATTRIBUTE, STRUCTURE,
        item(ATTRIBUTE_NAME, TEXT, "State") + item(ATTRIBUTE_VALUE, ENUMERATION, 9))),
    "no_state": lambda operation, _: answered(operation, item(ID, TEXT, KEY)),
    "other_attribute": lambda operation, _: answered(operation, item(ID, TEXT, KEY) + item(
        ATTRIBUTE, STRUCTURE,
        item(ATTRIBUTE_NAME, TEXT, "Name") + item(ATTRIBUTE_VALUE, ENUMERATION, 2))),
}


class KmipConnection(Connection):
    def read_request(self):
        while len(self.buffer) < 8:
            if not self.receive():
                return None
        length = 8 + struct.unpack(">I", self.buffer[4:8])[0]
        while len(self.buffer) < length:
            if not self.receive():
                return None
        body, self.buffer = self.buffer[:length], self.buffer[length:]
        return Request("POST", "/" + OPERATIONS.get(operation_of(body), "unknown"), {}, body)

    def head_of(self, status, headers, length):
        return b""

    def fault_refuse(self, fault, request):
        self.socket.sendall(refused(operation_of(request.body), fault["reason"]))
        return True

    def fault_twist(self, fault, request):
        _, _, body = self.service.answer_of(request)
        self.socket.sendall(TWISTS[fault["how"]](operation_of(request.body), body))
        return True


class FakeKmip:
    connection = KmipConnection

    def __init__(self, _options):
        self.state = self.saved = ACTIVE
        self.ciphertexts = {}

    def control(self, command):
        what = command["what"]
        if what == "save":
            self.saved = self.state
        elif what == "restore":
            self.state = self.saved
        elif what == "state":
            self.state = command["state"]
        elif what == "forget":
            self.state = None
        else:
            raise ValueError(what)
        return {}

    def handle(self, request):
        message = get(parse(request.body), REQUEST, STRUCTURE)
        header = get(message, REQUEST_HEADER, STRUCTURE)
        version = get(header, VERSION, STRUCTURE)
        batch = get(message, BATCH_ITEM, STRUCTURE)
        payload = get(batch, REQUEST_PAYLOAD, STRUCTURE)
        operation = get(batch, OPERATION, ENUMERATION)
        try:
            if (get(version, MAJOR, INTEGER), get(version, MINOR, INTEGER)) != (1, 4) or \
                    get(header, BATCH_COUNT, INTEGER) != 1:
                raise Refusal(NOT_SUPPORTED)
            if self.state is None or get(payload, ID, TEXT) != KEY:
                raise Refusal(NOT_FOUND)
            act = getattr(self, OPERATIONS.get(operation, "unknown"))
            return 200, {}, answered(operation, item(ID, TEXT, KEY) + act(payload))
        except Refusal as refusal:
            return 200, {}, refused(operation, refusal.reason)

    def unknown(self, _payload):
        raise Refusal(NOT_SUPPORTED)

    def fetch(self, _payload):
        raise Refusal(NOT_SUPPORTED)

    def get_attributes(self, payload):
        if get(payload, ATTRIBUTE_NAME, TEXT) != "State":
            raise Refusal(NOT_FOUND)
        return item(ATTRIBUTE, STRUCTURE, item(ATTRIBUTE_NAME, TEXT, "State") + item(
            ATTRIBUTE_VALUE, ENUMERATION, self.state))

    def parameters(self, payload):
        if self.state != ACTIVE:
            raise Refusal(DENIED)
        parameters = get(payload, PARAMETERS, STRUCTURE)
        if (get(parameters, MODE, ENUMERATION), get(parameters, ALGORITHM, ENUMERATION),
                get(parameters, TAG_LENGTH, INTEGER)) != (9, 3, 16):
            raise Refusal(INVALID_FIELD)
        iv = get(payload, IV, BYTES)
        if len(iv) != 12:
            raise Refusal(INVALID_FIELD)
        return iv, get(payload, AAD, BYTES, b""), get(payload, DATA, BYTES)

    def encrypt(self, payload):
        iv, aad, data = self.parameters(payload)
        ciphertext, tag = os.urandom(len(data)), os.urandom(16)
        self.ciphertexts[ciphertext, iv, aad, tag] = data
        return (item(DATA, BYTES, ciphertext) + item(IV, BYTES, iv) + item(TAG, BYTES, tag))

    def decrypt(self, payload):
        iv, aad, data = self.parameters(payload)
        tag = get(payload, TAG, BYTES)
        if (data, iv, aad, tag) not in self.ciphertexts:
            raise Refusal(GENERAL_FAILURE)
        return item(DATA, BYTES, self.ciphertexts[data, iv, aad, tag])
