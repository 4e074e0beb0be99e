#!/usr/bin/env python3
"""A scripted HTTP or HTTPS service on 127.0.0.1, for tests of what goes wrong.

    fake_service.py [--handler MODULE:CLASS] [--options JSON] [--cert PEM --key PEM]
                    [--client-ca PEM]

It prints {"port": N}, then takes one command a line from stdin, a JSON object, and answers each
with one JSON object on a line. It ends when stdin does.

    {"do": "fault", "kind": KIND, …}  the next request or connection goes wrong so; "times": N makes
                                      it the next N, -1 all until "clear"; "path": text restricts it
                                      to requests whose path has that text in it
    {"do": "rate", "rate": N}         beyond N requests a second, after a burst of N, the handler's
                                      throttled() answers
    {"do": "clear"}                   forgets faults, rate, counts and requests
    {"do": "counts"}                  {"requests": N, "connections": N, "handshakes": N,
                                      "throttled": N}
    {"do": "requests"}                {"requests": [{"method", "path", "headers", "body"}, …]},
                                      bodies as latin-1 text
    {"do": "clock", "ahead": SECONDS} what the Date header says
    {"do": "handler", …}              goes to the handler's control()

Faults of a request:
    status    "status", "headers", "body": this answer instead of the handler's
    echo      the request's body
    delay     "seconds", then the answer
    drip      a byte each "seconds" (1)
    truncate  the connection closes within the body; with "at": "headers" within the headers
    length    the Content-Length is wrong by "delta"
    endless   a body without end
    long_header  a header line of "size" (1 MiB) bytes
    redirect  "status" (302) to "location"
    hang      no answer at all
    close     the connection closes without an answer
    reset     the connection is reset
    garbage   bytes that are no HTTP
Faults of a connection:
    connection_reset  reset before anything is read
    connection_hang   nothing is read, no TLS handshake
    tls               "cert", "key": these instead; "version": "1.1" at most

A handler is a class:
    __init__(self, options)   the object of --options
    handle(self, request)     returns (status, headers, body): an int, a dict, bytes; `request` has
                              method, path, query, headers (names in lower case), body (bytes)
    control(self, command)    optional; returns an object
    throttled()               optional: what handle() returns, to who exceeds the rate
    connection                optional: a Connection that speaks something else than HTTP
It is called from one thread at a time.
"""
import argparse
import email.utils
import importlib
import json
import os
import socket
import ssl
import struct
import sys
import threading
import time

CONNECTION_FAULTS = ("connection_reset", "connection_hang", "tls")
REASON = "Scripted"
HEAD_MAX = 256 << 10


class Request:
    def __init__(self, method, target, headers, body):
        self.method = method
        self.path, _, self.query = target.partition("?")
        self.headers = headers
        self.body = body

    def to_json(self):
        return {"method": self.method, "path": self.path, "query": self.query,
                "headers": self.headers, "body": self.body.decode("latin-1")}


class DefaultHandler:
    """Says what it got, but for the body."""

    def __init__(self, options):
        self.options = options

    def handle(self, request):
        answer = {"method": request.method, "path": request.path, "length": len(request.body)}
        return 200, {"Content-Type": "application/json"}, json.dumps(answer).encode()


class Bucket:
    """Of a rate limit; it begins full."""

    def __init__(self, rate):
        self.rate = rate
        self.allowance = float(rate)
        self.time = time.monotonic()

    def take(self):
        now = time.monotonic()
        earned = (now - self.time) * self.rate
        self.allowance = min(float(self.rate), self.allowance + earned)
        self.time = now
        if self.allowance < 1:
            return False
        self.allowance -= 1
        return True


