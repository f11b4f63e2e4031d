//! The local store in every combination of medium, kind and persistence, held to the suite.

#![expect(clippy::expect_used, reason = "a fixture that cannot be made is a failed test")]

#[path = "support/faulty.rs"]
mod faulty;

use std::marker::PhantomData;
use std::sync::Arc;
use std::time::Duration;

use blobaccess::{Ac, Cas, Digest, Fsac, Icas, Iscc, Kind, Result};
use blobaccess_local_store::{Environment, LocalStore, Options, Refresh, Sizes, SyncPolicy};
use blobaccess_testkit::{Damage, Fixture, Promises, conformance};
use bytes::Bytes;
use tempfile::TempDir;

use faulty::Faulty;

/// Small, so that blocks are recycled within each contract that puts as much as the suite does.
const CAPACITY_BYTES: u64 = 2 << 20;

/// A local store, opened again and again over the same file if it has one.
struct Local<K> {
    options: Options,
    directory: Option<TempDir>,
    kind: PhantomData<K>,
}

fn shaped(options: Options) -> Options {
    options.with_blocks(2, 4, 1).with_spare_blocks(2).with_entries(20_000)
}

fn in_memory<K: Kind>() -> Local<K> {
    Local { options: shaped(Options::in_memory(CAPACITY_BYTES)), directory: None, kind: PhantomData }
}

fn in_file<K: Kind>(policy: Option<SyncPolicy>) -> Local<K> {
    let directory = tempfile::tempdir().expect("there is a place for temporary files");
    // Logs of 20,000 entries take as much again.
    let options = shaped(Options::in_file(directory.path().join("blocks"), 2 * CAPACITY_BYTES + (1 << 20)));
    let options = match policy {
        Some(policy) => options.persistent(policy),
        None => options,
    };
    Local { options, directory: Some(directory), kind: PhantomData }
}

impl<K: Kind> Local<K> {
    fn refreshed_on_touch(mut self) -> Self {
        self.options = self.options.with_refresh(Refresh::OnTouch);
        self
    }

    fn mapped(mut self) -> Self {
        self.options = self.options.with_mapped_reads(true);
        self
    }
}

fn promises_of<K: Kind>(options: &Options) -> Promises {
    let sizes = Sizes::derive(options, K::STORAGE_TYPE).expect("the options are sound");
    Promises::IN_MEMORY
        .with_durable(format!("{options:?}").contains("persistence: Some"))
        .with_max_blob_size_bytes(Some(sizes.max_blob_size_bytes()))
        .with_keeps_bytes(Some(sizes.promised_bytes()))
        .with_capacity_bytes(Some(sizes.data_bytes()))
}

impl<K: Kind> Fixture for Local<K> {
    type Store = LocalStore<K>;

    fn promises(&self) -> Promises {
        promises_of::<K>(&self.options)
    }

    async fn open(&self) -> Result<LocalStore<K>> {
        LocalStore::open(self.options.clone()).await
    }

    async fn close(&self, store: LocalStore<K>) -> Result<()> {
        store.close().await
    }

    fn layers(&self) -> Vec<String> {
        vec![if self.directory.is_some() { "local(file)" } else { "local(memory)" }.to_owned()]
    }
}

/// A local store on a device that can be damaged.
struct Damaged<K> {
    options: Options,
    device: Arc<Faulty>,
    kind: PhantomData<K>,
}

fn on_device<K: Kind>(policy: SyncPolicy) -> Damaged<K> {
    let capacity_bytes = 2 * CAPACITY_BYTES + (1 << 20);
    let image = vec![0; usize::try_from(capacity_bytes).expect("it fits")];
    let options = shaped(Options::on_device(capacity_bytes)).persistent(policy);
    Damaged { options, device: Faulty::new(image), kind: PhantomData }
}

impl<K: Kind> Fixture for Damaged<K> {
    type Store = LocalStore<K>;

    fn promises(&self) -> Promises {
        promises_of::<K>(&self.options)
    }

    async fn open(&self) -> Result<LocalStore<K>> {
        let device = Arc::<Faulty>::clone(&self.device);
        LocalStore::open_on(self.options.clone(), device, Environment::default()).await
    }

