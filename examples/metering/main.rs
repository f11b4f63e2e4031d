//! The metering of a site, whole: uploads into a bucket are counted once, reported, added up to footprints, and compared with
//! the bucket. A process is killed in the middle.
//!
//! `cargo run --release --example metering -- --help` lists what can be set.

#![expect(clippy::print_stdout, clippy::print_stderr, reason = "an example prints what it did")]

mod books;
mod customers;
mod flags;
mod killing;
mod site;
mod statement;

use std::error::Error;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use blobaccess::{Clock as _, SystemClock};
use blobaccess_accounting::{FootprintAccumulator, FootprintOptions, FootprintShard};
use clap::Parser;

use flags::Flags;
use site::Site;

type Result<T, E = Box<dyn Error + Send + Sync>> = std::result::Result<T, E>;

/// The lag of footprints. A site with replicas, or with inserts that take long, sets minutes.
const LAG: Duration = Duration::from_secs(1);

/// The time after which all rows that were delivered are older than the lag, by whole seconds.
const UNTIL_COUNTED: Duration = Duration::from_secs(3);

#[tokio::main]
async fn main() -> ExitCode {
    match run(Flags::parse()).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("metering: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn run(flags: Flags) -> Result<()> {
    let temporary = tempfile::tempdir()?;
    let directory = flags.directory.clone().unwrap_or_else(|| temporary.path().to_owned());
    std::fs::create_dir_all(&directory)?;
    if flags.until_killed {
        return upload_until_killed(&flags, &directory).await;
    }
    let blobs = flags.blobs;

    println!("1. Two customers upload {blobs} blobs each, and an action result for every fifth.");
    let site = Site::open(&flags, &directory).await?;
    println!("   {} and {}", site.cas, site.ac);
    for shortcoming in site.shortcomings() {
        println!("   the server lacks: {shortcoming}");
    }
    upload(&site, 0..blobs).await?;
    report(&site).await?;

    println!("2. Both upload the same again.");
    upload(&site, 0..blobs).await?;
    report(&site).await?;
    site.close().await?;

    println!("3. A process uploads {blobs} further blobs of each, and is killed after half of them.");
    killing::run_and_kill(&flags, &directory, blobs).await?;

    println!("4. The next process finds out what became of them, and uploads the rest.");
    let site = Site::open(&flags, &directory).await?;
    println!("   {} process had ended without a word; its uploads have their outcomes", site.recover().await?);
    upload(&site, blobs..2 * blobs).await?;
    report(&site).await?;

    println!("5. The bucket is listed, and compared with what customers were told.");
    let drift = site.scan().await?;
    let footprints = site.books.footprints.active(FootprintShard::ALL, None, 100).await?;
    let (table, are_equal) = statement::comparison(&drift, &footprints);
    print!("{table}");
    site.close().await?;
    if !are_equal {
        let (low, high) = (drift.total.interval.low_bytes, drift.total.interval.high_bytes);
        return Err(
            format!("the footprints are not what is in the bucket; the ledger has {low} to {high} bytes more").into()
        );
    }
    println!("reported = actual");
    Ok(())
}

/// Uploads the blobs with these numbers for both customers.
async fn upload(site: &Site, numbers: std::ops::Range<u32>) -> Result<()> {
    Ok(customers::upload(&site.cas, &site.ac, numbers, || ()).await?)
}

/// Uploads as long as the process lives, and reports nothing.
async fn upload_until_killed(flags: &Flags, directory: &Path) -> Result<()> {
    let site = Site::open(flags, directory).await?;
    customers::upload(&site.cas, &site.ac, flags.blobs..2 * flags.blobs, || println!("{}", killing::UPLOADED)).await?;
    std::future::pending().await
}

/// Reports as a program does every minute, runs the accumulator as one does every quarter of an hour, and prints the accounts.
async fn report(site: &Site) -> Result<()> {
    site.report().await?;
    if site.books.rows.is_some() {
        SystemClock.sleep_until(SystemClock.monotonic() + UNTIL_COUNTED).await;
    }
    let (source, table) = (Arc::clone(&site.books.source), Arc::clone(&site.books.footprints));
    let run = FootprintAccumulator::new(source, table, FootprintOptions::new().with_lag(LAG)).run_once().await;
    if let Some(failure) = run.failures.first() {
        return Err(format!("the footprint of {} failed: {}", failure.name, failure.error).into());
    }
    let footprints = site.books.footprints.active(FootprintShard::ALL, None, 100).await?;
    print!("{}", statement::uploads(&site.books.ledger.totals(None).await?, &footprints));
    println!("   the accumulator looked at {run}");
    Ok(())
}
