//! Tables of configurations and what comes of them; and stores that are opened from some.

use std::path::Path;

use blobaccess::{
    Ac, Blob, BlobAccess as _, BlobAccessExt as _, Cas, Context, Digest, DigestFunction, Fsac, Icas, InstanceName,
    Iscc, Kind, Result, StorageType,
};
use blobaccess_local_store::{Environment, LocalStore};
use blobaccess_testkit::{Fixture, Promises, conformance};

use super::LocalPlan;
use crate::section::section_of;

const NAME: &str = "buildbarn.configuration.blobstore.LocalBlobAccessConfiguration";

type Read = (Option<LocalPlan>, std::result::Result<Vec<String>, Vec<String>>);

fn read_as(kind: StorageType, json: &str) -> Read {
    section_of(json, NAME, |section| LocalPlan::read(section, kind))
}

fn read(json: &str) -> Read {
    read_as(StorageType::Cas, json)
}

/// Returns the faults, of which there must be some.
fn faults(read: Read) -> Vec<String> {
    assert!(read.0.is_none(), "{:?}", read.0);
    read.1.unwrap_err()
}

fn in_memory(fields: &str) -> String {
    format!(
        r#"{{"keyLocationMapInMemory": {{"entries": 10000}}, "oldBlocks": 1, "currentBlocks": 2, "newBlocks": 1,
        "blocksInMemory": {{"blockSizeBytes": 1048576}} {fields}}}"#
    )
}

/// Returns the fields of a store as the deployments of Buildbarn have it, in `directory`.
fn deployed(directory: &Path, new_blocks: u32, map_bytes: u64, blocks_bytes: u64) -> String {
    let directory = directory.display();
    format!(
        r#"{{
        "keyLocationMapOnBlockDevice": {{"file": {{"path": "{directory}/key_location_map", "sizeBytes": {map_bytes}}}}},
        "keyLocationMapMaximumGetAttempts": 16,
        "keyLocationMapMaximumPutAttempts": 64,
        "oldBlocks": 8,
        "currentBlocks": 24,
        "newBlocks": {new_blocks},
        "blocksOnBlockDevice": {{
            "source": {{"file": {{"path": "{directory}/blocks", "sizeBytes": {blocks_bytes}}}}},
            "spareBlocks": 3
        }},
        "persistent": {{"stateDirectoryPath": "{directory}/persistent_state", "minimumEpochInterval": "300s"}}
    }}"#
    )
}

fn directory() -> tempfile::TempDir {
    let directory = tempfile::tempdir().unwrap();
    std::fs::create_dir(directory.path().join("persistent_state")).unwrap();
    directory
}

#[test]
fn what_a_store_cannot_do_without_is_named() {
    let faults = faults(read("{}"));
    let named: Vec<_> = faults.iter().filter_map(|fault| fault.split(':').next()).collect();
    assert_eq!(named, ["currentBlocks", "newBlocks", "keyLocationMapOnBlockDevice", "blocksOnBlockDevice"]);
}

