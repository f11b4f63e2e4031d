#!/usr/bin/env bash
# azurite 3.35.0, a stand-in for Azure's blobs in tests, by azure-storage-blob 12.31.1:
#
# * a block that was staged and never committed bars `Put Blob` with `If-None-Match: *`: 409 BlobAlreadyExists, although a
#   read of the blob is 404, and so it stays. Committing a list of blocks with the same condition succeeds, as does a put
#   without one: a conflict does not prove that the blob is there;
# * a read of an empty blob from its first byte on is 206 with `Content-Range: bytes 0--1/0`;
# * a listing orders names by UTF-16 units: U+1F600 comes before U+FF5E, which is the other way in UTF-8.
set -euo pipefail
folder=$(mktemp -d)
trap 'kill "${server:-}" 2>/dev/null || true; rm -rf "$folder"' EXIT
(cd "$folder" && npm install --silent --no-fund --no-audit azurite@3.35.0)
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet azure-storage-blob==12.31.1
port=$(python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
"$folder/node_modules/.bin/azurite-blob" --silent --inMemoryPersistence --skipApiVersionCheck \
    --blobHost 127.0.0.1 --blobPort "$port" >"$folder/log" 2>&1 &
server=$!
NO_PROXY=127.0.0.1 PORT=$port "$folder/venv/bin/python" - <<'PYTHON'
import os
import time

from azure.core import MatchConditions
from azure.core.exceptions import HttpResponseError, ResourceExistsError, ResourceNotFoundError, ServiceRequestError
from azure.storage.blob import BlobBlock, BlobServiceClient

# The account that the emulator documents.
key = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="
account = "devstoreaccount1"
service = BlobServiceClient(f"http://127.0.0.1:{os.environ['PORT']}/{account}", credential=key, retry_total=0)
for attempt in range(100):
    try:
        container = service.create_container("bucket")
        break
    except ServiceRequestError:
        time.sleep(0.2)

blob = container.get_blob_client("blob")
blob.stage_block("MDAwMQ==", b"contents")
codes = []
for _ in range(2):
    try:
        blob.upload_blob(b"contents", overwrite=False)
        codes.append("stored")
    except ResourceExistsError as error:
        codes.append((error.status_code, error.error_code))
print("a conditional put beside an uncommitted block, twice:", codes)
assert codes == [(409, "BlobAlreadyExists")] * 2, codes
try:
    blob.get_blob_properties()
    read = "there"
except ResourceNotFoundError as error:
    read = error.status_code
print("the blob itself:", read)
assert read == 404, read
committed = blob.commit_block_list([BlobBlock("MDAwMQ==")], match_condition=MatchConditions.IfMissing)
print("the conditional commit of that block:", "stored" if committed["etag"] else "?")
assert blob.download_blob().readall() == b"contents"

other = container.get_blob_client("other")
other.stage_block("MDAwMQ==", b"contents")
other.upload_blob(b"plain", overwrite=True)
assert other.download_blob().readall() == b"plain"
print("a put without a condition beside an uncommitted block: stored")

empty = container.get_blob_client("empty")
empty.upload_blob(b"")
answers = []


def note(response):
    answers.append((response.http_response.status_code, response.http_response.headers.get("Content-Range")))


try:
    empty.download_blob(offset=0, length=1, raw_response_hook=note).readall()
except (HttpResponseError, ValueError) as error:
    print("the client says:", type(error).__name__)
print("a read of an empty blob from byte 0 on:", answers[0])
assert answers[0] == (206, "bytes 0--1/0"), answers

for name in ["\uff5e", "\U0001f600"]:
    container.get_blob_client(f"names/{name}").upload_blob(b"x")
names = [blob.name.removeprefix("names/") for blob in container.list_blobs(name_starts_with="names/")]
print("names in the order of the listing:", [f"U+{ord(name):X}" for name in names])
assert names == ["\U0001f600", "\uff5e"], names
PYTHON
