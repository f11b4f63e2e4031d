//! The flags of the command line.

use std::path::PathBuf;

use clap::Parser;

/// Meters the uploads of two customers into a bucket, from the upload to the number that a customer sees, and shows that the
/// number is what the bucket has. A process is killed in the middle.
#[derive(Clone, Debug, Parser)]
#[command(name = "metering", version)]
pub(crate) struct Flags {
    /// The bucket: `s3://NAME/PREFIX?endpoint=URL&region=REGION`, `gs://..`, `az://..` or `file:///FOLDER`, with credentials
    /// from the environment (such as `AWS_ACCESS_KEY_ID` and `AWS_SECRET_ACCESS_KEY`), or the path of a directory. An endpoint
    /// without TLS also takes `allow_http=true`. Everything is put below a prefix of its own. [default: a folder in
    /// `--directory`]
    #[arg(long, value_name = "URL")]
    pub(crate) bucket: Option<String>,

    /// The HTTP interface of ClickHouse, such as `http://localhost:8123`, to which rows of operations are delivered and from
    /// which footprints are added up. [default: footprints come from the ledger]
    #[arg(long, value_name = "URL")]
    pub(crate) clickhouse: Option<String>,

    /// A connection string of PostgreSQL, such as `postgres://name@localhost/database`, for the ledger and for the table of
    /// footprints that customers see. [default: files in `--directory`]
    #[arg(long, value_name = "URL")]
    pub(crate) postgres: Option<String>,

    /// Where the journal, the index of owners and, without PostgreSQL, the ledger are. [default: a new folder, deleted at the
    /// end]
    #[arg(long, value_name = "FOLDER")]
    pub(crate) directory: Option<PathBuf>,

    /// How many blobs each customer uploads.
    #[arg(long, value_name = "BLOBS", default_value_t = 60, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub(crate) blobs: u32,

    /// Upload until the process is killed: what the program starts to kill it.
    #[arg(long, hide = true)]
    pub(crate) until_killed: bool,
}
