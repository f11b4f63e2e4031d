//! The flags of the command line.

use std::path::PathBuf;

use clap::Parser;

/// Puts blobs of two accounts into local stores in front of a bucket, and shows that the ledger equals the bucket.
#[derive(Debug, Parser)]
#[command(name = "cached_bucket", version)]
pub(crate) struct Flags {
    /// The bucket: `s3://NAME/PREFIX?endpoint=URL&region=REGION`, `gs://..`, `az://..` or `file:///FOLDER`, with
    /// credentials from the environment (such as `AWS_ACCESS_KEY_ID` and `AWS_SECRET_ACCESS_KEY`), or the path of a
    /// directory. An endpoint without TLS also takes `allow_http=true`. A new ledger begins with
    /// the bytes below the prefix; an older one has to be the ledger of this bucket. [default: a folder in `--directory`]
    #[arg(long, value_name = "URL")]
    pub(crate) bucket: Option<String>,

    /// Where the local stores, the ledger and its journal are. [default: a new folder, deleted at the end]
    #[arg(long, value_name = "FOLDER")]
    pub(crate) directory: Option<PathBuf>,

    /// How many blobs to put, in each account.
    #[arg(long, value_name = "BLOBS", default_value_t = 400)]
    pub(crate) blobs: u32,

    /// How often to report, in seconds.
    #[arg(long, value_name = "SECONDS", default_value_t = 2, value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) report_every: u64,

    /// Scan the bucket while uploads go on, and print between which two numbers the drift lies.
    #[arg(long)]
    pub(crate) drift: bool,

    /// Print the metrics at the end, as Prometheus scrapes them.
    #[arg(long)]
    pub(crate) metrics: bool,
}
