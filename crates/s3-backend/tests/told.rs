//! The line of the log about a server at the start.
//!
//! This is the only test of its process, as tests that run beside it would decide what is logged at all.

use blobaccess::Cas;
use blobaccess_s3_backend::sim::SimS3;
use blobaccess_s3_backend::{BucketOptions, BucketStore};
use blobaccess_testkit::fakes::Warnings;

#[tokio::test(start_paused = true)]
async fn all_that_a_server_lacks_is_said_in_one_line_at_the_start() {
    let (warnings, options) = (Warnings::begin(), BucketOptions::default());
    let sim = SimS3::new(1).nesting_no_keys().completing_unconditionally().listing_backwards();
    let bucket = sim.bucket().unwrap();
    let store = BucketStore::<Cas>::open(bucket.clone(), options.clone()).await.unwrap();
    let expected = ["completions ignore their condition", "listings are in no order", "keys below keys are refused"];
    assert_eq!(store.snapshot().findings.shortcomings(), expected);
    assert!(sim.objects().is_empty());
    drop(BucketStore::<Cas>::open(bucket, options.clone()).await.unwrap());
    let told = warnings.take();
    assert_eq!(told.len(), 1, "{told:?}");
    assert!(expected.iter().all(|lack| told[0].contains(lack)) && told[0].contains("docs/servers.md"), "{told:?}");
    // Of one that lacks nothing, nothing is said.
    let store = BucketStore::<Cas>::open(SimS3::new(1).bucket().unwrap(), options).await.unwrap();
    assert_eq!(store.snapshot().findings.shortcomings(), [""; 0]);
    assert_eq!(warnings.take(), [""; 0]);
}
