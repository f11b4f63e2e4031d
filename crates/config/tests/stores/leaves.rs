//! Local stores, and those of other servers, within configurations.

use std::path::Path;

use blobaccess::StorageType::{Ac, Cas, Fsac, Icas, Iscc};
use blobaccess::{BlobAccessExt, Context, ErrorKind};
use blobaccess_config::{LayerState, Stacks};
use blobaccess_testkit::digest_of;

use super::{KINDS, faults, notices, open, plan};

const IN_MEMORY: &str = "{'local': {'keyLocationMapInMemory': {'entries': 10000}, 'keyLocationMapMaximumGetAttempts': 16, \
     'keyLocationMapMaximumPutAttempts': 64, 'oldBlocks': 1, 'currentBlocks': 4, 'newBlocks': 1, \
     'blocksInMemory': {'blockSizeBytes': 1048576}}}";

fn on_device(folder: &Path) -> String {
    let folder = folder.display();
    format!(
        "{{'local': {{'keyLocationMapOnBlockDevice': {{'file': {{'path': '{folder}/map', 'sizeBytes': 1048576}}}}, \
         'keyLocationMapMaximumGetAttempts': 16, 'keyLocationMapMaximumPutAttempts': 64, \
         'oldBlocks': 1, 'currentBlocks': 4, 'newBlocks': 1, 'blocksOnBlockDevice': {{\
         'source': {{'file': {{'path': '{folder}/blocks', 'sizeBytes': 16777216}}}}, 'spareBlocks': 1}}, \
         'persistent': {{'stateDirectoryPath': '{folder}', 'minimumEpochInterval': '300s'}}}}}}"
    )
}

async fn puts_and_gets(stacks: &Stacks) {
    let (ctx, digest) = (Context::background(), digest_of("hello"));
    if let Some(cas) = stacks.cas() {
        cas.put_bytes(&ctx, &digest, "hello").await.unwrap();
        assert_eq!(cas.get_bytes(&ctx, &digest, 9).await.unwrap(), "hello");
    }
    if let Some(fsac) = stacks.fsac() {
        fsac.put_bytes(&ctx, &digest, "").await.unwrap();
        assert_eq!(fsac.get_bytes(&ctx, &digest, 9).await.unwrap(), "");
    }
}

#[tokio::test]
async fn local_stores_of_every_kind() {
    for kind in KINDS {
        assert_eq!(faults(IN_MEMORY, kind), [""; 0]);
        let stacks = open(IN_MEMORY, kind).await;
        puts_and_gets(&stacks).await;
        assert!(matches!(stacks.snapshot()[0].state, LayerState::Local(_)));
        assert!(stacks.describe().contains("local_in_memory: "), "{}", stacks.describe());
        assert!(!faults("{'local': {}}", kind).is_empty());
    }
    let several = IN_MEMORY.replace("'newBlocks': 1", "'newBlocks': 3");
    assert_eq!(faults(&several, Cas), [""; 0]);
    for kind in [Ac, Icas, Iscc, Fsac] {
        let found = faults(&several, kind);
        assert!(found.len() == 1 && found[0].starts_with("local.newBlocks: "), "{found:?}");
    }
}

#[tokio::test]
async fn what_a_persistent_store_has_is_there_after_it_is_closed() {
    let folder = tempfile::tempdir().unwrap();
    let text = on_device(folder.path());
    let (ctx, digest) = (Context::background(), digest_of("hello"));
    let plan = plan(&text, Cas).unwrap();
    assert!(plan.describe().contains("local_block_device: "), "{}", plan.describe());
    plan.inspect().await.unwrap();
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0, "nothing is created before it is opened");
    let stacks = plan.open().await.unwrap();
    stacks.cas().unwrap().put_bytes(&ctx, &digest, "hello").await.unwrap();
    stacks.close().await.unwrap();
    drop(stacks);
    let stacks = open(&text, Cas).await;
    assert!(stacks.cas().unwrap().contains(&ctx, &digest).await.unwrap());
}

#[test]
fn a_file_is_of_one_store() {
    let folder = tempfile::tempdir().unwrap();
    let local = on_device(folder.path());
    let text = format!(
        "{{'readFallback': {{'primary': {local}, 'secondary': {}, 'replicator': {{'local': {{}}}}}}}}",
        local.replace("/map'", "/other'")
    );
    let found = faults(&text, Cas);
    let paths: Vec<_> = found.iter().filter_map(|fault| fault.split(':').next()).collect();
    assert_eq!(
        paths,
        [
            "readFallback.secondary.local.blocksOnBlockDevice.source.file.path",
            "readFallback.secondary.local.persistent.stateDirectoryPath",
        ],
        "{found:?}"
    );
    assert!(found[0].ends_with("is a file of readFallback.primary.local.blocksOnBlockDevice.source.file.path too: a file that is written is of one store"), "{found:?}");
}

#[tokio::test]
async fn stores_of_other_servers() {
    for kind in KINDS {
        assert_eq!(faults("{'grpc': {}}", kind), ["grpc.client: is required"]);
        assert_eq!(faults("{'grpc': {'client': {}}}", kind), ["grpc.client.address: is required"]);
        let text = "{'grpc': {'client': {'address': '127.0.0.1:1'}, 'enableCompression': true}}";
        assert_eq!(notices(text, kind).len(), usize::from(kind != Cas));
        let stacks = open(text, kind).await;
        assert!(stacks.describe().contains("grpc: "), "{}", stacks.describe());
        assert!(matches!(stacks.snapshot()[0].state, LayerState::Remote(_)));
    }
}

#[tokio::test]
async fn servers_that_copy() {
    let text = "{'readCaching': {'slow': 'M', 'fast': 'N', 'replicator': {'remote': {'address': '127.0.0.1:1'}}}}";
    for kind in [Ac, Icas, Iscc, Fsac] {
        let found = faults(text, kind);
        assert!(
            found.len() == 1 && found[0].starts_with("readCaching.replicator.remote: is not supported for "),
            "{found:?}"
        );
    }
    assert_eq!(
        faults("{'readCaching': {'slow': 'M', 'fast': 'N', 'replicator': {'remote': {}}}}", Cas),
        ["readCaching.replicator.remote.address: is required"]
    );
    let stacks = open(text, Cas).await;
    let absent = stacks.cas().unwrap().get(&Context::background(), &digest_of("hello")).await.unwrap_err();
    assert_eq!(absent.kind(), ErrorKind::NotFound);
}
