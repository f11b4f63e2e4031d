//! The calls that are left to the stores.

use super::*;

#[derive(Debug)]
struct FirstByte;

#[async_trait]
impl Slicer for FirstByte {
    async fn slice(&self, parent: Blob, child: &Digest) -> Result<Sliced> {
        let first = parent.into_bytes(1000).await?.slice(..1);
        let slices = vec![Slice { digest: child.clone(), offset: 0, size_bytes: 1 }];
        Ok(Sliced::new(Blob::from_bytes(first)).with_slices(slices))
    }
}

#[tokio::test]
async fn a_part_is_returned_only_of_a_complete_result() {
    let it = fixture(ScriptedCas::new());
    it.check(&files([1])).await.unwrap();
    let ctx = Context::background();
    let action = action();
    let part = || it.checking.get_from_composite(&ctx, &action, &action, Arc::new(FirstByte));
    assert_eq!(part().await.unwrap().into_bytes(1).await.unwrap(), "\x12");
    it.cas.missing.lock().unwrap().insert(digest(1));
    assert!(part().await.unwrap_err().is_not_found());
}

#[tokio::test]
async fn searches_and_capabilities_are_those_of_the_action_cache() {
    let it = fixture(ScriptedCas::new());
    let ctx = Context::background();
    let result = files([1]).encode_to_vec();
    let stored_bytes = u64::try_from(result.len()).unwrap();
    let outcome = it.checking.put(&ctx, &action(), Blob::from_bytes(result)).await.unwrap();
    assert_eq!(outcome, PutOutcome::Created { stored_bytes });
    let digests = DigestSet::from([action(), digest(1)]);
    assert_eq!(it.checking.find_missing(&ctx, &digests).await.unwrap(), DigestSet::from(digest(1)));
    let capabilities = it.checking.capabilities(&ctx, &account_name()).await.unwrap();
    let expected = it.ac.capabilities(&ctx, &account_name()).await.unwrap().with_max_blob_size_bytes(1000);
    assert_eq!(capabilities, expected);
    assert_eq!(it.cas.asked(), Vec::<Vec<_>>::new());
}

#[tokio::test]
async fn it_prints_both_stores_and_heeds_the_names_that_either_heeds() {
    let it = fixture(ScriptedCas::new());
    assert_eq!(it.checking.to_string(), "completeness_checking(memory, scripted)");
    assert_eq!(it.checking.key_format(), KeyFormat::WithInstanceName);
}
