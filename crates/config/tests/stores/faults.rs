//! Faults: all of a document, at their places, in one order.

use std::os::unix::fs::MetadataExt;

use blobaccess::StorageType::Cas;
use blobaccess_config::{Document, Stacks, StacksPlan};

use super::{faults, fill, registry};

#[test]
fn all_faults_are_reported_in_the_order_of_the_fields() {
    let text = "{'sharding': {'shards': {\
         '2': {'weight': 0, 'backend': {'readCaching': {'slow': {'label': 'x'}, 'fast': {'error': {}}, 'replicator': {}}}},\
         '10': {'weight': 1, 'backend': {'deadlineEnforcing': {'backend': {'zipReading': {}}}}},\
         '1': {'weight': 1}}}}";
    let expected = [
        "sharding.shards[\"1\"].backend: is required",
        "sharding.shards[\"2\"].weight: must be positive",
        "sharding.shards[\"10\"].backend.deadlineEnforcing.timeout: is required",
        "sharding.shards[\"10\"].backend.deadlineEnforcing.backend.zipReading.path: is required",
        "sharding.shards[\"2\"].backend.readCaching.replicator: is required: local, noop or another mode",
        "sharding.shards[\"2\"].backend.readCaching.slow.label: \"x\" is not declared",
        "sharding.shards[\"2\"].backend.readCaching.fast.error.code: must be the code of an error, such as 14: every call fails with it, and 0 is none",
    ];
    for _ in 0..10 {
        assert_eq!(faults(text, Cas), expected);
    }
}

#[test]
fn faults_of_the_text_and_of_what_it_says_are_reported_together() {
    let text = fill(
        "{'contentAddressableStorage': {'sharding': {'shards': {'1': {'weight': 'x', 'backend': 'M'}, '2': {'backend': 'M'}}}},\n 'actionCache': {'lable': 'm'}}",
    );
    let faults = StacksPlan::of_blobstore(&Document::from_json(&text, "test.json").unwrap(), &registry()).unwrap_err();
    let lines: Vec<_> = faults
        .as_slice()
        .iter()
        .map(|fault| (fault.path.as_str(), fault.position.as_ref().map(|at| at.line)))
        .collect();
    assert_eq!(
        lines,
        [
            ("contentAddressableStorage.sharding.shards[\"1\"].weight", Some(1)),
            ("actionCache.lable", Some(2)),
            ("contentAddressableStorage.sharding.shards[\"2\"].weight", Some(1)),
        ]
    );
}

#[test]
fn a_configuration_without_stores_is_refused() {
    let document = Document::from_json("{}", "test.json").unwrap();
    let faults = StacksPlan::of_blobstore(&document, &registry()).unwrap_err();
    assert!(
        faults.to_string().ends_with("there is no store: contentAddressableStorage or actionCache is required"),
        "{faults}"
    );
}

#[tokio::test]
async fn nothing_is_touched_unless_everything_is_in_order() {
    let folder = tempfile::tempdir().unwrap();
    let (archive, absent) = (folder.path().join("kept.zip"), folder.path().join("absent.zip"));
    let earlier = b"PK\x03\x04 an earlier archive";
    std::fs::write(&archive, earlier).unwrap();
    let text = |ac: &str| {
        let text = format!(
            "{{'contentAddressableStorage': {{'zipWriting': {{'path': '{}'}}}}, 'actionCache': {ac}}}",
            archive.display()
        );
        Document::from_json(&fill(&text), "test.json").unwrap()
    };
    let reading = format!("{{'zipReading': {{'path': '{}'}}}}", absent.display());
    for ac in ["{'label': 'x'}", &reading] {
        let faults = Stacks::from_document(&text(ac), &registry()).await.unwrap_err();
        assert!(faults.as_slice()[0].path.starts_with("actionCache."), "{faults}");
        assert_eq!(std::fs::read(&archive).unwrap(), earlier);
    }
    let junk = format!("{{'zipReading': {{'path': '{}'}}}}", folder.path().join("junk.zip").display());
    std::fs::write(folder.path().join("junk.zip"), "junk").unwrap();
    let plan = StacksPlan::of_blobstore(&text(&junk), &registry()).unwrap();
    assert_eq!(plan.inspect().await.unwrap_err().as_slice()[0].path, "actionCache.zipReading");
    assert_eq!(plan.open().await.unwrap_err().as_slice()[0].path, "actionCache.zipReading");
    assert_eq!(std::fs::read(&archive).unwrap(), earlier);
}

#[tokio::test]
async fn no_other_file_than_an_archive_that_nobody_writes_is_replaced() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.zip");
    let writing = format!("{{'zipWriting': {{'path': '{}'}}}}", path.display());
    let plan = || crate::plan(&writing, Cas).unwrap();
    std::fs::write(&path, "a letter").unwrap();
    for faults in [plan().inspect().await.unwrap_err(), plan().open().await.unwrap_err()] {
        assert_eq!(faults.as_slice()[0].path, "zipWriting.path");
        assert!(faults.to_string().contains("is no archive: choose another path"), "{faults}");
    }
    assert_eq!(std::fs::read(&path).unwrap(), b"a letter");
    std::fs::write(&path, "").unwrap();
    let first = plan().open().await.unwrap();
    let number = std::fs::metadata(&path).unwrap().ino();
    let faults = plan().open().await.unwrap_err();
    assert_eq!(faults.as_slice()[0].path, "zipWriting.path");
    assert!(faults.to_string().contains("is being written by another process"), "{faults}");
    assert_eq!(std::fs::metadata(&path).unwrap().ino(), number);
    first.close().await.unwrap();
    drop(plan().open().await.unwrap());
    std::fs::remove_file(&path).unwrap();
    std::os::unix::fs::symlink("absent", &path).unwrap();
    assert!(plan().inspect().await.unwrap_err().to_string().contains("is a link to nothing"));
}

#[tokio::test]
async fn a_file_of_jsonnet_is_opened_and_faults_have_its_lines() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("storage.jsonnet");
    let text = "local shard(weight) = { weight: weight, backend: { label: 'm' } };\n{\n  contentAddressableStorage: { sharding: { shards: {\n    a: shard(1),\n    b: shard(WEIGHT),\n  } } },\n}\n";
    std::fs::write(&path, text.replace("WEIGHT", "2")).unwrap();
    assert!(Stacks::from_jsonnet(&path, &registry()).await.unwrap().cas().is_some());
    std::fs::write(&path, text.replace("WEIGHT", "0")).unwrap();
    let faults = Stacks::from_jsonnet(&path, &registry()).await.unwrap_err();
    assert_eq!(faults.as_slice().len(), 1);
    assert_eq!(faults.as_slice()[0].path, "contentAddressableStorage.sharding.shards[\"b\"].weight");
    assert!(faults.as_slice()[0].position.is_some(), "{faults}");
}