class Service:
    def __init__(self, arguments, handler):
        self.arguments = arguments
        self.handler = handler
        self.lock = threading.Lock()
        self.handler_lock = threading.Lock()
        self.ahead = 0
        self.address = None
        self.own_calls = {}
        self.clear()

    def clear(self):
        with self.lock:
            self.faults = []
            self.bucket = None
            self.requests = []
            self.counts = {"requests": 0, "connections": 0, "handshakes": 0, "throttled": 0}

    def count(self, what):
        with self.lock:
            self.counts[what] += 1

    def catch_up(self):
        """Connections are accepted in their order: those that came before have been counted."""
        with socket.socket() as own:
            own.bind(("127.0.0.1", 0))
            came = threading.Event()
            self.own_calls[own.getsockname()[1]] = came
            own.connect(self.address)
            came.wait()

    def take_fault(self, of_connection, path=""):
        with self.lock:
            for fault in self.faults:
                if (fault["kind"] in CONNECTION_FAULTS) != of_connection:
                    continue
                if fault.get("path", "") not in path:
                    continue
                fault["times"] -= 1
                if fault["times"] == 0:
                    self.faults.remove(fault)
                return fault
        return None

    def is_admitted(self):
        with self.lock:
            admitted = self.bucket is None or self.bucket.take()
            self.counts["throttled"] += not admitted
        return admitted

    def answer_of(self, request):
        if not self.is_admitted():
            return self.handler.throttled()
        with self.handler_lock:
            return self.handler.handle(request)

    def command(self, command):
        do = command.pop("do")
        if do in ("clear", "counts"):
            self.catch_up()
        if do == "fault":
            command.setdefault("times", 1)
            with self.lock:
                self.faults.append(command)
        elif do == "rate":
            with self.lock:
                self.bucket = Bucket(command["rate"])
        elif do == "clear":
            self.clear()
        elif do == "counts":
            with self.lock:
                return dict(self.counts)
        elif do == "requests":
            with self.lock:
                return {"requests": [request.to_json() for request in self.requests]}
        elif do == "clock":
            self.ahead = command["ahead"]
        elif do == "handler":
            with self.handler_lock:
                return self.handler.control(command)
        else:
            return {"error": f"unknown command {do!r}"}
        return {}


