//! Open stores.

use std::sync::Arc;

use blobaccess::StorageType::{Ac, Cas, Icas};
use blobaccess::{BlobAccess, BlobAccessExt, Context, Digest, DigestFunction, ErrorKind, InstanceName, Operation};
use blobaccess_config::{Document, LayerState, Stacks, StacksPlan};
use blobaccess_icas::Reference;
use blobaccess_proto::remote_execution as re;
use blobaccess_testkit::digest_of;
use blobaccess_testkit::fakes::RecordingObserver;
use prost::Message;

use super::{fill, open, registry};

#[tokio::test]
async fn the_empty_blob_is_always_there_and_results_get_their_time() {
    let stacks = open("{'error': {'code': 14, 'message': 'down'}}", Cas).await;
    let (ctx, empty) = (Context::background(), digest_of(""));
    let cas = stacks.cas().unwrap();
    assert_eq!(cas.get_bytes(&ctx, &empty, 9).await.unwrap(), "");
    assert_eq!(cas.get(&ctx, &digest_of("x")).await.unwrap_err().kind(), ErrorKind::Unavailable);

    let stacks = open("'M'", Ac).await;
    let (ac, action) = (stacks.ac().unwrap(), digest_of("an action"));
    ac.put_bytes(&ctx, &action, "").await.unwrap();
    let result = re::ActionResult::decode(ac.get_bytes(&ctx, &action, 99).await.unwrap()).unwrap();
    assert!(result.execution_metadata.unwrap().worker_completed_timestamp.is_some());
}

#[tokio::test]
async fn results_are_checked_against_the_contents_of_the_same_file() {
    let text = fill("{'contentAddressableStorage': 'M', 'actionCache': {'completenessChecking': {'backend': 'M'}}}");
    let stacks = Stacks::from_document(&Document::from_json(&text, "test.json").unwrap(), &registry()).await.unwrap();
    let (ctx, action, output) = (Context::background(), digest_of("an action"), digest_of("output"));
    let file = re::OutputFile {
        path: "out".into(),
        digest: Some(re::Digest { hash: output.hash().to_string(), size_bytes: 6 }),
        ..Default::default()
    };
    let result = re::ActionResult { output_files: vec![file], ..Default::default() };
    stacks.ac().unwrap().put_bytes(&ctx, &action, result.encode_to_vec()).await.unwrap();
    assert!(stacks.ac().unwrap().get(&ctx, &action).await.unwrap_err().is_not_found());
    stacks.cas().unwrap().put_bytes(&ctx, &output, "output").await.unwrap();
    assert!(stacks.ac().unwrap().get(&ctx, &action).await.is_ok());
}

#[tokio::test]
async fn instance_names_go_where_they_should() {
    let text = "{'demultiplexing': {'instanceNamePrefixes': {'a': {'backend': 'M'}, 'b': {'backend': 'N', 'addInstanceNamePrefix': 'x'}}}}";
    let stacks = open(text, Cas).await;
    let (ctx, cas) = (Context::background(), stacks.cas().unwrap());
    let digest = |name: &str| Digest::of(InstanceName::new(name).unwrap(), DigestFunction::Sha256, b"hello");
    cas.put_bytes(&ctx, &digest("a/1"), "hello").await.unwrap();
    assert!(cas.contains(&ctx, &digest("a")).await.unwrap());
    assert!(!cas.contains(&ctx, &digest("b")).await.unwrap());
    assert_eq!(cas.contains(&ctx, &digest("c")).await.unwrap_err().kind(), ErrorKind::InvalidArgument);
    let stacks = open("{'demultiplexing': {}}", Cas).await;
    let refused = stacks.cas().unwrap().contains(&ctx, &digest("c")).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::InvalidArgument);
}

#[tokio::test]
async fn calls_are_observed_under_the_names_of_buildbarn() {
    let observer = Arc::new(RecordingObserver::default());
    let registry = registry().with_observer(Arc::clone(&observer));
    let text = fill(
        "{'withLabels': {'labels': {'a': 'M'}, 'backend': {'readCaching': {'slow': {'label': 'a'}, 'fast': {'error': {'code': 14}}, 'replicator': {'noop': {}}}}}}",
    );
    let plan = StacksPlan::of_store(&Document::from_json(&text, "test.json").unwrap(), Cas, &registry).unwrap();
    let stacks = plan.open().await.unwrap();
    let (ctx, digest) = (Context::background(), digest_of("hello"));
    stacks.cas().unwrap().put_bytes(&ctx, &digest, "hello").await.unwrap();
    let puts = observer.take_calls().into_iter().filter(|call| call.operation == Operation::Put);
    let labels: Vec<_> = puts.map(|call| (call.storage_type, call.backend)).collect();
    assert_eq!(labels, [(Cas, "host"), (Cas, "read_caching")]);
}

