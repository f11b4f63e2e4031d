//! The results that are refused when they are put, as no client could use them.

use super::*;

async fn put(it: &Fixture, message: impl Into<Bytes>) -> Result<PutOutcome> {
    it.checking.put(&Context::background(), &action(), Blob::from_bytes(message.into())).await
}

#[tokio::test]
async fn what_shows_in_the_result_alone_is_refused_and_nothing_is_stored() {
    let it = fixture(ScriptedCas::new());
    let no_blob = remote_execution::Digest { size_bytes: 0, ..proto(&digest(1)).unwrap() };
    let tree = output_directory_of("a", &digest(1), None);
    for result in [
        ActionResult { output_files: vec![OutputFile { digest: None, ..file(1) }], ..ActionResult::default() },
        ActionResult { output_files: vec![OutputFile { digest: Some(bad()), ..file(1) }], ..ActionResult::default() },
        ActionResult { stdout_digest: Some(bad()), ..ActionResult::default() },
        ActionResult { stderr_digest: Some(no_blob), ..ActionResult::default() },
        ActionResult {
            output_directories: vec![OutputDirectory { tree_digest: None, ..tree.clone() }],
            ..ActionResult::default()
        },
        ActionResult {
            output_directories: vec![OutputDirectory { root_directory_digest: Some(bad()), ..tree }],
            ..ActionResult::default()
        },
    ] {
        let error = put(&it, result.encode_to_vec()).await.unwrap_err();
        assert_eq!((error.kind(), error.put_certainty()), (ErrorKind::InvalidArgument, PutCertainty::NotStored));
        assert!(error.to_string().contains("malformed digest"), "{error}");
    }
    for message in [&b"\x12\x7fcut off"[..], &[0; 1001]] {
        let error = put(&it, Bytes::copy_from_slice(message)).await.unwrap_err();
        assert_eq!((error.kind(), error.put_certainty()), (ErrorKind::InvalidArgument, PutCertainty::NotStored));
    }
    assert!(it.ac.get(&Context::background(), &action()).await.unwrap_err().is_not_found());
}

#[tokio::test]
async fn what_can_be_used_is_stored_as_it_is_though_its_blobs_are_not_there_yet() {
    let it = fixture(ScriptedCas::new().without(&digest(1)));
    let message = [files([1]).encode_to_vec(), b"\xfa\x3f\x03new".to_vec()].concat();
    put(&it, message.clone()).await.unwrap();
    let stored = it.ac.get(&Context::background(), &action()).await.unwrap();
    assert_eq!(stored.into_bytes(u64::MAX).await.unwrap(), message);
    assert_eq!(it.cas.asked(), Vec::<Vec<_>>::new());
}
