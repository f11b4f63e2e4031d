#!/usr/bin/env bash
# Valid archives in the layout of Buildbarn's `zip_writing` (every header with ZIP64 sizes, an end record whose old
# fields are all ones), read by JavaScript and Python libraries:
#
# * unzipit 2.1.1 refuses all of them: it takes the 0xffff of the old end record for the number of a second disk;
# * unzipper 0.12.5 (as a stream) and stream-unzip 0.0.101 refuse the archive without entries, which begins with a ZIP64
#   end record;
# * of two entries of one name, which Buildbarn writes for a blob that is put twice, jszip 3.10.2, fflate 0.8.3 and
#   node-stream-zip 1.16.0 return the later one, unzipper the first, and adm-zip 0.6.1 refuses the archive.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
npm install --silent --no-fund --no-audit adm-zip@0.6.1 fflate@0.8.3 jszip@3.10.2 node-stream-zip@1.16.0 \
    unzipit@2.1.1 unzipper@0.12.5 yauzl@3.4.0 >/dev/null
python3 -m venv venv
venv/bin/pip install --quiet stream-unzip==0.0.101

cat >write.py <<'PYTHON'
import struct
import zlib

MAX32 = 0xFFFFFFFF


def archive(entries):
    """Returns an archive of stored entries, without dates, in the order given."""
    contents, directory = b"", b""
    for name, data in entries:
        crc, start = zlib.crc32(data), len(contents)
        extra = struct.pack("<HHQQ", 1, 16, len(data), len(data))
        contents += struct.pack("<4sHHHHHIIIHH", b"PK\3\4", 45, 0x800, 0, 0, 0, crc, MAX32, MAX32, len(name), len(extra))
        contents += name + extra + data
        extra = struct.pack("<HHQQQ", 1, 24, len(data), len(data), start)
        fixed = (45, 45, 0x800, 0, 0, 0, crc, MAX32, MAX32, len(name), len(extra), 0, 0, 0, 0, MAX32)
        directory += struct.pack("<4sHHHHHHIIIHHHHHII", b"PK\1\2", *fixed) + name + extra
    count, size, start = len(entries), len(directory), len(contents)
    end = struct.pack("<4sQHHIIQQQQ", b"PK\6\6", 44, 45, 45, 0, 0, count, count, size, start)
    end += struct.pack("<4sIQI", b"PK\6\7", 0, start + size, 1)
    end += struct.pack("<4sHHHHIIH", b"PK\5\6", 0xFFFF, 0xFFFF, 0xFFFF, 0xFFFF, MAX32, MAX32, 0)
    return contents + directory + end


for file, entries in {
    "empty.zip": [],
    "one.zip": [(b"blob", b"hello")],
    "two.zip": [(b"blob", b"first"), (b"other", b"x"), (b"blob", b"later")],
}.items():
    with open(file, "wb") as output:
        output.write(archive(entries))
PYTHON
python3 write.py
# Python's own reader takes all three for valid.
python3 -c 'import zipfile; [zipfile.ZipFile(f).testzip() for f in ("empty.zip", "one.zip", "two.zip")]'

cat >read.mjs <<'JAVASCRIPT'
import assert from "node:assert";
import fs from "node:fs";
import AdmZip from "adm-zip";
import * as fflate from "fflate";
import JSZip from "jszip";
import StreamZip from "node-stream-zip";
import * as unzipit from "unzipit";
import unzipper from "unzipper";
import yauzl from "yauzl";

const readers = {
    "adm-zip": async (file) => new AdmZip(file).readAsText("blob"),
    jszip: async (file) => (await JSZip.loadAsync(fs.readFileSync(file))).file("blob")?.async("string"),
    fflate: async (file) => {
        const found = fflate.unzipSync(fs.readFileSync(file)).blob;
        return found && fflate.strFromU8(found);
    },
    "node-stream-zip": async (file) => {
        const archive = new StreamZip.async({ file });
        return (await archive.entry("blob")) && (await archive.entryData("blob")).toString();
    },
    unzipper: async (file) => {
        const found = (await unzipper.Open.file(file)).files.find((entry) => entry.path === "blob");
        return found && (await found.buffer()).toString();
    },
    "unzipper, stream": async (file) => {
        const contents = [];
        for await (const entry of fs.createReadStream(file).pipe(unzipper.Parse({ forceStream: true }))) {
            contents.push((await entry.buffer()).toString());
        }
        return contents.join();
    },
    yauzl: (file) => new Promise((resolve, reject) => {
        const names = [];
        yauzl.open(file, (error, archive) => {
            if (error) return reject(error);
            archive.on("entry", (entry) => names.push(entry.fileName));
            archive.on("end", () => resolve(names.join()));
        });
    }),
    unzipit: async (file) => (await unzipit.unzip(new Uint8Array(fs.readFileSync(file)))).entries.blob?.text(),
};
const seen = {};
for (const [name, read] of Object.entries(readers)) {
    seen[name] = [];
    for (const file of ["empty.zip", "one.zip", "two.zip"]) {
        seen[name].push(await read(file).then((text) => text || "nothing", (error) => `refused: ${error.message}`));
    }
    console.log(name.padEnd(18), seen[name].join(" | "));
}
for (const name of ["jszip", "fflate", "node-stream-zip"]) {
    assert.deepEqual(seen[name], ["nothing", "hello", "later"], name);
}
assert.deepEqual(seen.yauzl, ["nothing", "blob", "blob,other,blob"]);
assert.deepEqual(seen.unzipper, ["nothing", "hello", "first"]);
assert.match(seen["unzipper, stream"][0], /^refused: invalid signature/);
assert.deepEqual(seen["unzipper, stream"].slice(1), ["hello", "first,x,later"]);
assert.equal(seen["adm-zip"][1], "hello");
assert.match(seen["adm-zip"][2], /^refused: .*Duplicate entry name/);
for (const answer of seen.unzipit) assert.match(answer, /^refused: multi-volume zip files are not supported/);
process.exit(0);
JAVASCRIPT
node read.mjs

venv/bin/python - <<'PYTHON'
from stream_unzip import UnexpectedSignatureError, stream_unzip


def read(file):
    with open(file, "rb") as archive:
        return [b"".join(data) for _, _, data in stream_unzip(iter([archive.read()]))]


try:
    refused = f"read as {read('empty.zip')}"
except UnexpectedSignatureError as error:
    refused = repr(error)
print("stream-unzip      ", refused, "|", read("one.zip"), "|", read("two.zip"))
assert refused.startswith("UnexpectedSignatureError"), refused
assert read("two.zip") == [b"first", b"x", b"later"]
PYTHON