#[test]
fn each_field_has_a_verdict_for_each_value() {
    for (fields, expected) in [
        (r#", "oldBlocks": 0"#, None),
        (r#", "oldBlocks": -1"#, Some("oldBlocks: must not be negative")),
        (
            r#", "oldBlocks": 2147483647"#,
            Some("oldBlocks: there are 2147483652 blocks in all, while at most 65000 are supported"),
        ),
        (r#", "currentBlocks": 0"#, Some("currentBlocks: must be positive")),
        (r#", "currentBlocks": -2147483648"#, Some("currentBlocks: must be positive")),
        (r#", "newBlocks": 0"#, Some("newBlocks: must be positive")),
        (r#", "newBlocks": 3"#, None),
        (
            r#", "newBlocks": 100000"#,
            Some("newBlocks: there are 100005 blocks in all, while at most 65000 are supported"),
        ),
        (r#", "blocksInMemory": {}"#, Some("blocksInMemory.blockSizeBytes: must be positive")),
        (r#", "blocksInMemory": {"blockSizeBytes": -1}"#, Some("blocksInMemory.blockSizeBytes: must be positive")),
        (r#", "blocksInMemory": {"blockSizeBytes": 1}"#, None),
        (
            r#", "blocksInMemory": {"blockSizeBytes": "9223372036854775807"}"#,
            Some("blocksInMemory.blockSizeBytes: is too large"),
        ),
        (r#", "keyLocationMapInMemory": {}"#, Some("keyLocationMapInMemory.entries: must be positive")),
        (r#", "keyLocationMapInMemory": {"entries": 1}"#, None),
        (
            r#", "keyLocationMapInMemory": {"entries": "9223372036854775807"}"#,
            Some("keyLocationMapInMemory.entries: is too large"),
        ),
        (r#", "hierarchicalInstanceNames": true"#, None),
        (r#", "persistent": {}"#, Some("persistent.stateDirectoryPath: is required")),
    ] {
        // Of two fields with one name, the later one replaces the earlier one here.
        let mut json: serde_json::Value = serde_json::from_str(&in_memory("")).unwrap();
        let more: serde_json::Value = serde_json::from_str(&format!("{{{}}}", &fields[1..])).unwrap();
        json.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let (plan, end) = read(&json.to_string());
        match expected {
            None => assert!(plan.is_some() && end.is_ok(), "{fields}: {end:?}"),
            Some(fault) => assert!(end.as_ref().unwrap_err().iter().any(|found| found == fault), "{fields}: {end:?}"),
        }
    }
}

#[test]
fn stores_of_messages_have_one_new_block_and_flat_names() {
    for kind in [StorageType::Ac, StorageType::Icas, StorageType::Iscc, StorageType::Fsac] {
        assert!(read_as(kind, &in_memory("")).0.is_some());
        let json =
            in_memory(r#", "hierarchicalInstanceNames": true"#).replace(r#""newBlocks": 1"#, r#""newBlocks": 2"#);
        let faults = faults(read_as(kind, &json));
        assert!(faults[0].starts_with("newBlocks: must be 1"), "{faults:?}");
        assert!(faults[1].starts_with("hierarchicalInstanceNames: can only be set"), "{faults:?}");
    }
}

#[test]
fn fields_without_effect_are_said_to_have_none() {
    let attempts = r#", "keyLocationMapMaximumGetAttempts": 16, "keyLocationMapMaximumPutAttempts": -1"#;
    let notices = read(&in_memory(attempts)).1.unwrap();
    assert_eq!(notices.len(), 2);
    assert!(notices[0].starts_with("keyLocationMapMaximumGetAttempts: has no effect"), "{notices:?}");
    let directory = directory();
    let path = directory.path().display();
    let persistent = format!(r#", "persistent": {{"stateDirectoryPath": "{path}", "minimumEpochInterval": "300s"}}"#);
    let notices = read(&in_memory(&persistent)).1.unwrap();
    assert!(notices[0].starts_with("persistent: has no effect"), "{notices:?}");
    let notices = read(&in_memory(&persistent.replace("300s", "-1s"))).1.unwrap();
    assert!(notices[0].starts_with("persistent.minimumEpochInterval: counts as 0s"), "{notices:?}");
}

#[test]
fn memory_blocks_take_blobs_of_the_size_that_they_are_said_to_have() {
    for size in [1_u64, 1000, 65_536, 1 << 20, 5_000_000, 16 << 20, 100_000_001] {
        let json = in_memory("").replace("1048576", &size.to_string());
        let plan = read(&json).0.unwrap();
        let (largest, data) = (plan.sizes.max_blob_size_bytes(), plan.sizes.data_bytes());
        assert!(largest >= size, "{size}: {largest}");
        assert!(data / 6 <= size + (1 << 20), "{size}: {data}");
    }
}

#[test]
fn the_stores_of_the_deployments_keep_the_size_of_their_largest_blob_and_of_their_index() {
    let directory = directory();
    let (plan, end) = read(&deployed(directory.path(), 3, 400 << 20, 32 << 30));
    let (plan, notices) = (plan.unwrap(), end.unwrap());
    assert_eq!(notices.len(), 2, "{notices:?}");
    let theirs = (32 << 30) / 38;
    let largest = plan.sizes.max_blob_size_bytes();
    assert!(largest > theirs / 1000 * 998 && largest <= theirs, "{largest} of {theirs}");
    // Theirs has 6.35 million entries, and works while half of them are used.
    assert!((3_500_000..4_000_000).contains(&plan.sizes.slots()), "{}", plan.sizes.slots());
    let paths: Vec<_> = plan.paths().iter().map(|used| used.field.to_string()).collect();
    assert_eq!(
        paths,
        [
            "blocksOnBlockDevice.source.file.path",
            "keyLocationMapOnBlockDevice.file.path",
            "persistent.stateDirectoryPath"
        ]
    );
    assert_eq!(plan.paths()[2].path, directory.path().join("persistent_state/state"));
    let described = plan.describe().join("\n");
    assert!(described.contains("largest blob: 86") && described.contains("300s"), "{described}");

    let (plan, end) = read_as(StorageType::Ac, &deployed(directory.path(), 1, 1 << 20, 20 << 20));
    let (plan, notices) = (plan.unwrap(), end.unwrap());
    assert!(notices[2].starts_with("keyLocationMapOnBlockDevice.file.sizeBytes: is raised to"), "{notices:?}");
    assert!(plan.sizes.slots() >= 15_887 / 5 * 3);
    assert!(plan.sizes.max_blob_size_bytes() > 480 << 10);
    assert!(!directory.path().join("blocks").exists(), "reading makes no file");
}

#[test]
fn files_and_directories_are_checked_before_anything_is_made() {
    let directory = directory();
    let good = deployed(directory.path(), 3, 1 << 20, 64 << 20);
    assert!(read(&good).1.is_ok());
    let path = directory.path().display().to_string();
    for (from, to, expected) in [
        (format!("{path}/blocks"), String::new(), "blocksOnBlockDevice.source.file.path: is required"),
        (
            format!("{path}/blocks"),
            "/absent/blocks".to_owned(),
            "blocksOnBlockDevice.source.file.path: its directory /absent does not exist: create it first",
        ),
        (
            format!("{path}/blocks"),
            path.clone(),
            "blocksOnBlockDevice.source.file.path: is a directory, while a file is needed",
        ),
        (
            format!("{path}/key_location_map"),
            "/dev/null".to_owned(),
            "keyLocationMapOnBlockDevice.file.path: is no regular file: name a block device as devicePath",
        ),
        ("67108864".to_owned(), "0".to_owned(), "blocksOnBlockDevice.source.file.sizeBytes: must be positive"),
        ("67108864".to_owned(), "-5".to_owned(), "blocksOnBlockDevice.source.file.sizeBytes: must be positive"),
        (
            "67108864".to_owned(),
            "\"9223372036854775807\"".to_owned(),
            "blocksOnBlockDevice.source.file.sizeBytes: is too large",
        ),
        (
            "67108864".to_owned(),
            "\"4611686018427387904\"".to_owned(),
            "blocksOnBlockDevice.source.file.sizeBytes: is too large",
        ),
        (
            "67108864".to_owned(),
            "135168".to_owned(),
            "blocksOnBlockDevice.source.file.sizeBytes: has 33 sectors of 4096 bytes, which is less than its 38 blocks",
        ),
        ("1048576".to_owned(), "0".to_owned(), "keyLocationMapOnBlockDevice.file.sizeBytes: must be positive"),
        (
            "1048576".to_owned(),
            "\"9007199254740992\"".to_owned(),
            "keyLocationMapOnBlockDevice.file.sizeBytes: is too large",
        ),
        (
            "\"spareBlocks\": 3".to_owned(),
            "\"spareBlocks\": -1".to_owned(),
            "blocksOnBlockDevice.spareBlocks: must not be negative",
        ),
        (
            "\"spareBlocks\": 3".to_owned(),
            "\"spareBlocks\": 66".to_owned(),
            "blocksOnBlockDevice.spareBlocks: there are 101 blocks in all, while at most 100 are supported",
        ),
        (
            format!("{path}/persistent_state"),
            format!("{path}/absent"),
            "persistent.stateDirectoryPath: is no directory that exists: create it first, writable for this program",
        ),
        (
            ", \"minimumEpochInterval\": \"300s\"".to_owned(),
            String::new(),
            "persistent.minimumEpochInterval: is required",
        ),
        (
            format!(r#"{{"file": {{"path": "{path}/blocks", "sizeBytes": 67108864}}}}"#),
            "{}".to_owned(),
            "blocksOnBlockDevice.source: must have a devicePath or a file",
        ),
        (
            format!(r#""source": {{"file": {{"path": "{path}/blocks", "sizeBytes": 67108864}}}},"#),
            String::new(),
            "blocksOnBlockDevice.source: is required",
        ),
        (
            format!(r#"{{"file": {{"path": "{path}/blocks", "sizeBytes": 67108864}}}}"#),
            r#"{"devicePath": "/dev/null"}"#.to_owned(),
            "blocksOnBlockDevice.source.devicePath: is no block device: name a file as file",
        ),
        (
            format!(r#"{{"file": {{"path": "{path}/blocks", "sizeBytes": 67108864}}}}"#),
            r#"{"devicePath": ""}"#.to_owned(),
            "blocksOnBlockDevice.source.devicePath: is required",
        ),
    ] {
        let json = good.replacen(&from, &to, 1);
        assert_ne!(json, good, "{from}");
        assert_eq!(faults(read(&json)), [expected], "{from} -> {to}");
    }
    assert!(std::fs::read_dir(directory.path()).unwrap().count() == 1, "reading makes no file");
}

#[test]
fn values_that_work_there_work_here() {
    let directory = directory();
    let good = deployed(directory.path(), 3, 1 << 20, 64 << 20);
    for (from, to) in [
        ("\"spareBlocks\": 3", "\"spareBlocks\": 0"),
        ("67108864", "155648"),
        ("67108864", "67108865"),
        ("1048576", "10"),
        ("\"300s\"", "\"-1s\""),
        ("\"300s\"", "\"315576000000s\""),
        ("\"sizeBytes\": 67108864}", "\"sizeBytes\": 67108864}, \"writeConcurrencyLimit\": -1"),
        ("\"sizeBytes\": 67108864}", "\"sizeBytes\": 67108864}, \"writeConcurrencyLimit\": \"9223372036854775807\""),
    ] {
        let (plan, end) = read(&good.replacen(from, to, 1));
        assert!(plan.is_some() && end.is_ok(), "{to}: {end:?}");
    }
    assert!(std::fs::read_dir(directory.path()).unwrap().count() == 1, "reading makes no file");
}

#[test]
fn verification_is_remembered_as_far_as_it_can_be() {
    let directory = directory();
    let good = deployed(directory.path(), 3, 1 << 20, 64 << 20);
    for (cache, expected) in [
        (r#"{"cacheSize": 100, "cacheDuration": "14400s", "cacheReplacementPolicy": "LEAST_RECENTLY_USED"}"#, None),
        (r#"{"cacheSize": 0, "cacheDuration": "1s", "cacheReplacementPolicy": 1}"#, None),
        (r#"{"cacheSize": 100, "cacheDuration": "-1s", "cacheReplacementPolicy": 1}"#, None),
        (r#"{"cacheSize": 100, "cacheReplacementPolicy": 1}"#, Some("cacheDuration: is required")),
        (r#"{"cacheSize": 100, "cacheDuration": "1s"}"#, Some("cacheReplacementPolicy: is required")),
        (
            r#"{"cacheSize": 100, "cacheDuration": "1s", "cacheReplacementPolicy": 77}"#,
            Some("cacheReplacementPolicy: is unknown"),
        ),
    ] {
        let field = format!("\"spareBlocks\": 3, \"dataIntegrityValidationCache\": {cache}");
        let (plan, end) = read(&good.replacen("\"spareBlocks\": 3", &field, 1));
        match expected {
            None => assert!(plan.is_some() && end.is_ok(), "{cache}: {end:?}"),
            Some(fault) => {
                assert_eq!(end.unwrap_err(), [format!("blocksOnBlockDevice.dataIntegrityValidationCache.{fault}")]);
            }
        }
    }
}

#[test]
fn state_of_buildbarn_itself_is_refused_and_left_as_it_is() {
    let directory = directory();
    let json = deployed(directory.path(), 3, 1 << 20, 64 << 20);
    let state = directory.path().join("persistent_state/state");
    // An oldest epoch and a seed, as its format says.
    let theirs = [0x08, 1, 0x18, 0x83, 0xff, 0x07];
    std::fs::write(&state, theirs).unwrap();
    let found = faults(read(&json));
    assert_eq!(found.len(), 1);
    assert!(found[0].starts_with("persistent.stateDirectoryPath: holds the state of a bb_storage"), "{found:?}");
    std::fs::write(directory.path().join("blocks"), b"hello").unwrap();
    let found = faults(read(&json));
    assert_eq!(found.len(), 2);
    assert!(
        found[0].starts_with("blocksOnBlockDevice.source.file.path: ") && found[0].contains("no store of"),
        "{found:?}"
    );
    assert_eq!(std::fs::read(&state).unwrap(), theirs);
    assert_eq!(std::fs::read(directory.path().join("blocks")).unwrap(), b"hello");

    // Buildbarn truncates the files of a store that is not persistent, and what it leaves there means nothing.
    let mut volatile: serde_json::Value = serde_json::from_str(&json).unwrap();
    volatile.as_object_mut().unwrap().remove("persistent");
    assert!(read(&volatile.to_string()).1.is_ok());
}

fn digest(contents: &[u8]) -> Digest {
    Digest::of(InstanceName::empty(), DigestFunction::Sha256, contents)
}

#[tokio::test]
async fn a_store_of_the_deployments_keeps_its_blobs() {
    let directory = directory();
    let json = deployed(directory.path(), 3, 1 << 20, 64 << 20);
    let (ctx, contents) = (Context::background(), b"hello".as_slice());
    let store = read(&json).0.unwrap().open::<Cas>(Environment::default()).await.unwrap();
    store.put(&ctx, &digest(contents), Blob::from_bytes(contents)).await.unwrap();
    store.sync().await.unwrap();
    drop(store);
    let (plan, end) = read(&json);
    assert!(end.is_ok(), "{end:?}");
    let store = plan.unwrap().open::<Cas>(Environment::default()).await.unwrap();
    assert_eq!(store.get_bytes(&ctx, &digest(contents), 100).await.unwrap(), contents);

    // One that is in use, and one whose state is gone, are refused at their path.
    let error = read(&json).0.unwrap().open::<Cas>(Environment::default()).await.unwrap_err();
    assert!(error.to_string().contains("in use"), "{error}");
    let mut volatile: serde_json::Value = serde_json::from_str(&json).unwrap();
    volatile.as_object_mut().unwrap().remove("persistent");
    let found = faults(read(&volatile.to_string()));
    assert!(found[0].contains("holds a persistent store"), "{found:?}");
}

#[tokio::test]
async fn a_store_of_other_sizes_is_told_before_anything_is_opened() {
    let directory = directory();
    let json = |new_blocks, bytes| deployed(directory.path(), new_blocks, 1 << 20, bytes);
    let check = async |json: String| read(&json).0.unwrap().check_files(StorageType::Cas).await;
    check(json(3, 64 << 20)).await.unwrap();
    assert!(!directory.path().join("blocks").exists(), "nothing is made");

    let store = read(&json(3, 64 << 20)).0.unwrap().open::<Cas>(Environment::default()).await.unwrap();
    check(json(3, 64 << 20)).await.unwrap();
    drop(store);
    check(json(3, 64 << 20)).await.unwrap();
    let contents = || std::fs::read(directory.path().join("blocks")).unwrap();
    let before = contents();
    for (changed, expected) in [(json(4, 64 << 20), "blocks"), (json(3, 96 << 20), "data bytes a block")] {
        let error = check(changed.clone()).await.unwrap_err().to_string();
        assert!(error.contains(expected) && error.contains("the options make it"), "{error}");
        let opened = read(&changed).0.unwrap().open::<Cas>(Environment::default()).await.unwrap_err();
        assert!(opened.to_string().ends_with(&error), "{opened}\n{error}");
    }
    let kind = read_as(StorageType::Icas, &json(1, 64 << 20)).0.unwrap().check_files(StorageType::Icas).await;
    assert!(kind.unwrap_err().to_string().contains("holds a store of"));
    assert_eq!(contents().len(), 96 << 20, "only opening gives a file its size");
    assert!(contents().starts_with(&before));
}

/// A store of a configuration, opened again and again over the same files.
struct Configured<K> {
    directory: tempfile::TempDir,
    kind: std::marker::PhantomData<K>,
}

impl<K: Kind> Configured<K> {
    fn new() -> Self {
        Self { directory: directory(), kind: std::marker::PhantomData }
    }

    fn plan(&self) -> LocalPlan {
        let json = deployed(self.directory.path(), 1, 1 << 20, 12 << 20);
        let json = json
            .replace("\"oldBlocks\": 8", "\"oldBlocks\": 2")
            .replace("\"currentBlocks\": 24", "\"currentBlocks\": 4");
        read_as(K::STORAGE_TYPE, &json).0.unwrap()
    }
}

impl<K: Kind> Fixture for Configured<K> {
    type Store = LocalStore<K>;

    fn promises(&self) -> Promises {
        let plan = self.plan();
        Promises::IN_MEMORY
            .with_durable(true)
            .with_max_blob_size_bytes(Some(plan.sizes.max_blob_size_bytes()))
            .with_keeps_bytes(Some(plan.sizes.promised_bytes()))
            .with_capacity_bytes(Some(plan.sizes.data_bytes()))
    }

    async fn open(&self) -> Result<LocalStore<K>> {
        self.plan().open(Environment::default()).await
    }

    async fn close(&self, store: LocalStore<K>) -> Result<()> {
        store.close().await
    }

    fn layers(&self) -> Vec<String> {
        vec!["local(file)".to_owned()]
    }
}

conformance! {
    contents: Cas + ResolveUpload + Inventory => Configured::<Cas>::new(),
    action_results: Ac + ResolveUpload + Inventory => Configured::<Ac>::new(),
    references: Icas + ResolveUpload + Inventory => Configured::<Icas>::new(),
    size_classes: Iscc + ResolveUpload + Inventory => Configured::<Iscc>::new(),
    path_profiles: Fsac + ResolveUpload + Inventory => Configured::<Fsac>::new(),
}
