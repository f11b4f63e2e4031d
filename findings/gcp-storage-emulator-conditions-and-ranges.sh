#!/usr/bin/env bash
# gcp-storage-emulator 2026.7.19, a stand-in for Google Cloud Storage, and two things that a blob store needs:
#
# * `ifGenerationMatch=0` (create if absent) is ignored: the second creator replaces the object and is told 200. A
#   delete with a stale generation removes the object;
# * a range that begins at or behind the end is answered 206 with no bytes and with a `Content-Range` that ends before
#   it begins, where Google Cloud Storage says 416; a range of the last bytes is answered 200 with all of them.
set -euo pipefail
folder=$(mktemp -d)
server=
trap '[ -z "$server" ] || kill "$server" 2>/dev/null || true; rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet gcp-storage-emulator==2026.7.19 requests==2.34.2
port=$(python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
"$folder/venv/bin/gcp-storage-emulator" start --host=127.0.0.1 --port="$port" --in-memory >/dev/null 2>&1 &
server=$!
NO_PROXY=127.0.0.1 "$folder/venv/bin/python" - "http://127.0.0.1:$port" <<'PYTHON'
import sys
import time

import requests

base = sys.argv[1]
for _ in range(100):
    try:
        requests.post(f"{base}/storage/v1/b?project=p", json={"name": "b"}).raise_for_status()
        break
    except requests.ConnectionError:
        time.sleep(0.1)


def put(contents, **conditions):
    query = {"uploadType": "media", "name": "o", **conditions}
    return requests.post(f"{base}/upload/storage/v1/b/b/o", params=query, data=contents).status_code


def get(wanted):
    answer = requests.get(f"{base}/storage/v1/b/b/o/o?alt=media", headers={"Range": wanted} if wanted else {})
    return answer.status_code, answer.content, answer.headers.get("Content-Range")


created = [put(b"first", ifGenerationMatch=0), put(b"other", ifGenerationMatch=0)]
print("created twice:", created, "contents:", get(None)[1])
assert created == [200, 200] and get(None)[1] == b"other"

ranges = {wanted: get(wanted) for wanted in ["bytes=1-2", "bytes=5-", "bytes=9-10", "bytes=-2"]}
for wanted, answer in ranges.items():
    print(wanted, answer)
assert ranges["bytes=1-2"] == (206, b"th", "bytes 1-2/5")
assert ranges["bytes=5-"] == (206, b"", "bytes 5-4/5")
assert ranges["bytes=9-10"] == (206, b"", "bytes 9-4/5")
assert ranges["bytes=-2"] == (200, b"other", None)

stale = requests.delete(f"{base}/storage/v1/b/b/o/o", params={"ifGenerationMatch": 1}).status_code
print("deleted with a stale generation:", stale, "then:", get(None)[0])
assert stale == 200 and get(None)[0] == 404
PYTHON
