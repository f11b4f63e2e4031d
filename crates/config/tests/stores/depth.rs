//! Many levels of backends.

use std::thread;

use blobaccess::StorageType::{Ac, Cas};
use blobaccess::{BlobAccess, Context, DigestSet};

use super::plan;

/// The levels that Buildbarn loads at most are 247.
const LEVELS: usize = 240;

fn nested(before: &str, after: &str) -> String {
    format!("{}'M'{}", before.repeat(LEVELS), after.repeat(LEVELS))
}

/// Plans, describes, opens, asks and drops a store, on a stack of 2 MiB: that of the threads of a runtime.
fn go_through(text: String, kind: blobaccess::StorageType) {
    let work = move || {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            let plan = plan(&text, kind).unwrap();
            assert!(plan.describe().lines().count() > LEVELS);
            let stacks = plan.open().await.unwrap();
            assert!(format!("{stacks:?}").len() > 100);
            assert!(stacks.snapshot().len() <= 2 * LEVELS);
            if let Some(cas) = stacks.cas() {
                assert!(cas.find_missing(&Context::background(), &DigestSet::new()).await.unwrap().is_empty());
            }
            drop(stacks);
        });
    };
    thread::Builder::new().stack_size(2 << 20).spawn(work).unwrap().join().unwrap();
}

#[test]
fn nested_read_caching() {
    go_through(nested("{'readCaching': {'fast': 'N', 'replicator': {'local': {}}, 'slow': ", "}}"), Cas);
}

#[test]
fn nested_deadlines() {
    go_through(nested("{'deadlineEnforcing': {'timeout': '1s', 'backend': ", "}}"), Ac);
}

#[test]
fn nested_labels() {
    go_through(nested("{'withLabels': {'backend': ", "}}"), Ac);
}

#[test]
fn nested_shards() {
    let text =
        format!("{}'M'{}", "{'sharding': {'shards': {'a': {'weight': 1, 'backend': ".repeat(120), "}}}}".repeat(120));
    assert!(plan(&text, Cas).is_ok());
}

#[test]
fn nested_replicators() {
    let levels = 200;
    let replicator = format!("{}{{'local': {{}}}}{}", "{'deduplicating': ".repeat(levels), "}".repeat(levels));
    let text = format!("{{'readCaching': {{'slow': 'M', 'fast': 'N', 'replicator': {replicator}}}}}");
    assert!(plan(&text, Cas).is_ok());
}
