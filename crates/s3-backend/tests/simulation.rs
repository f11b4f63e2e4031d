//! The count of created blobs equals the contents of the bucket, whatever faults happen.
//!
//! `BLOBACCESS_RANDOMISED_SECONDS` sets how long this goes on (30), `BLOBACCESS_SIM_SEED` repeats a run.
#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::disallowed_methods,
    reason = "helpers of tests fail so, and there is a budget of time"
)]

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use blobaccess::{
    Ac, Blob, BlobAccess, Cas, Context, Digest, DigestFunction, InstanceName, Kind, PutCertainty, PutOutcome,
    ResolveUpload, UploadResolution, UploadToken,
};
use blobaccess_s3_backend::object_store::path::Path;
use blobaccess_s3_backend::object_store::{self, ObjectStore, PutMode, PutOptions};
use blobaccess_s3_backend::sim::{FaultPlan, SimS3};
use blobaccess_s3_backend::{BucketOptions, BucketStore};
use blobaccess_testkit::{Numbers, seed, time_budget};
use futures::{StreamExt, stream};

/// Puts in one round, of which two in three are of what another puts as well.
const PUTS: u64 = 1_200;
const DISTINCT: u64 = 400;
const CONCURRENT: usize = 24;

/// Checks many rounds. Each draws its mix of faults, its sizes and its repetitions from its seed.
fn mix(numbers: &mut Numbers) -> FaultPlan {
    let kinds = numbers.draw();
    let mut some = |bit: u32| if kinds >> bit & 1 == 1 { u16::try_from(numbers.draw() % 40).unwrap() } else { 0 };
    FaultPlan::NONE
        .with_lost_after_commit(some(0))
        .with_reset_after_commit(some(1))
        .with_closed_before_commit(some(2))
        .with_not_connected(some(3))
        .with_error_after_commit(some(4))
        .with_unavailable_after_commit(some(5))
        .with_throttled(some(6))
        .with_too_many(some(7))
        .with_conflict(some(8))
        .with_sent_twice(some(9))
        .with_hang_after_commit(some(10))
        .with_late(some(11))
        .with_slow(some(12))
        .with_truncated(some(13))
}

fn contents(number: u64) -> Vec<u8> {
    let mut contents = vec![0; 16 + usize::try_from(number % 50).unwrap()];
    contents[..8].copy_from_slice(&number.to_le_bytes());
    contents
}

fn options() -> BucketOptions {
    BucketOptions::default().with_attempt_timeout(Duration::from_secs(5)).with_ask_first_from_bytes(40)
}

/// The counts of a round.
#[derive(Debug, Default)]
struct Counted {
    puts: u64,
    created: u64,
    created_bytes: u64,
    exists: u64,
    failed: u64,
    ambiguous: u64,
}

/// Puts in the number that each is to be drawn by, and whose token is that number.
fn plan(numbers: &mut Numbers) -> Vec<(u64, UploadToken)> {
    (0..PUTS)
        .map(|_| {
            let mut token = [0; 16];
            token[..8].copy_from_slice(&numbers.draw().to_le_bytes());
            token[8..].copy_from_slice(&numbers.draw().to_le_bytes());
            (numbers.draw() % DISTINCT, UploadToken::from_bytes(token))
        })
        .collect()
}

fn key(number: u64) -> (Digest, Vec<u8>) {
    let contents = contents(number);
    (Digest::of(InstanceName::empty(), DigestFunction::Sha256, &contents), contents)
}