    async fn close(&self, store: LocalStore<K>) -> Result<()> {
        store.close().await
    }

    fn damage(&self, _digest: &Digest, contents: &Bytes, damage: Damage) -> bool {
        let image = self.device.inner.image();
        let length = contents.len();
        let begin = image.windows(length).position(|window| window == contents).expect("it is there");
        match damage {
            Damage::Wrong => self.device.garble(begin + length / 2),
            Damage::Unreadable => self.device.make_bad(begin + length / 2..begin + length),
        }
        true
    }

    fn layers(&self) -> Vec<String> {
        vec!["local(device)".to_owned()]
    }
}

fn hierarchical(mut local: Local<Cas>) -> Local<Cas> {
    local.options = local.options.with_hierarchical_instance_names();
    local
}

conformance! {
    memory: Cas + ResolveUpload + Inventory => in_memory::<Cas>(),
    memory_of_action_results: Ac + ResolveUpload + Inventory => in_memory::<Ac>(),
    memory_of_references: Icas + ResolveUpload + Inventory => in_memory::<Icas>(),
    memory_of_size_classes: Iscc + ResolveUpload + Inventory => in_memory::<Iscc>(),
    memory_of_path_profiles: Fsac + ResolveUpload + Inventory => in_memory::<Fsac>(),
    refreshed_on_touch: Cas + ResolveUpload + Inventory => in_memory::<Cas>().refreshed_on_touch(),
    action_results_refreshed_on_touch: Ac + ResolveUpload + Inventory => in_memory::<Ac>().refreshed_on_touch(),
    hierarchical_refreshed_on_touch: Cas + ResolveUpload => hierarchical(in_memory()).refreshed_on_touch(),
    persistent_refreshed_on_touch: Cas + ResolveUpload + Inventory => in_file::<Cas>(Some(SyncPolicy::OnClose)).refreshed_on_touch(),
    persistent_action_results_refreshed_on_touch: Ac + ResolveUpload + Inventory => in_file::<Ac>(Some(SyncPolicy::OnPut)).refreshed_on_touch(),
    file: Cas + ResolveUpload + Inventory => in_file::<Cas>(None),
    file_of_action_results: Ac + ResolveUpload + Inventory => in_file::<Ac>(None),
    persistent: Cas + ResolveUpload + Inventory => in_file::<Cas>(Some(SyncPolicy::OnClose)),
    persistent_of_action_results: Ac + ResolveUpload + Inventory => in_file::<Ac>(Some(SyncPolicy::Interval(Duration::from_mins(1)))),
    persistent_references: Icas + ResolveUpload + Inventory => in_file::<Icas>(Some(SyncPolicy::OnPut)),
    persistent_size_classes: Iscc + ResolveUpload + Inventory => in_file::<Iscc>(Some(SyncPolicy::OnClose)),
    persistent_path_profiles: Fsac + ResolveUpload + Inventory => in_file::<Fsac>(Some(SyncPolicy::Interval(Duration::from_mins(1)))),
    synced_on_put: Cas + ResolveUpload + Inventory => in_file::<Cas>(Some(SyncPolicy::OnPut)),
    on_a_device: Cas + ResolveUpload + Inventory => on_device::<Cas>(SyncPolicy::OnClose),
    on_a_device_of_action_results: Ac + ResolveUpload + Inventory => on_device::<Ac>(SyncPolicy::OnPut),
    mapped: Cas + ResolveUpload + Inventory => in_file::<Cas>(Some(SyncPolicy::OnClose)).mapped(),
    mapped_of_action_results: Ac + ResolveUpload + Inventory => in_file::<Ac>(Some(SyncPolicy::OnPut)).mapped(),
    mapped_and_not_persistent: Cas + ResolveUpload + Inventory => in_file::<Cas>(None).mapped(),
    hierarchical_memory: Cas + ResolveUpload => hierarchical(in_memory()),
    hierarchical_persistent: Cas + ResolveUpload => hierarchical(in_file(Some(SyncPolicy::OnClose))),
}
