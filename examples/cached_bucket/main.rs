//! A local store in front of a bucket: uploads through a queue, each counted once, in a ledger that equals the bucket.
//!
//! `cargo run --release --example cached_bucket -- --help` lists what can be set.

#![expect(clippy::print_stdout, clippy::print_stderr, reason = "an example prints what it did")]

mod flags;
mod stack;
mod verdict;
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

/// The sizes of the local stores for contents and for action results, in bytes.
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
    println!("contents:        {}\naction results:  {}\n{}", stack.cas, stack.ac, stack.describe_server());
    if let Err(error) = check_at_start(&stack, &directory).await {
        stack.stop().await?;
        return Err(error);
    }

    tokio::select! {
        done = work(&flags, &stack) => done?,
        () = print_reports(&stack, every) => {}
        panicked = stack.until_panicked() => return Err(panicked.into()),
    }
    stack.stop().await?;
    println!("{}", stack.describe());
    let mut undecided = Vec::new();
    for (storage_type, scanned, drift) in stack.scan().await? {
        println!("{:<22}{} bytes in {} objects", storage_type.name(), scanned.stored_bytes, scanned.objects);
        undecided.extend(verdict::judge(storage_type, &stack.totals(), &drift)?);
    }
    if flags.metrics {
        println!("{}", stack.metrics());
    }
    if !undecided.is_empty() {
        return Err(undecided.join("; ").into());
    }
    println!("the ledger equals the bucket, to the byte");
    Ok(())
}

/// Compares the ledger with the bucket before anything is put: whatever differs then is not the work of this run.
async fn check_at_start(stack: &CachedBucket, directory: &Path) -> Result<()> {
    for (storage_type, scanned, drift) in stack.scan().await? {
        let (kind, proved) = (storage_type.name(), drift.proved_bytes());
        if proved != 0 {
            return Err(format!(
                "before anything was put, the bucket has {} bytes of {kind}, and the ledger in {} differs by at least \
                 {proved}: it is the ledger of another bucket, or others have changed this one. With an empty --directory, \
                 a new ledger begins with the bytes that are there",
                scanned.stored_bytes,
                directory.display(),
            )
            .into());
        }
    }
    Ok(())
}

/// Puts everything, and asks for it again.
async fn work(flags: &Flags, stack: &CachedBucket) -> Result<()> {
    let scan = async {
        if flags.drift {
            for (storage_type, scanned, drift) in stack.scan().await? {
                let (low, high) = (drift.low_bytes, drift.high_bytes);
                let listed = format!("{} bytes listed while uploads go on", scanned.stored_bytes);
                println!("{:<22}{low} to {high} bytes, of {listed}", format!("drift of {}", storage_type.name()));
                if drift.proved_bytes() != 0 {
                    let proved = drift.proved_bytes();
                    return Err(format!("the ledger differs from the bucket by at least {proved} bytes").into());
                }
            }
        }
        Ok::<_, Box<dyn Error + Send + Sync>>(())
    };
    let puts = async { Ok(workload::put_all(&*stack.cas, &*stack.ac, flags.blobs).await?) };
    futures::try_join!(puts, scan)?;
    let missing = workload::missing(&*stack.cas, flags.blobs).await?;
    if missing.is_empty() { Ok(()) } else { Err(format!("{} blobs are missing that were put", missing.len()).into()) }
}

/// Prints the accounts and the queues at each interval.
async fn print_reports(stack: &CachedBucket, every: Duration) {
    loop {
        SystemClock.sleep_until(SystemClock.monotonic() + every).await;
        println!("{}", stack.describe());
    }
}

/// Opens a local store in a file of `directory`.
async fn local<K: Kind>(directory: &Path, name: &str, bytes: u64) -> Result<Arc<LocalStore<K>>> {
    let options = Options::in_file(directory.join(name), bytes).with_blocks(2, 6, 1);
    Ok(Arc::new(LocalStore::open(options.persistent(SyncPolicy::OnClose)).await?))
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn run_with(arguments: &[&str]) -> Result<(), String> {
        let arguments = ["cached_bucket", "--blobs", "30", "--drift"].iter().chain(arguments);
        run(Flags::parse_from(arguments)).await.map_err(|error| error.to_string())
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_new_ledger_begins_with_what_is_in_the_bucket() {
        let folder = tempfile::tempdir().unwrap();
        let bucket = folder.path().join("bucket").display().to_string();
        for _ in 0..2 {
            run_with(&["--bucket", &bucket]).await.unwrap();
        }
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_ledger_is_told_from_that_of_another_bucket() {
        let folder = tempfile::tempdir().unwrap();
        let name = |name: &str| folder.path().join(name).display().to_string();
        run_with(&["--directory", &name("directory"), "--bucket", &name("bucket")]).await.unwrap();
        let error = run_with(&["--directory", &name("directory"), "--bucket", &name("another")]).await.unwrap_err();
        assert!(error.contains("the ledger of another bucket"), "{error}");
        // The ledger goes on with the bucket that it belongs to.
        run_with(&["--directory", &name("directory"), "--bucket", &name("bucket")]).await.unwrap();
    }
}
