# SPDX-License-Identifier: Apache-2.0
"""A service that webhooks are sent to: keeps what came, and fails as often as it is told."""

import hashlib
import hmac
import http.server
import json
import threading


class Sink:
    def __init__(self, port, secret):
        self.secret = secret.encode()
        self.received, self.refused, self.unsigned = [], 0, 0
        self.fail_next = 0
        sink = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self):  # noqa: N802, the library's name
                body = self.rfile.read(int(self.headers["Content-Length"]))
                if sink.fail_next > 0:
                    sink.fail_next -= 1
                    sink.refused += 1
                    self.send_response(503)
                    self.end_headers()
                    return
                signed = self.headers["X-Gatehouse-Timestamp"].encode() + b"." + body
                want = "sha256=" + hmac.new(sink.secret, signed, hashlib.sha256).hexdigest()
                if not hmac.compare_digest(want, self.headers["X-Gatehouse-Signature"]):
                    sink.unsigned += 1
                sink.received.append((self.path, dict(self.headers), json.loads(body)))
                self.send_response(204)
                self.end_headers()

            def log_message(self, *arguments):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", port), Handler)
        self.thread = threading.Thread(target=self.server.serve_forever, daemon=True)

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *exc):
        self.server.shutdown()
        self.server.server_close()

    def bodies(self, path="/json"):
        return [body for at, _, body in self.received if at == path]
