//! A local store in front of a bucket: uploads through a queue, each counted once, in a ledger that equals the bucket.
//!
//! `cargo run --release --example cached_bucket -- --help` lists what can be set.

#![expect(clippy::print_stdout, clippy::print_stderr, reason = "it tells whoever starts it what it does")]

mod flags;
mod stack;
mod workload;

use std::error::Error;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use blobaccess::{Clock, Kind, SystemClock};
use blobaccess_local_store::{LocalStore, Options, SyncPolicy};
use clap::Parser;

use flags::Flags;
use stack::CachedBucket;

type Result<T, E = Box<dyn Error + Send + Sync>> = std::result::Result<T, E>;

/// Room for contents in the local store, in bytes, and for action results.
const CAS_BYTES: u64 = 256 << 20;
const AC_BYTES: u64 = 16 << 20;

#[tokio::main]
async fn main() -> ExitCode {
    match run(Flags::parse()).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("cached_bucket: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn run(flags: Flags) -> Result<()> {
    let temporary = tempfile::tempdir()?;
    let directory = flags.directory.clone().unwrap_or_else(|| temporary.path().to_owned());
    std::fs::create_dir_all(&directory)?;
    let bucket = match &flags.bucket {
        Some(bucket) => bucket.clone(),
        None => directory.join("bucket").display().to_string(),
    };
    let every = Duration::from_secs(flags.report_every);
    let (cas, ac) = (local(&directory, "cas", CAS_BYTES).await?, local(&directory, "ac", AC_BYTES).await?);
    let stack = CachedBucket::open(&bucket, &directory.join("accounts"), every, cas, ac).await?;
    println!("contents:        {}\naction results:  {}\n", stack.cas, stack.ac);

    tokio::select! {
        done = work(&flags, &stack) => done?,
        () = print_reports(&stack, every) => {}
    }
    stack.stop().await?;
    println!("{}", stack.describe());
    for (storage_type, scanned, drift) in stack.scan().await? {
        println!("{:<22}{} bytes in {} objects", storage_type.name(), scanned.stored_bytes, scanned.objects);
        assert_eq!((drift.low_bytes, drift.high_bytes), (0, 0), "the ledger is not what is in the bucket");
    }
    if flags.metrics {
        println!("{}", stack.metrics());
    }
    println!("the ledger is what is in the bucket, to the byte");
    Ok(())
}

/// Puts everything, and asks for it again.
async fn work(flags: &Flags, stack: &CachedBucket) -> Result<()> {
    let scan = async {
        if flags.drift {
            for (storage_type, scanned, drift) in stack.scan().await? {
                let (low, high) = (drift.low_bytes, drift.high_bytes);
                let of = format!("{} bytes listed while uploads go on", scanned.stored_bytes);
                println!("{:<22}{low} to {high} bytes, of {of}", format!("drift of {}", storage_type.name()));
                assert!(low <= 0 && high >= 0, "the drift is proved to be {} bytes", drift.proved_bytes());
            }
        }
        Ok(())
    };
    futures::try_join!(workload::put_all(&*stack.cas, &*stack.ac, flags.blobs), scan)?;
    let missing = workload::missing(&*stack.cas, flags.blobs).await?;
    assert!(missing.is_empty(), "{} blobs are missing that were put", missing.len());
    Ok(())
}

/// Prints what there is, again and again.
async fn print_reports(stack: &CachedBucket, every: Duration) {
    loop {
        SystemClock.sleep_until(SystemClock.monotonic() + every).await;
        println!("{}", stack.describe());
    }
}

/// A local store in a file of `directory`.
async fn local<K: Kind>(directory: &Path, name: &str, bytes: u64) -> Result<Arc<LocalStore<K>>> {
    let options = Options::in_file(directory.join(name), bytes).with_blocks(2, 6, 1);
    Ok(Arc::new(LocalStore::open(options.persistent(SyncPolicy::OnClose)).await?))
}
