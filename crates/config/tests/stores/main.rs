//! Stores of configurations: which are refused and by which path, and what the others do.

#![expect(clippy::unwrap_used, reason = "a document that cannot be read is a failed test")]

mod behaviour;
mod depth;
mod descriptions;
mod faults;
mod hosts;
mod labels;
mod leaves;
mod verdicts;

use std::sync::Arc;

use blobaccess::{Ac, Cas, Fsac, Icas, Iscc, MemoryStore, StorageType};
use blobaccess_config::{Document, Faults, Registry, Stacks, StacksPlan};

const KINDS: [StorageType; 5] =
    [StorageType::Cas, StorageType::Ac, StorageType::Icas, StorageType::Iscc, StorageType::Fsac];

/// Makes a registry with stores in memory, of every kind, under the names `m` and `n`.
fn registry() -> Registry {
    ["m", "n"].into_iter().fold(Registry::new(), |registry, name| {
        registry
            .with_store::<Cas>(name, Arc::new(MemoryStore::new(1 << 20)))
            .with_store::<Ac>(name, Arc::new(MemoryStore::new(1 << 20)))
            .with_store::<Icas>(name, Arc::new(MemoryStore::new(1 << 20)))
            .with_store::<Iscc>(name, Arc::new(MemoryStore::new(1 << 20)))
            .with_store::<Fsac>(name, Arc::new(MemoryStore::new(1 << 20)))
    })
}

/// A backend in memory.
const M: &str = r#"{"label": "m"}"#;

/// Puts backends in memory in place of `M`, and other backends in place of `N`.
fn fill(text: &str) -> String {
    text.replace('\'', "\"").replace("\"M\"", M).replace("\"N\"", r#"{"label": "n"}"#)
}

/// Plans the store that `text` describes. Quotes may be single.
fn plan(text: &str, kind: StorageType) -> Result<StacksPlan, Faults> {
    StacksPlan::of_store(&Document::from_json(&fill(text), "test.json").unwrap(), kind, &registry())
}

/// Returns the paths and messages of all that is wrong with the store that `text` describes.
fn faults(text: &str, kind: StorageType) -> Vec<String> {
    let faults = plan(text, kind).err();
    let faults = faults.iter().flat_map(Faults::as_slice);
    faults.map(|fault| format!("{}: {}", fault.path, fault.message)).collect()
}

/// Returns the notices of a store that is in order.
fn notices(text: &str, kind: StorageType) -> Vec<String> {
    let notices = plan(text, kind).unwrap().notices().to_vec();
    notices.into_iter().map(|notice| format!("{}: {}", notice.path, notice.message)).collect()
}

/// Opens the store that `text` describes.
async fn open(text: &str, kind: StorageType) -> Stacks {
    plan(text, kind).unwrap().open().await.unwrap()
}
