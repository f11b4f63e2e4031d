//! The calls that the store of references answers alone.

use std::sync::Arc;

use blobaccess::{
    Blob, BlobAccess, Capabilities, Context, DigestFunction, DigestSet, Error, ErrorKind, Icas, InstanceName,
    KeyFormat, MemoryStore, PutCertainty,
};
use blobaccess_icas::{AllowedHosts, ExpandingOptions, Reference, ReferenceExpanding};
use blobaccess_testkit::digest_of;
use blobaccess_testkit::fakes::{CountingStore, LeadingBytes, ScriptedStore, watched_stream};

use crate::server::{Answer, Server};
use crate::{options, refer, store};

fn over(references: ScriptedStore<Icas>) -> ReferenceExpanding<ScriptedStore<Icas>> {
    ReferenceExpanding::new(references, ExpandingOptions::new(AllowedHosts::none())).unwrap()
}

#[tokio::test]
async fn a_put_is_refused_unread_and_certainly_not_stored() {
    let references = Arc::new(CountingStore::new(MemoryStore::<Icas>::new(1 << 20)));
    let options = ExpandingOptions::new(AllowedHosts::none());
    let store = ReferenceExpanding::new(Arc::clone(&references), options).unwrap();
    let digest = digest_of("hello");
    let (stream, polls) = watched_stream();
    let blob = Blob::from_untrusted_stream(&digest, stream, blobaccess::Provenance::client());
    let error = store.put(&Context::background(), &digest, blob).await.unwrap_err();
    assert_eq!((error.kind(), error.put_certainty()), (ErrorKind::InvalidArgument, PutCertainty::NotStored));
    assert!(error.message().contains("takes references to contents, not contents"), "{error}");
    assert_eq!((polls.count(), references.counts().puts), (0, 0));
}

#[tokio::test]
async fn find_missing_asks_for_references_alone() {
    let (a, b) = (digest_of("a"), digest_of("b"));
    let server = Server::answering(Answer::status("404 Not Found")).await;
    let store = store(options(&server));
    refer(&store, &a, &Reference::http(server.url("/a"))).await;
    let missing = store.find_missing(&Context::background(), &[a, b.clone()].into_iter().collect()).await.unwrap();
    assert_eq!(missing, b.clone().into());
    assert_eq!(server.requests().len(), 0);

    let store = over(ScriptedStore::new().on_find_missing(Err(Error::unavailable("gone fishing"))));
    assert!(store.find_missing(&Context::background(), &DigestSet::new()).await.unwrap().is_empty());
    let error = store.find_missing(&Context::background(), &b.into()).await.unwrap_err();
    assert_eq!((error.kind(), error.to_string()), (ErrorKind::Unavailable, "references: gone fishing".to_owned()));
}

#[tokio::test]
async fn a_missing_reference_is_a_missing_blob_and_an_outage_is_not() {
    let digest = digest_of("hello");
    let references = ScriptedStore::new()
        .on_get(Err(Error::not_found("no such reference")))
        .on_get(Err(Error::unavailable("gone fishing")))
        .on_get(Ok(Blob::from_bytes("\u{7f}no message")))
        .on_get(Ok(Blob::from_bytes("")));
    let store = over(references);
    let get = async || store.get(&Context::background(), &digest).await.unwrap_err();
    let error = get().await;
    assert!(error.is_blob_missing(), "{error}");
    let error = get().await;
    assert_eq!((error.kind(), error.to_string()), (ErrorKind::Unavailable, "references: gone fishing".to_owned()));
    let error = get().await;
    assert_eq!(error.kind(), ErrorKind::DataLoss, "{error}");
    let error = get().await;
    assert_eq!(error.kind(), ErrorKind::Unimplemented, "{error}");
    assert!(error.to_string().starts_with(&format!("references: blob {digest}: ")), "{error}");
}

#[tokio::test]
async fn a_part_is_cut_out_of_what_was_read() {
    let server = Server::having("hello, world").await;
    let store = store(options(&server));
    let (parent, ctx) = (digest_of("hello, world"), Context::background());
    refer(&store, &parent, &Reference::http(server.url("/a"))).await;
    let part = store.get_from_composite(&ctx, &parent, &digest_of("hello"), Arc::new(LeadingBytes)).await.unwrap();
    assert_eq!(part.into_bytes(5).await.unwrap(), "hello");
    let absent = digest_of("absent");
    let error = store.get_from_composite(&ctx, &absent, &digest_of("a"), Arc::new(LeadingBytes)).await.unwrap_err();
    assert!(error.is_blob_missing(), "{error}");
}

#[tokio::test]
async fn capabilities_and_the_key_format_are_those_of_the_references() {
    let references =
        Capabilities::unlimited().with_digest_functions([DigestFunction::Sha256]).with_max_blob_size_bytes(1000);
    let scripted = ScriptedStore::new()
        .with_key_format(KeyFormat::WithoutInstanceName)
        .on_capabilities(Ok(references))
        .on_capabilities(Err(Error::internal("broken")));
    let store = over(scripted);
    assert_eq!(store.key_format(), KeyFormat::WithoutInstanceName);
    let (ctx, name) = (Context::background(), InstanceName::empty());
    let expected =
        Capabilities::unlimited().with_digest_functions([DigestFunction::Sha256]).with_updates_allowed(false);
    assert_eq!(store.capabilities(&ctx, &name).await.unwrap(), expected);
    assert_eq!(store.capabilities(&ctx, &name).await.unwrap_err().to_string(), "references: broken");
    assert!(store.to_string().starts_with("reference_expanding("), "{store}");
}
