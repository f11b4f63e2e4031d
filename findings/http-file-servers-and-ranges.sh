#!/usr/bin/env bash
# Small HTTP servers of files, asked as a reader of referenced blobs asks: with a range, always.
#
# * "All bytes of the empty file" (`bytes=0-`) is 416 from rangehttpserver 1.4.0, http-server 14.1.1, sirv-cli 3.0.1 and
#   live-server 1.2.2, and 200 from serve 14.2.6. None can answer 206: no range of nothing can be written;
# * serve sends the *whole file* as the body of a 416, so a reader must look at the status before it takes the bytes;
# * "the last two bytes" (`bytes=-2`) is the last two from serve and live-server, the *first three* from sirv-cli (as
#   206), 400 from rangehttpserver, and 416 from http-server.
set -euo pipefail
folder=$(mktemp -d)
trap 'kill $(jobs -p) 2>/dev/null || true; rm -rf "$folder"' EXIT
cd "$folder"
npm install --silent --no-fund --no-audit http-server@14.1.1 serve@14.2.6 sirv-cli@3.0.1 live-server@1.2.2 >/dev/null
python3 -m venv venv
venv/bin/pip install --quiet rangehttpserver==1.4.0
mkdir files
printf hello >files/five
: >files/empty

port() { python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'; }
cat >ask.py <<'PYTHON'
import ast
import http.client
import socket
import sys
import time

name, port, expected = sys.argv[1], int(sys.argv[2]), ast.literal_eval(sys.argv[3])
for _ in range(150):
    try:
        socket.create_connection(("127.0.0.1", port), 1).close()
        break
    except OSError:
        time.sleep(0.1)


def get(path, wanted):
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    connection.request("GET", path, headers={"Range": wanted})
    answer = connection.getresponse()
    body = answer.read()
    return answer.status, body if body in b"hello" else "a page"


assert get("/five", "bytes=1-2") == (206, b"el")
seen = [get("/empty", "bytes=0-"), get("/five", "bytes=5-"), get("/five", "bytes=-2")]
print(name.ljust(16), *seen)
assert seen == expected, (seen, expected)
PYTHON
# check NAME EXPECTED COMMAND...: starts a server over `files`, with PORT in its arguments replaced.
check() {
    local name=$1 expected=$2 number server
    shift 2
    number=$(port)
    (cd files && exec "${@//PORT/$number}") >/dev/null 2>&1 &
    server=$!
    python3 ask.py "$name" "$number" "$expected"
    kill "$server"
}
modules=$folder/node_modules/.bin
check rangehttpserver '[(416, "a page"), (416, "a page"), (400, "a page")]' \
    "$folder/venv/bin/python" -m RangeHTTPServer PORT --bind 127.0.0.1
check http-server '[(416, b""), (416, b""), (416, b"")]' "$modules/http-server" -p PORT -a 127.0.0.1 .
check serve '[(200, b""), (416, b"hello"), (206, b"lo")]' "$modules/serve" -l tcp://127.0.0.1:PORT .
check sirv-cli '[(416, b""), (416, b""), (206, b"hel")]' "$modules/sirv" . --port PORT --host 127.0.0.1
check live-server '[(416, "a page"), (416, "a page"), (206, b"lo")]' \
    "$modules/live-server" --port=PORT --host=127.0.0.1 --no-browser .