async fn round(seed: u64, sim: SimS3) -> Counted {
    let mut numbers = Numbers::new(seed);
    let bucket = sim.bucket().unwrap();
    let store = Arc::new(BucketStore::<Cas>::open(bucket, options()).await.unwrap());
    sim.set_faults(mix(&mut numbers));
    let puts = plan(&mut numbers);
    let results: Vec<_> = stream::iter(puts)
        .map(|(number, token)| {
            let store = Arc::clone(&store);
            async move {
                let (digest, contents) = key(number);
                let ctx = Context::background().with_upload_token(token);
                let result = store.put(&ctx, &digest, Blob::from_bytes(contents)).await;
                (digest, token, result)
            }
        })
        .buffer_unordered(CONCURRENT)
        .collect()
        .await;
    sim.set_faults(FaultPlan::NONE);
    // What was given up may arrive late.
    sim.settle();
    let mut counted = Counted::default();
    let mut creators: BTreeMap<String, u32> = BTreeMap::new();
    for (digest, token, result) in results {
        counted.puts += 1;
        match result {
            Ok(PutOutcome::Created { stored_bytes }) => {
                counted.created += 1;
                counted.created_bytes += stored_bytes;
                *creators.entry(digest.to_string()).or_default() += 1;
            }
            Ok(PutOutcome::AlreadyExists { .. }) => counted.exists += 1,
            Ok(other) => panic!("seed {seed}: {digest} came to {other:?}"),
            Err(error) if error.put_certainty() == PutCertainty::NotStored => {
                counted.failed += 1;
                let resolved = store.resolve_upload(&Context::background(), &digest, &token).await.unwrap();
                assert!(!matches!(resolved, UploadResolution::Mine { .. }), "seed {seed}: {error} stored {digest}");
            }
            Err(_) => {
                // As a journal does: whoever failed so asks again later.
                counted.ambiguous += 1;
                if let UploadResolution::Mine { stored_bytes } =
                    store.resolve_upload(&Context::background(), &digest, &token).await.unwrap()
                {
                    counted.created += 1;
                    counted.created_bytes += stored_bytes;
                    *creators.entry(digest.to_string()).or_default() += 1;
                }
            }
        }
    }
    let objects = sim.objects();
    assert!(creators.values().all(|count| *count == 1), "seed {seed}: an object was created twice");
    assert_eq!(counted.created, u64::try_from(objects.len()).unwrap(), "seed {seed}: objects; {counted:?}");
    assert_eq!(counted.created_bytes, objects.values().sum::<u64>(), "seed {seed}: bytes; {counted:?}");
    counted
}

/// Measures how far a count by the plain client library, with its own retries, is off.
async fn plain_round(seed: u64, sim: SimS3) -> (u64, i64) {
    let mut numbers = Numbers::new(seed);
    let client = sim.builder().with_http_connector(sim.clone()).build().unwrap();
    let client = Arc::new(client);
    sim.set_faults(mix(&mut numbers));
    let puts = plan(&mut numbers);
    let created: u64 = stream::iter(puts)
        .map(|(number, _)| {
            let client = Arc::clone(&client);
            async move {
                let (digest, contents) = key(number);
                let path = Path::from(digest.hash().to_string());
                let options = PutOptions { mode: PutMode::Create, ..PutOptions::default() };
                let put = client.put_opts(&path, contents.into(), options);
                match tokio::time::timeout(Duration::from_secs(30), put).await {
                    Ok(Ok(_)) => 1,
                    Ok(Err(object_store::Error::AlreadyExists { .. } | _)) | Err(_) => 0,
                }
            }
        })
        .buffer_unordered(CONCURRENT)
        .fold(0, |sum, created: u64| async move { sum + created })
        .await;
    sim.settle();
    let objects = u64::try_from(sim.objects().len()).unwrap();
    (objects, i64::try_from(created).unwrap() - i64::try_from(objects).unwrap())
}

