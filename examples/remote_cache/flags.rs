//! What can be said on the command line.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use blobaccess_local_store::SyncPolicy;
use clap::Parser;

/// A remote cache for Bazel and other clients of the Remote Execution API, in files of fixed size.
///
/// Sizes take units: 500MiB, 2GiB. Durations too: 30s, 5m.
#[derive(Debug, Parser)]
#[command(name = "remote_cache", version)]
#[expect(clippy::struct_excessive_bools, reason = "each is a flag of its own on the command line")]
pub(crate) struct Flags {
    /// Where to listen for clients.
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:8980")]
    pub(crate) listen: SocketAddr,

    /// Where to serve the status page (/) and metrics for Prometheus (/metrics), over HTTP.
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:8981")]
    pub(crate) status_listen: SocketAddr,

    /// Where to keep everything, in one file for contents and one for action results, which survive a restart and a
    /// crash. [default: `$XDG_CACHE_HOME/blobaccess`, else `~/.cache/blobaccess`, else `./blobaccess-cache`]
    #[arg(long, value_name = "FOLDER", conflicts_with = "upstream")]
    pub(crate) directory: Option<PathBuf>,

    /// When what is in the files is made durable: on-put (before an upload is answered), on-close, or so long after it
    /// at the latest, which is what a crash may lose.
    #[arg(long, value_name = "WHEN", default_value = "5s", value_parser = sync_policy, conflicts_with = "upstream")]
    pub(crate) sync: SyncPolicy,

    /// Throw away what the files hold, if it cannot be gone on with: after their sizes were changed, for example.
    #[arg(long, conflicts_with = "upstream")]
    pub(crate) discard: bool,

    /// Map the files, where reading them may wait for the disk anyway. Then a disk that fails ends the process.
    #[arg(long, conflicts_with = "upstream")]
    pub(crate) map_files: bool,

    /// Keep everything in memory instead, until the server stops.
    #[arg(long, conflicts_with_all = ["directory", "sync", "discard", "map_files", "upstream"])]
    pub(crate) in_memory: bool,

    /// Room for blobs. Should hold the outputs of a few builds; what was used least lately goes. A file takes all of it
    /// at once. [default: that of the file that is there, else 10GiB or a quarter of what is free; in memory 2GiB]
    #[arg(long, value_name = "SIZE", value_parser = size)]
    pub(crate) cas_size: Option<u64>,

    /// Room for action results, of about 1 KiB each. [default: that of the file that is there, else 64MiB]
    #[arg(long, value_name = "SIZE", value_parser = size)]
    pub(crate) ac_size: Option<u64>,

    /// Keep nothing here, but pass everything on to this server: grpc://HOST:PORT or grpcs://HOST:PORT.
    #[arg(long, value_name = "URL")]
    pub(crate) upstream: Option<String>,

    /// The certificate authority (PEM) to know the upstream server by, in place of those of the system.
    #[arg(long, value_name = "FILE", requires = "upstream")]
    pub(crate) upstream_ca: Option<PathBuf>,

    /// Keep the files in front of a bucket, to which everything is uploaded behind those who put, and counted: a URL,
    /// `s3://NAME/PREFIX?endpoint=URL&region=REGION` with credentials from the environment (as `AWS_ACCESS_KEY_ID` and
    /// `AWS_SECRET_ACCESS_KEY`), or the path of a directory.
    #[arg(long, value_name = "URL", conflicts_with_all = ["in_memory", "upstream"])]
    pub(crate) bucket: Option<String>,

    /// Where to keep the ledger of the bucket, and the journal of its uploads. Only what is uploaded by way of this
    /// ledger is in it. [default: `accounts` in the folder of the files]
    #[arg(long, value_name = "FOLDER", requires = "bucket")]
    pub(crate) accounts: Option<PathBuf>,

    /// Compare the ledger with what is in the bucket so often, which takes a listing of all of it.
    #[arg(long, value_name = "DURATION", value_parser = duration, requires = "bucket")]
    pub(crate) scan_every: Option<Duration>,

    /// Refuse uploads.
    #[arg(long)]
    pub(crate) read_only: bool,

    /// Serve over TLS, with this certificate chain (PEM).
    #[arg(long, value_name = "FILE", requires = "tls_key")]
    pub(crate) tls_certificate: Option<PathBuf>,

    /// The private key of the certificate (PEM).
    #[arg(long, value_name = "FILE", requires = "tls_certificate")]
    pub(crate) tls_key: Option<PathBuf>,

    /// Serve only clients with a certificate of this authority (PEM).
    #[arg(long, value_name = "FILE", requires = "tls_certificate")]
    pub(crate) tls_client_ca: Option<PathBuf>,

