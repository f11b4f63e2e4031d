#!/usr/bin/env bash
# Two renderers of Jsonnet, the C++ one (jsonnet 0.22.0) and jrsonnet (rjsonnet 0.5.6), write different integers for the
# same document from 2^55 on. 2^60 has an exact floating-point value; jrsonnet writes the
# shortest digits that lead back to it, and fills up with zeros. Read as an int64, that is another number.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet jsonnet==0.22.0 rjsonnet==0.5.6
"$folder/venv/bin/python" - <<'PYTHON'
import json

import _jsonnet
import rjsonnet

for exponent, expected in [(54, (2**54, 2**54)), (55, (2**55, 36028797018963970)), (60, (2**60, 1152921504606847000))]:
    source = f"{{ sizeBytes: 1 << {exponent} }}"
    rendered = [json.loads(render("size", source))["sizeBytes"]
                for render in (_jsonnet.evaluate_snippet, rjsonnet.evaluate_snippet)]
    print(f"1 << {exponent}: jsonnet {rendered[0]}, rjsonnet {rendered[1]}")
    assert tuple(rendered) == expected, rendered
PYTHON