#[tokio::test(start_paused = true)]
async fn what_is_counted_as_created_is_what_is_in_the_bucket() {
    let (begin, budget, first) = (Instant::now(), time_budget(), seed("BLOBACCESS_SIM_SEED"));
    let mut total = Counted::default();
    let (mut faults, mut plain_objects, mut plain_off, mut rounds) = (0, 0, 0, 0);
    for seed in first.. {
        let sim = if seed % 3 == 0 { SimS3::new(seed).answering_not_modified() } else { SimS3::new(seed) };
        let counted = round(seed, sim.clone()).await;
        faults += sim.faults();
        total.puts += counted.puts;
        total.created += counted.created;
        total.created_bytes += counted.created_bytes;
        total.exists += counted.exists;
        total.failed += counted.failed;
        total.ambiguous += counted.ambiguous;
        let (objects, off) = plain_round(seed, SimS3::new(seed)).await;
        plain_objects += objects;
        plain_off += off;
        rounds += 1;
        // One round in some ten thousand draws a mix of no faults.
        if begin.elapsed() > budget && rounds > 2 {
            break;
        }
    }
    println!("{rounds} rounds, {faults} faults: {total:?}");
    println!("the plain client over the same: {plain_off} of {plain_objects} objects");
    assert!(faults > 0);
}

/// Counts the entries whose outcomes were all known.
async fn replacing_round(seed: u64) -> u64 {
    let mut numbers = Numbers::new(seed);
    let sim = SimS3::new(seed);
    let store = Arc::new(BucketStore::<Ac>::open(sim.bucket().unwrap(), options()).await.unwrap());
    // What a proxy sends twice may be replaced by another before we ask whose it is: of messages that is not told.
    let faults = mix(&mut numbers).with_sent_twice(0);
    sim.set_faults(faults);
    // What arrives late, after it was tried again with success, finds its condition met again once somebody puts the value
    // that it was to replace: nobody can tell, as an `ETag` is that of the contents. So then no two put the same.
    let same = faults.late == 0;
    let puts: Vec<_> = (0..300_u16).map(|put| (put, numbers.draw() % 20, numbers.draw() % 60)).collect();
    let results: Vec<_> = stream::iter(puts)
        .map(|(put, action, size)| {
            let store = Arc::clone(&store);
            async move {
                let (digest, _) = key(action);
                let mut value = vec![u8::try_from(size).unwrap(); 1 + usize::try_from(size).unwrap()];
                value.extend(if same { [0; 2] } else { put.to_le_bytes() });
                (action, store.put(&Context::background(), &digest, Blob::from_bytes(value)).await)
            }
        })
        .buffer_unordered(8)
        .collect()
        .await;
    sim.set_faults(FaultPlan::NONE);
    sim.settle();
    // By action what its puts come to, or nothing if one of them is not told.
    let mut nets: BTreeMap<u64, Option<i128>> = BTreeMap::new();
    for (action, result) in results {
        let change = match result {
            Ok(PutOutcome::Created { stored_bytes }) => Some(i128::from(stored_bytes)),
            Ok(PutOutcome::Replaced { stored_bytes, old_bytes }) => {
                Some(i128::from(stored_bytes) - i128::from(old_bytes))
            }
            Ok(PutOutcome::AlreadyExists { .. }) => Some(0),
            Ok(PutOutcome::Unclassified { .. }) => None,
            Err(error) => (error.put_certainty() == PutCertainty::NotStored).then_some(0),
        };
        let net = nets.entry(action).or_insert(Some(0));
        *net = net.zip(change).map(|(net, change)| net + change);
    }
    let objects = sim.objects();
    let mut told = 0;
    for (action, net) in nets {
        let Some(net) = net else { continue };
        told += 1;
        let hash = key(action).0.hash().to_string();
        let stored = objects.iter().find(|(key, _)| key.contains(&hash)).map_or(0, |(_, bytes)| i128::from(*bytes));
        assert_eq!(net, stored, "seed {seed}: bytes of {} {action}", Ac::STORAGE_TYPE.name());
    }
    told
}

#[tokio::test(start_paused = true)]
async fn what_is_replaced_is_counted_with_both_sizes() {
    let (begin, budget, first) = (Instant::now(), time_budget() / 3, seed("BLOBACCESS_SIM_SEED"));
    let mut told = 0;
    for seed in first.. {
        told += replacing_round(seed).await;
        if begin.elapsed() > budget {
            println!("{} rounds, {told} entries that were told whole", seed - first + 1);
            break;
        }
    }
}