    /// The zstd level for clients that ask for compression, 1 to 19; 0 offers none.
    #[arg(long, value_name = "LEVEL", default_value_t = 1, value_parser = clap::value_parser!(i32).range(0..=19))]
    pub(crate) compression_level: i32,

    /// The largest message. Clients take 4 MiB unless told otherwise.
    #[arg(long, value_name = "SIZE", default_value = "4MiB", value_parser = size)]
    pub(crate) max_message_size: u64,

    /// How many calls may be open at once; one more is refused.
    #[arg(long, value_name = "CALLS", default_value_t = 4096)]
    pub(crate) max_open_calls: usize,

    /// How many bytes of uploads may be on their way at once; more wait.
    #[arg(long, value_name = "SIZE", default_value = "512MiB", value_parser = size)]
    pub(crate) max_in_flight: u64,

    /// End an upload that has been silent for so long.
    #[arg(long, value_name = "DURATION", default_value = "1m", value_parser = duration)]
    pub(crate) upload_idle_timeout: Duration,

    /// End any call that takes longer, reading the blob included.
    #[arg(long, value_name = "DURATION", default_value = "15m", value_parser = duration)]
    pub(crate) call_timeout: Duration,

    /// How long running calls may go on when the server is told to stop.
    #[arg(long, value_name = "DURATION", default_value = "30s", value_parser = duration)]
    pub(crate) shutdown_grace: Duration,

    /// What to log: error, warn, info, debug or trace, or a filter such as info,blobaccess=debug.
    #[arg(long, value_name = "FILTER", default_value = "info")]
    pub(crate) log: String,
}

/// A number of bytes: digits and a unit.
fn size(text: &str) -> Result<u64, String> {
    let (number, unit) = split(text)?;
    let factor: u64 = match unit {
        "" | "B" => 1,
        "KiB" | "K" => 1 << 10,
        "MiB" | "M" => 1 << 20,
        "GiB" | "G" => 1 << 30,
        "TiB" | "T" => 1 << 40,
        other => return Err(format!("unit {other:?} is none of B, KiB, MiB, GiB and TiB")),
    };
    number.checked_mul(factor).filter(|&bytes| bytes > 0).ok_or_else(|| "size must be between 1 B and 16 EiB".into())
}

/// A span of time: digits and a unit.
fn duration(text: &str) -> Result<Duration, String> {
    let (number, unit) = split(text)?;
    match unit {
        "ms" => Ok(Duration::from_millis(number)),
        "" | "s" => Ok(Duration::from_secs(number)),
        "m" => Ok(Duration::from_secs(number.saturating_mul(60))),
        "h" => Ok(Duration::from_secs(number.saturating_mul(3600))),
        other => Err(format!("unit {other:?} is none of ms, s, m and h")),
    }
}

/// When to sync: by name, or a span of time.
fn sync_policy(text: &str) -> Result<SyncPolicy, String> {
    match text {
        "on-put" => Ok(SyncPolicy::OnPut),
        "on-close" => Ok(SyncPolicy::OnClose),
        _ => duration(text).map(SyncPolicy::Interval).map_err(|error| format!("neither on-put nor on-close: {error}")),
    }
}

fn split(text: &str) -> Result<(u64, &str), String> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at(digits);
    let number = number.parse().map_err(|_| format!("{text:?} does not begin with a whole number"))?;
    Ok((number, unit.trim()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_the_default_and_whatever_else_is_asked_for_excludes_them() {
        let flags = |more: &[&str]| Flags::try_parse_from([&["remote_cache"], more].concat());
        let default = flags(&[]).unwrap();
        assert!(!default.in_memory && default.upstream.is_none());
        assert_eq!(default.sync, SyncPolicy::Interval(Duration::from_secs(5)));
        assert_eq!(flags(&["--sync", "on-put"]).unwrap().sync, SyncPolicy::OnPut);
        assert_eq!(flags(&["--cas-size", "3GiB"]).unwrap().cas_size, Some(3 << 30));
        assert!(flags(&["--in-memory"]).is_ok());
        for wrong in [
            &["--in-memory", "--directory", "x"][..],
            &["--in-memory", "--sync", "1s"],
            &["--upstream", "grpc://x:1", "--directory", "x"],
            &["--upstream", "grpc://x:1", "--in-memory"],
            &["--bucket", "b", "--in-memory"],
            &["--bucket", "b", "--upstream", "grpc://x:1"],
            &["--accounts", "a"],
            &["--sync", "sometimes"],
            &["--cas-size", "0"],
        ] {
            assert!(flags(wrong).is_err(), "{wrong:?} were taken");
        }
    }
}
