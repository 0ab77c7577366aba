"""Sends every input of a file over HTTP and over WebSocket, and compares the answers.

usage: json-suite.py CASES URL

CASES is a JSON file with an object `files` of name to base64 bytes. URL is the RPC address of a node, such as
http://127.0.0.1:8545. Each input is the body of a POST and, unchanged, a message of a WebSocket; one that is not UTF-8
cannot be a text message and goes as a binary one. Both must be answered, with equal JSON: member order and the HTTP
status are framing.

Prints a line for each difference and a summary. Exit code 1: an input was not answered, or not equally; 2: wrong
arguments.
"""

import base64
import binascii
import http.client
import json
import os
import socket
import struct
import sys
import time
import urllib.parse

# Longest wait for an answer, in seconds.
TIMEOUT = 10
# Attempts of a request that the node is too busy for.
ATTEMPTS = 20
# Upper bound of an answer, in bytes.
ANSWER_BYTES_MAX = 1 << 20
TEXT, BINARY, CLOSE, PING, PONG = 1, 2, 8, 9, 10


class Unanswered(Exception):
    """An input that got no answer; the text says what came instead."""


def wrong(what, hint):
    print(f"error: {what}\nhint: {hint}", file=sys.stderr)
    sys.exit(2)


def parsed(body):
    """The JSON of an answer; fractions as they are written, since Python would round them."""
    try:
        return json.loads(body, parse_float=str)
    except ValueError as error:
        raise Unanswered(f"an answer that is not JSON ({error}): {body[:200]!r}") from error


def over_http(host, port, body):
    """The answer to a POST."""
    for _ in range(ATTEMPTS):
        connection = http.client.HTTPConnection(host, port, timeout=TIMEOUT)
        try:
            connection.request("POST", "/", body, {"Content-Type": "application/json"})
            response = connection.getresponse()
            answer = response.read(ANSWER_BYTES_MAX)
        except (OSError, http.client.HTTPException) as error:
            raise Unanswered(f"{type(error).__name__}: {error}") from error
        finally:
            connection.close()
        if response.status != 429:
            if not answer:
                raise Unanswered(f"HTTP {response.status} without a body")
            return parsed(answer)
        time.sleep(min(float(response.getheader("Retry-After") or 1), TIMEOUT))
    raise Unanswered(f"HTTP 429, {ATTEMPTS} times")


class WebSocket:
    """A client (RFC 6455) of one connection, without extensions."""

    def __init__(self, host, port):
        self.socket = socket.create_connection((host, port), timeout=TIMEOUT)
        self.input = self.socket.makefile("rb")
        name = f"[{host}]" if ":" in host else host
        key = base64.b64encode(os.urandom(16)).decode()
        self.socket.sendall(
            f"GET / HTTP/1.1\r\nHost: {name}:{port}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            f"Sec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\n\r\n".encode()
        )
        status = self.input.readline(65_536)
        while self.input.readline(65_536) not in (b"\r\n", b""):
            pass
        if b" 101 " not in status:
            raise OSError(f"no WebSocket but {status!r}")

    def close(self):
        self.input.close()
        self.socket.close()

    def send(self, opcode, payload):
        size = len(payload)
        if size < 126:
            head = struct.pack("!BB", 0x80 | opcode, 0x80 | size)
        elif size < 65_536:
            head = struct.pack("!BBH", 0x80 | opcode, 0x80 | 126, size)
        else:
            head = struct.pack("!BBQ", 0x80 | opcode, 0x80 | 127, size)
        mask = os.urandom(4)
        masked = bytes(byte ^ mask[i % 4] for i, byte in enumerate(payload))
        self.socket.sendall(head + mask + masked)

    def exactly(self, size):
        data = self.input.read(size)
        if data is None or len(data) < size:
            raise Unanswered("the connection ended")
        return data

    def receive(self):
        """The next message; pings are answered on the way."""
        message = b""
        while True:
            first, second = self.exactly(2)
            size = second & 0x7F
            if size == 126:
                (size,) = struct.unpack("!H", self.exactly(2))
            elif size == 127:
                (size,) = struct.unpack("!Q", self.exactly(8))
            if second & 0x80 or size + len(message) > ANSWER_BYTES_MAX:
                raise Unanswered(f"a frame of {size} bytes that no server may send")
            payload = self.exactly(size)
            opcode = first & 0x0F
            if opcode == PING:
                self.send(PONG, payload)
            elif opcode == CLOSE:
                code = struct.unpack("!H", payload[:2])[0] if size >= 2 else "none"
                raise Unanswered(f"the connection was closed, code {code}, {payload[2:]!r}")
            elif opcode != PONG:
                message += payload
                if first & 0x80:
                    return message


