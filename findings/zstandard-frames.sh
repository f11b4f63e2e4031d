#!/usr/bin/env bash
# Python's zstandard 0.25.0 and valid zstd streams:
#
# * `decompress()` refuses a frame without the size of its contents, which is what its own `compressobj()` writes;
# * `decompress()` of two frames returns the first, without an error: the second is lost.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet zstandard==0.25.0
"$folder/venv/bin/python" - <<'PYTHON'
import zstandard

compressor = zstandard.ZstdCompressor()
stream = compressor.compressobj()
frame = stream.compress(b"blob " * 1000) + stream.flush()
try:
    zstandard.ZstdDecompressor().decompress(frame)
    refused = None
except zstandard.ZstdError as error:
    refused = str(error)
print("a frame without a size:", refused)
assert refused == "could not determine content size in frame header", refused
assert len(zstandard.ZstdDecompressor().decompressobj().decompress(frame)) == 5000

two = compressor.compress(b"first") + compressor.compress(b"second")
read = zstandard.ZstdDecompressor().decompress(two)
print("two frames, `first` and `second`:", read)
assert read == b"first", read
PYTHON
