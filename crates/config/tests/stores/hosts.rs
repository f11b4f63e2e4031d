//! Backends of a host program.

use std::sync::Arc;

use async_trait::async_trait;
use blobaccess::StorageType::{Ac, Cas};
use blobaccess::{self as core, BlobAccess, Error, MemoryStore, Result};
use blobaccess_config::{Backend, Document, Registry, StacksPlan};
use tokio::sync::Mutex;

/// A backend that takes numbers, and notes which it was opened with.
#[derive(Debug, Default)]
struct Numbered {
    opened: Mutex<Vec<String>>,
}

#[async_trait]
impl Backend<core::Cas> for Numbered {
    fn check(&self, settings: &str) -> Result<()> {
        settings.parse::<u8>().map(drop).map_err(|_| Error::invalid_argument("a number is needed"))
    }

    async fn open(&self, settings: &str) -> Result<Arc<dyn BlobAccess<Kind = core::Cas>>> {
        self.opened.lock().await.push(settings.to_owned());
        if settings == "13" { Err(Error::unavailable("not this one")) } else { Ok(Arc::new(MemoryStore::new(1))) }
    }
}

fn plan(text: &str, kind: core::StorageType, registry: &Registry) -> std::result::Result<StacksPlan, String> {
    let document = Document::from_json(&text.replace('\'', "\""), "test.json").unwrap();
    StacksPlan::of_store(&document, kind, registry).map_err(|faults| faults.to_string())
}

#[tokio::test]
async fn a_backend_is_checked_before_and_opened_once() {
    let backend = Arc::new(Numbered::default());
    let registry = Registry::new().with_backend("numbered", Arc::<Numbered>::clone(&backend));
    let text = "{'sharding': {'shards': {'a': {'weight': 1, 'backend': {'label': 'numbered:1'}}, \
                 'b': {'weight': 1, 'backend': {'label': 'numbered:1'}}, 'c': {'weight': 1, 'backend': {'label': 'numbered:2'}}}}}";
    let stacks = plan(text, Cas, &registry).unwrap().open().await.unwrap();
    assert_eq!(*backend.opened.lock().await, ["1", "2"]);
    assert!(stacks.describe().contains("numbered: of the host program, 2"), "{}", stacks.describe());

    let wrong = plan(&text.replace(":2", ":many"), Cas, &registry).unwrap_err();
    assert!(wrong.ends_with("sharding.shards[\"c\"].backend.label: a number is needed"), "{wrong}");
    let none = plan("{'label': 'numbered'}", Cas, &registry).unwrap_err();
    assert!(none.ends_with("label: a number is needed"), "{none}");
    assert_eq!(backend.opened.lock().await.len(), 2, "nothing was opened");

    let failed = plan(&text.replace(":2", ":13"), Cas, &registry).unwrap().open().await.unwrap_err();
    assert_eq!(failed.as_slice()[0].path, "sharding.shards[\"c\"].backend.label");
    assert_eq!(failed.as_slice()[0].message, "not this one");
}

#[test]
fn a_backend_is_of_the_kinds_that_it_was_registered_for() {
    let registry = Registry::new().with_backend("numbered", Arc::new(Numbered::default()));
    let fault = plan("{'label': 'numbered:1'}", Ac, &registry).unwrap_err();
    assert!(fault.ends_with("label: \"numbered\" is a backend of the host, but not for action results"), "{fault}");
    let fault = plan("{'label': 'numberless:1'}", Cas, &registry).unwrap_err();
    assert!(fault.ends_with("label: \"numberless:1\" is not declared"), "{fault}");
}
