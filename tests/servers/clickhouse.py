"""ClickHouse's HTTP interface, as far as the tests need it, in front of the engine that chdb embeds.

    python clickhouse.py PORT DIRECTORY

A statement is in the parameter `query` or, without one, in the body; the body of an INSERT is its data. Other parameters
are settings of the statement. Statements run one after the other.

The tests ask for faults by the path:

    /fault/mute?times=N      the next N inserts are done, and then the connection ends without an answer
    /fault/absent?times=N    the connection of the next N statements ends before they are done
    /fault/restart           the process ends as if it had been killed, and begins anew on the same data
"""

import http.server
import os
import re
import socketserver
import sys
import tempfile
import threading
import urllib.parse

from chdb import session

PARAMETERS = {"query", "database", "default_format", "user", "password"}
CODE = re.compile(r"Code: (\d+)")
INSERT = re.compile(r"\s*(INSERT\s.*\S)\s+FORMAT\s+(\w+)\s*$", re.IGNORECASE | re.DOTALL)


class Engine:
    """The embedded engine, which takes one statement at a time."""

    def __init__(self, directory):
        self.inbox = directory + ".inbox"
        os.makedirs(self.inbox, exist_ok=True)
        self.session = session.Session(directory)
        self.lock = threading.Lock()
        self.faults = {"mute": 0, "absent": 0}

    def take_fault(self, fault):
        if self.faults[fault] > 0:
            self.faults[fault] -= 1
            return True
        return False

    def run(self, statement, data, database, output, settings):
        if database:
            self.session.query("USE `%s`" % database.replace("`", ""))
        insert = INSERT.match(statement)
        if insert is None or data is None:
            return self.session.query(statement + self.clause(settings, statement), output).bytes() or b""
        with tempfile.NamedTemporaryFile(dir=self.inbox) as file:
            file.write(data)
            file.flush()
            into = f"{insert[1]} FROM INFILE '{file.name}'{self.clause(settings)} FORMAT {insert[2]}"
            self.session.query(into)
        return b""

    @staticmethod
    def clause(settings, statement=""):
        if not settings or not re.match(r"\s*(SELECT|INSERT|WITH|$)", statement, re.IGNORECASE):
            return ""
        values = ("%s = '%s'" % (name, value.replace("\\", "\\\\").replace("'", "\\'")) for name, value in settings.items())
        return " SETTINGS " + ", ".join(values)


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    engine = None

    def log_message(self, *arguments):
        pass

    def read_body(self):
        if "chunked" not in self.headers.get("Transfer-Encoding", "").lower():
            return self.rfile.read(int(self.headers.get("Content-Length") or 0))
        body = b""
        while True:
            line = self.rfile.readline()
            if not line:
                raise ConnectionError("the body ends in the middle")
            size = int(line.split(b";")[0], 16)
            chunk = self.rfile.read(size)
            if len(chunk) < size:
                raise ConnectionError("the body ends in the middle")
            body += chunk
            self.rfile.readline()
            if size == 0:
                return body

    def hang_up(self):
        self.close_connection = True
        self.connection.shutdown(2)

    def do_GET(self):
        self.do_POST()

    def do_POST(self):
        try:
            body = self.read_body()
        except (ConnectionError, ValueError, OSError):
            self.close_connection = True
            return
        url = urllib.parse.urlparse(self.path)
        parameters = dict(urllib.parse.parse_qsl(url.query, keep_blank_values=True))
        engine = self.engine
        if url.path.startswith("/fault/"):
            self.set_fault(url.path.removeprefix("/fault/"), parameters)
            return
        settings = {name: value for name, value in parameters.items() if name not in PARAMETERS}
        statement = parameters.get("query", "")
        is_insert = INSERT.match(statement) is not None
        if not is_insert:
            statement += body.decode()
        code = None
        with engine.lock:
            if engine.take_fault("absent"):
                self.hang_up()
                return
            try:
                answer = engine.run(
                    statement,
                    body if is_insert else None,
                    parameters.get("database"),
                    parameters.get("default_format", "TabSeparated"),
                    settings,
                )
            except Exception as error:  # What the engine raises has no narrower type.
                answer = str(error).encode()
                code = (CODE.search(str(error)) or [None, "1002"])[1]
            print(f"{code or 200} {statement[:2000]!r} {settings} {answer[:200]!r}", flush=True)
            if is_insert and engine.take_fault("mute"):
                self.hang_up()
                return
        self.answer(500 if code else 200, answer, {"X-ClickHouse-Exception-Code": code} if code else {})

    def set_fault(self, fault, parameters):
        if fault == "restart":
            self.answer(200, b"", {})
            with self.engine.lock:
                os.execv(sys.executable, [sys.executable, *sys.argv])
        self.engine.faults[fault] = int(parameters["times"])
        self.answer(200, b"", {})

    def answer(self, status, body, headers):
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
        self.wfile.flush()


class Server(socketserver.ThreadingMixIn, http.server.HTTPServer):
    daemon_threads = True
    allow_reuse_address = True


if __name__ == "__main__":
    Handler.engine = Engine(sys.argv[2])
    Server(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()
