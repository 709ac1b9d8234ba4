"""An HTTP server for check tests: remembers requests, answers what the test says."""

import http.server
import threading


class HttpNode:
    """`answer` is (status, body); `requests` holds (method, path, headers, body)."""

    def __init__(self, address, port=0):
        self.answer = (200, b"ok")
        self.requests = []
        outer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def handle_any(self):
                length = int(self.headers.get("Content-Length", 0))
                outer.requests.append((self.command, self.path, dict(self.headers.items()),
                                       self.rfile.read(length)))
                status, body = outer.answer
                self.send_response(status)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)
            do_GET = do_POST = do_HEAD = handle_any

            def log_message(self, *_):
                pass
        self.server = http.server.ThreadingHTTPServer((address, port), Handler)
        self.server.daemon_threads = True
        self.port = self.server.server_address[1]
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def close(self):
        self.server.shutdown()
        self.server.server_close()