class OverWebSocket:
    """Answers over one connection, and over a new one when that has ended."""

    def __init__(self, host, port):
        self.place = (host, port)
        self.connection = None

    def ask(self, body):
        try:
            if self.connection is None:
                self.connection = WebSocket(*self.place)
            self.connection.send(opcode_of(body), body)
            return parsed(self.connection.receive())
        except (OSError, Unanswered) as error:
            # A late answer would be taken for that of the next input.
            if self.connection is not None:
                self.connection.close()
                self.connection = None
            if isinstance(error, Unanswered):
                raise
            raise Unanswered(f"{type(error).__name__}: {error}") from error


def opcode_of(body):
    try:
        body.decode()
    except UnicodeDecodeError:
        return BINARY
    return TEXT


def cases_of(path):
    """Name and bytes of each input."""
    try:
        with open(path, encoding="utf-8") as file:
            files = json.load(file)["files"]
        cases = [(name, base64.b64decode(text, validate=True)) for name, text in files.items()]
    except OSError as error:
        wrong(f"cannot read {path}: {error.strerror}", "name the file with the inputs")
    except (ValueError, KeyError, TypeError, AttributeError, binascii.Error) as error:
        wrong(f"{path} holds no inputs: {error!r}", 'it is {"files": {NAME: BASE64, …}}')
    if not cases:
        wrong(f"{path} holds no inputs", "an empty comparison shows nothing")
    return cases


def outcome(ask, body):
    """The answer and True, or what came instead and False."""
    try:
        return ask(body), True
    except Unanswered as error:
        return str(error), False


def main(arguments):
    if arguments[:1] in (["-h"], ["--help"]):
        print(__doc__.strip())
        return 0
    if len(arguments) != 2:
        wrong("two arguments are needed, CASES and URL", "see --help")
    url = urllib.parse.urlsplit(arguments[1])
    try:
        host, port = url.hostname, url.port or 80
    except ValueError:
        host, port = None, None
    if url.scheme != "http" or not host:
        wrong(f"{arguments[1]} is no address of a node", "it begins with http://, and ends with the port")
    cases = cases_of(arguments[0])
    websocket = OverWebSocket(host, port)
    unanswered = different = 0
    for name, body in cases:
        http_answer, by_http = outcome(lambda body: over_http(host, port, body), body)
        ws_answer, by_ws = outcome(websocket.ask, body)
        unanswered += (not by_http) + (not by_ws)
        if by_http and by_ws and http_answer == ws_answer:
            continue
        different += by_http and by_ws
        for transport, answered, answer in (("http", by_http, http_answer), ("ws", by_ws, ws_answer)):
            shown = json.dumps(answer) if answered else f"NO ANSWER: {answer}"
            print(f"{name} {transport}: {shown}")
    binary = sum(opcode_of(body) == BINARY for _, body in cases)
    print(
        f"{len(cases)} inputs ({binary} not UTF-8) over HTTP and WebSocket: "
        f"{unanswered} unanswered, {different} answered differently"
    )
    return 1 if unanswered or different else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
