//! Descriptions.

use blobaccess_config::{Document, StacksPlan};

use super::{fill, registry};

#[test]
fn a_description_has_a_line_for_each_backend() {
    let text = "{'contentAddressableStorage': {'withLabels': {'labels': {'old': {'zipReading': {'path': '/a.zip'}}}, 'backend': {'existenceCaching': {\
         'existenceCache': {'cacheSize': 1000000, 'cacheDuration': '60s', 'cacheReplacementPolicy': 'LEAST_RECENTLY_USED'},\
         'backend': {'readFallback': {'primary': {'sharding': {'shards': {'a': {'weight': 1, 'backend': 'M'}, 'b': {'weight': 2, 'backend': 'N'}}}},\
            'secondary': {'label': 'old'}, 'replicator': {'deduplicating': {'concurrencyLimiting': {'base': {'local': {}}, 'maximumConcurrency': 8}}}}}}}}},\
       'actionCache': {'completenessChecking': {'maximumTotalTreeSizeBytes': 16777216, 'backend': 'M'}}}";
    let document = Document::from_json(&fill(text), "test.json").unwrap();
    let plan = StacksPlan::of_blobstore(&document, &registry()).unwrap();
    let expected = "\
contents
└ empty_blob_injecting: the empty blob is always present
  └ with_labels:
    ├ label \"old\": zip_reading: /a.zip, takes no puts
    └ existence_caching: what was found counts as present for 60s, up to 1000000 digests in up to 162 MiB of memory
      └ read_fallback: reads from secondary what primary lacks; puts into primary; copies: deduplicated, up to 8 at a time, local
        ├ primary: sharding: 2 shards, each blob in one of them
        │ ├ shard \"a\", 33.3 % of the blobs: m: of the host program
        │ └ shard \"b\", 66.6 % of the blobs: n: of the host program
        └ secondary: label \"old\", as above
action results
└ action_result_timestamp_injecting: results get the time at which they are put
  └ completeness_checking: results whose outputs are not all stored are absent; reads up to 16 MiB of directories for a result
    └ m: of the host program
";
    assert_eq!(plan.describe(), expected);
}