def reset(connection):
    """An RST instead of a FIN; on the socket under a TLS one."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    raw = socket.socket(fileno=connection.detach())
    raw.close()


def tls_context(service, fault):
    arguments = service.arguments
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(fault.get("cert", arguments.cert), fault.get("key", arguments.key))
    if arguments.client_ca:
        context.verify_mode = ssl.CERT_REQUIRED
        context.load_verify_locations(arguments.client_ca)
    if fault.get("version") == "1.1":
        context.set_ciphers("ALL:@SECLEVEL=0")
        context.minimum_version = ssl.TLSVersion.TLSv1
        context.maximum_version = ssl.TLSVersion.TLSv1_1
    return context


class Connection:
    def __init__(self, service, raw):
        self.service = service
        self.socket = raw
        self.buffer = b""

    def receive(self):
        piece = self.socket.recv(65536)
        self.buffer += piece
        return bool(piece)

    def read_request(self):
        while b"\r\n\r\n" not in self.buffer:
            if self.buffer.startswith(b"\x16\x03"):  # a TLS handshake, on a plain port
                self.send_answer(400, {}, b"")
                return None
            if len(self.buffer) > HEAD_MAX or not self.receive():
                return None
        head, _, self.buffer = self.buffer.partition(b"\r\n\r\n")
        lines = head.decode("latin-1").split("\r\n")
        method, target, _ = lines[0].split(" ", 2)
        headers = {}
        for line in lines[1:]:
            name, _, value = line.partition(":")
            headers[name.strip().lower()] = value.strip()
        length = int(headers.get("content-length", "0"))
        while len(self.buffer) < length:
            if not self.receive():
                return None
        body, self.buffer = self.buffer[:length], self.buffer[length:]
        return Request(method, target, headers, body)

    def head_of(self, status, headers, length):
        date = email.utils.formatdate(time.time() + self.service.ahead, usegmt=True)
        lines = [f"HTTP/1.1 {status} {REASON}", f"Date: {date}"]
        if length is not None:
            lines.append(f"Content-Length: {length}")
        lines += [f"{name}: {value}" for name, value in headers.items()]
        return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")

    def send_answer(self, status, headers, body):
        self.socket.sendall(self.head_of(status, headers, len(body)) + body)

    # Each fault answers True when the connection may serve the next request.

    def fault_status(self, fault, _request):
        body = fault.get("body", "")
        body = body if isinstance(body, str) else json.dumps(body)
        self.send_answer(fault["status"], fault.get("headers", {}), body.encode("latin-1"))
        return True

    def fault_echo(self, _fault, request):
        self.send_answer(200, {}, request.body)
        return True

    def fault_delay(self, fault, request):
        time.sleep(fault["seconds"])
        self.send_answer(*self.service.answer_of(request))
        return True

    def fault_drip(self, fault, request):
        status, headers, body = self.service.answer_of(request)
        for byte in self.head_of(status, headers, len(body)) + body:
            self.socket.sendall(bytes([byte]))
            time.sleep(fault.get("seconds", 1))
        return True

    def fault_truncate(self, fault, request):
        status, headers, body = self.service.answer_of(request)
        head = self.head_of(status, headers, len(body))
        if fault.get("at") == "headers":
            self.socket.sendall(head[:len(head) // 2])
        else:
            self.socket.sendall(head + body[:len(body) // 2])
        return False

    def fault_length(self, fault, request):
        status, headers, body = self.service.answer_of(request)
        self.socket.sendall(self.head_of(status, headers, len(body) + fault["delta"]) + body)
        return False

    def fault_endless(self, fault, _request):
        self.socket.sendall(self.head_of(fault.get("status", 200), {}, None))
        while True:
            self.socket.sendall(b"[" * 65536)

    def fault_long_header(self, fault, _request):
        head = self.head_of(200, {"X-Long": "x" * fault.get("size", 1 << 20)}, 0)
        self.socket.sendall(head)
        return True

    def fault_redirect(self, fault, _request):
        self.send_answer(fault.get("status", 302), {"Location": fault["location"]}, b"")
        return True

    def fault_hang(self, _fault, _request):
        while self.receive():
            pass
        return False

    def fault_close(self, _fault, _request):
        return False

    def fault_reset(self, _fault, _request):
        reset(self.socket)
        return False

    def fault_garbage(self, _fault, _request):
        self.socket.sendall(b"\x00\x01SSH-2.0 nothing of the kind\r\n\r\n")
        return False

    def begin(self):
        fault = self.service.take_fault(True) or {"kind": ""}
        if fault["kind"] == "connection_reset":
            reset(self.socket)
            return False
        if fault["kind"] == "connection_hang":
            return self.fault_hang(fault, None)
        if self.service.arguments.cert:
            context = tls_context(self.service, fault)
            self.socket = context.wrap_socket(self.socket, server_side=True,
                                              do_handshake_on_connect=False)
            self.shake_hands()
        return True

    def shake_hands(self):
        try:
            self.socket.do_handshake()
        except ssl.SSLError:
            # What the client has sent by now would make a reset of the close, and lose our alert.
            self.socket = socket.socket(fileno=self.socket.detach())
            self.socket.shutdown(socket.SHUT_WR)
            while self.receive():
                pass
            raise
        self.service.count("handshakes")

    def serve_one(self):
        request = self.read_request()
        if request is None:
            return False
        with self.service.lock:
            self.service.requests.append(request)
            self.service.counts["requests"] += 1
        fault = self.service.take_fault(False, request.path)
        if fault is not None:
            return getattr(self, "fault_" + fault["kind"])(fault, request)
        self.send_answer(*self.service.answer_of(request))
        return request.headers.get("connection", "").lower() != "close"

    def serve(self):
        try:
            if self.begin():
                while self.serve_one():
                    pass
        except OSError:
            pass  # The client went away, or refused our certificate.
        finally:
            self.socket.close()


def accept_all(service, listener):
    while True:
        raw, peer = listener.accept()
        own_call = service.own_calls.pop(peer[1], None)
        if own_call is not None:
            raw.close()
            own_call.set()
            continue
        service.count("connections")
        raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        kind = getattr(service.handler, "connection", Connection)
        threading.Thread(target=kind(service, raw).serve, daemon=True).start()


def handler_of(arguments):
    options = json.loads(arguments.options)
    if not arguments.handler:
        return DefaultHandler(options)
    sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
    module, _, name = arguments.handler.partition(":")
    return getattr(importlib.import_module(module), name)(options)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--handler", default="")
    parser.add_argument("--options", default="{}")
    parser.add_argument("--cert", default="")
    parser.add_argument("--key", default="")
    parser.add_argument("--client-ca", default="")
    arguments = parser.parse_args()
    service = Service(arguments, handler_of(arguments))
    listener = socket.create_server(("127.0.0.1", 0), backlog=512)
    service.address = listener.getsockname()
    threading.Thread(target=accept_all, args=(service, listener), daemon=True).start()
    print(json.dumps({"port": listener.getsockname()[1]}), flush=True)
    for line in sys.stdin:
        print(json.dumps(service.command(json.loads(line))), flush=True)


if __name__ == "__main__":
    main()
