"""What a watch calls, for tests: a real HTTP server and a real, small SMTP server."""

import base64
import json
import socket
import ssl
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Hooks:
    """An HTTP server that answers with ``codes`` in turn, the last of them for ever, and keeps what came."""

    def __init__(self, codes=(200,)):
        self.codes, self.came, self.methods, self.paths = list(codes), [], [], []

    @contextmanager
    def serving(self):
        hooks = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self):
                body = self.rfile.read(int(self.headers["Content-Length"]))
                hooks.methods.append(self.command)
                hooks.paths.append(self.path)
                code = hooks.codes.pop(0) if len(hooks.codes) > 1 else hooks.codes[0]
                if code == 200:
                    assert self.headers["Content-Type"] == "application/json"
                    hooks.came.append(json.loads(body))
                self.send_response(code)
                if code in (301, 302, 307):
                    self.send_header("Location", "/elsewhere")
                self.send_header("Content-Length", "0")
                self.end_headers()

            def do_GET(self):
                hooks.methods.append(self.command)
                self.send_response(200)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_):
                pass

        server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        try:
            self.url = f"http://127.0.0.1:{server.server_port}"
            yield self
        finally:
            server.shutdown()
            thread.join()
            server.server_close()


class Mailbox:
    """An SMTP server for one client after the other; keeps who spoke to it and the mails that came.

    With ``tls`` (certificate, key) it offers STARTTLS, or speaks TLS from the first byte if ``at_once``.
    """

    def __init__(self, *, login=None, tls=None, at_once=False, refuse=(), silent=False):
        self.login, self.refuse, self.silent, self.at_once = login, refuse, silent, at_once
        self.context = None
        if tls:
            self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            self.context.load_cert_chain(*tls)
        self.mails, self.commands, self.encrypted = [], [], []

    @contextmanager
    def serving(self):
        with socket.create_server(("127.0.0.1", 0)) as listener:
            self.port = listener.getsockname()[1]
            ending = threading.Event()
            thread = threading.Thread(target=self._serve, args=(listener, ending))
            thread.start()
            try:
                yield self
            finally:
                ending.set()
                socket.create_connection(("127.0.0.1", self.port)).close()
                thread.join()

    def _serve(self, listener, ending):
        while True:
            client, _ = listener.accept()
            with client:
                if ending.is_set():
                    return
                try:
                    if self.silent:
                        ending.wait(20)
                    else:
                        self._talk(client)
                except (OSError, ssl.SSLError):
                    pass

    def _talk(self, client):
        if self.at_once:
            client = self.context.wrap_socket(client, server_side=True)
        file = client.makefile("rwb")

        def say(text):
            file.write(text.encode() + b"\r\n")
            file.flush()

        known, sender, to = self.login is None, "", []
        say("220 mail.test ESMTP")
        while line := file.readline():
            text = line.decode().strip()
            word = text.upper().split(" ")[0]
            self.commands.append(word)
            if word == "EHLO":
                offers = ["mail.test"]
                offers += ["STARTTLS"] if self.context and not isinstance(client, ssl.SSLSocket) else []
                offers += ["AUTH PLAIN"] if self.login else []
                for offer in offers[:-1]:
                    say(f"250-{offer}")
                say(f"250 {offers[-1]}")
            elif word == "STARTTLS" and self.context:
                say("220 go ahead")
                client = self.context.wrap_socket(client, server_side=True)
                file = client.makefile("rwb")
            elif word == "AUTH":
                _, user, password = base64.b64decode(text.split(" ")[2]).split(b"\0")
                known = (user.decode(), password.decode()) == self.login
                say("235 welcome" if known else "535 no")
            elif word == "MAIL":
                sender, to = text, []
                say("250 fine" if known else "530 who are you?")
            elif word == "RCPT":
                address = text.split("<")[1].split(">")[0]
                if address in self.refuse:
                    say("550 unknown here")
                else:
                    to.append(address)
                    say("250 fine")
            elif word == "DATA":
                say("354 go on")
                lines = []
                while (line := file.readline()) not in (b".\r\n", b""):
                    lines.append(line)
                self.mails.append((sender, to, b"".join(lines)))
                self.encrypted.append(isinstance(client, ssl.SSLSocket))
                say("250 taken")
            elif word == "QUIT":
                say("221 bye")
                return
            else:
                say("250 fine")