#[tokio::test]
async fn what_is_put_into_an_archive_is_there_after_it_is_closed() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.zip");
    let text = |member: &str| format!("{{'{member}': {{'path': '{}'}}}}", path.display());
    let (ctx, digest) = (Context::background(), digest_of("hello"));
    for contents in ["hello", "world"] {
        let stacks = open(&text("zipWriting"), Cas).await;
        stacks.cas().unwrap().put_bytes(&ctx, &digest_of(contents), contents.to_owned()).await.unwrap();
        stacks.close().await.unwrap();
    }
    let stacks = open(&text("zipReading"), Cas).await;
    assert!(!stacks.cas().unwrap().contains(&ctx, &digest).await.unwrap(), "an archive begins anew");
    assert_eq!(stacks.cas().unwrap().get_bytes(&ctx, &digest_of("world"), 9).await.unwrap(), "world");
    let snapshot = stacks.snapshot();
    assert_eq!(&*snapshot[0].path, "zipReading");
    assert!(matches!(&snapshot[0].state, LayerState::ZipReading(state) if state.entries == 1));
}

#[tokio::test]
async fn a_mirror_answers_once_both_halves_have_what_was_asked_for() {
    let text = "{'mirrored': {'backendA': 'M', 'backendB': 'N', 'replicatorAToB': {'local': {}}, 'replicatorBToA': {'local': {}}}}";
    let registry = registry();
    let half = |name: &str| {
        let document = Document::from_json(&format!("{{\"label\": \"{name}\"}}"), "half.json").unwrap();
        StacksPlan::of_store(&document, Cas, &registry).unwrap()
    };
    let (a, b) = (half("m").open().await.unwrap(), half("n").open().await.unwrap());
    let mirror = StacksPlan::of_store(&Document::from_json(&fill(text), "test.json").unwrap(), Cas, &registry).unwrap();
    let mirror = mirror.open().await.unwrap();
    let (ctx, digest) = (Context::background(), digest_of("hello"));
    b.cas().unwrap().put_bytes(&ctx, &digest, "hello").await.unwrap();
    assert!(mirror.cas().unwrap().contains(&ctx, &digest).await.unwrap());
    assert!(a.cas().unwrap().contains(&ctx, &digest).await.unwrap());
}

#[tokio::test]
async fn each_blob_is_in_one_shard() {
    let text = "{'sharding': {'shards': {'a': {'weight': 1, 'backend': 'M'}, 'b': {'weight': 3, 'backend': 'N'}}}}";
    let stacks = open(text, Cas).await;
    let (ctx, cas) = (Context::background(), stacks.cas().unwrap());
    for number in 0..100 {
        let contents = number.to_string();
        cas.put_bytes(&ctx, &digest_of(&contents), contents.clone()).await.unwrap();
        assert_eq!(cas.get_bytes(&ctx, &digest_of(&contents), 9).await.unwrap(), contents);
    }
    let snapshot = stacks.snapshot();
    let LayerState::Sharding(shards) = &snapshot[0].state else { panic!("{snapshot:?}") };
    assert_eq!(shards.iter().map(|shard| &*shard.key).collect::<Vec<_>>(), ["a", "b"]);
}

#[tokio::test]
async fn what_a_reference_leads_to_is_read() {
    let text = "{'referenceExpanding': {'indirectContentAddressableStorage': 'M', 'contentAddressableStorage': 'N'}}";
    let registry = registry();
    let plan = |text: &str, kind| {
        StacksPlan::of_store(&Document::from_json(&fill(text), "test.json").unwrap(), kind, &registry).unwrap()
    };
    let stacks = plan(text, Cas).open().await.unwrap();
    let (references, contents) = (plan("'M'", Icas).open().await.unwrap(), plan("'N'", Cas).open().await.unwrap());
    let (ctx, digest) = (Context::background(), digest_of("hello"));
    assert!(stacks.cas().unwrap().get(&ctx, &digest).await.unwrap_err().is_not_found());
    contents.cas().unwrap().put_bytes(&ctx, &digest, "hello").await.unwrap();
    references.icas().unwrap().put_bytes(&ctx, &digest, Reference::blob(&digest).to_bytes()).await.unwrap();
    assert_eq!(stacks.cas().unwrap().get_bytes(&ctx, &digest, 9).await.unwrap(), "hello");
    assert!(matches!(stacks.snapshot()[0].state, LayerState::ReferenceExpanding(_)));
}
