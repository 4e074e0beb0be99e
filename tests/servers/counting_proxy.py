#!/usr/bin/env python3
"""A reverse proxy on loopback that counts what passes: the AWS emulators do not.

    counting_proxy.py FOLDER UPSTREAM-PORT

Serves plain HTTP and HTTPS (FOLDER/tls/server.pem) at ports of its choice, which it writes as
FOLDER/proxy.ports ("HTTP HTTPS") when it is ready. Forwards to 127.0.0.1:UPSTREAM-PORT with the
client's headers as they came, Host among them, since SigV4 signs it. Writes one JSON line a
request into FOLDER/requests.jsonl before it answers: {"connection", "tls", "method", "path",
"target", "status", "headers"}.
"""

import http.client
import http.server
import itertools
import json
import pathlib
import socketserver
import ssl
import sys
import threading

HOP_BY_HOP = {"connection", "keep-alive", "transfer-encoding", "content-length"}
UPSTREAM_TIMEOUT = 60
IDLE_TIMEOUT = 120


class Journal:
    """Appends lines; one writer at a time, each line whole."""

    def __init__(self, path):
        self.file = open(path, "a", encoding="utf-8")
        self.lock = threading.Lock()

    def append(self, entry):
        with self.lock:
            self.file.write(json.dumps(entry) + "\n")
            self.file.flush()


class Handler(http.server.BaseHTTPRequestHandler):
    """One client connection, with one upstream connection of its own."""

    protocol_version = "HTTP/1.1"
    timeout = IDLE_TIMEOUT
    disable_nagle_algorithm = True
    # Buffered, so that headers and body leave in one segment.
    wbufsize = -1

    def setup(self):
        super().setup()
        self.connection_number = next(self.server.connection_numbers)
        self.upstream = http.client.HTTPConnection(
            "127.0.0.1", self.server.upstream_port, timeout=UPSTREAM_TIMEOUT
        )

    def finish(self):
        self.upstream.close()
        super().finish()

    def exchange(self, body):
        self.upstream.putrequest(
            self.command, self.path, skip_host=True, skip_accept_encoding=True
        )
        for name, value in self.headers.items():
            if name.lower() not in ("connection", "expect"):
                self.upstream.putheader(name, value)
        self.upstream.endheaders(body)
        response = self.upstream.getresponse()
        return response, response.read()

    def answer(self, response, content):
        self.send_response_only(response.status, response.reason)
        for name, value in response.getheaders():
            if name.lower() not in HOP_BY_HOP:
                self.send_header(name, value)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)
        self.wfile.flush()

    def forward(self):
        if "Transfer-Encoding" in self.headers:
            self.send_error(411)
            return
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        try:
            response, content = self.exchange(body)
        except (http.client.RemoteDisconnected, ConnectionError):
            # The upstream closed a connection that had been idle.
            self.upstream.close()
            response, content = self.exchange(body)
        self.server.journal.append(
            {
                "connection": self.connection_number,
                "tls": self.server.tls is not None,
                "method": self.command,
                "path": self.path,
                "target": self.headers.get("X-Amz-Target", ""),
                "status": response.status,
                "headers": dict(self.headers.items()),
            }
        )
        self.answer(response, content)

    do_GET = do_POST = do_PUT = do_HEAD = do_DELETE = forward

    def log_message(self, format, *args):
        pass


class Server(socketserver.ThreadingMixIn, http.server.HTTPServer):
    """`tls` is None or a context; the handshake is left to the connection's own thread."""

    daemon_threads = True
    request_queue_size = 128
    connection_numbers = itertools.count(1)

    def __init__(self, upstream_port, journal, tls):
        super().__init__(("127.0.0.1", 0), Handler)
        self.upstream_port = upstream_port
        self.journal = journal
        self.tls = tls

    def get_request(self):
        client, address = super().get_request()
        if self.tls is not None:
            client = self.tls.wrap_socket(
                client, server_side=True, do_handshake_on_connect=False
            )
        return client, address

    def handle_error(self, request, client_address):
        # A client that distrusts the certificate or goes away is what some tests do.
        print(client_address, repr(sys.exc_info()[1]), file=sys.stderr, flush=True)


def main():
    folder, upstream_port = pathlib.Path(sys.argv[1]), int(sys.argv[2])
    journal = Journal(folder / "requests.jsonl")
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(folder / "tls/server.pem", folder / "tls/server.key")
    plain = Server(upstream_port, journal, None)
    secure = Server(upstream_port, journal, tls)
    threading.Thread(target=plain.serve_forever, daemon=True).start()
    ports = folder / "proxy.ports.new"
    ports.write_text(f"{plain.server_port} {secure.server_port}\n", encoding="utf-8")
    ports.rename(folder / "proxy.ports")
    secure.serve_forever()


if __name__ == "__main__":
    main()
