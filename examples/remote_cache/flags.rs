//! The flags of the command line.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use blobaccess_local_store::SyncPolicy;
use clap::{Parser, ValueEnum};

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

    /// Where to keep everything, in a file for each of contents, action results, initial size classes and file system
    /// access profiles, which survive a restart and a crash. [default: `$XDG_CACHE_HOME/blobaccess`, else `~/.cache/blobaccess`, else `./blobaccess-cache`]
    #[arg(long, value_name = "FOLDER", conflicts_with = "upstream")]
    pub(crate) directory: Option<PathBuf>,

    /// When uploads are made durable: on-put (before an upload is answered), on-close, or a duration after which they
    /// are at the latest. A crash may lose the uploads of that duration.
    #[arg(long, value_name = "WHEN", default_value = "5s", value_parser = sync_policy, conflicts_with = "upstream")]
    pub(crate) sync: SyncPolicy,

    /// Discard the contents of the files if they cannot be used, for example after their sizes were changed.
    #[arg(long, conflicts_with = "upstream")]
    pub(crate) discard: bool,

    /// Read the files through a memory mapping, where a read may wait for the disk anyway. A disk that fails then ends
    /// the process.
    #[arg(long, conflicts_with = "upstream")]
    pub(crate) map_files: bool,

    /// Keep everything in memory instead, until the server stops.
    #[arg(long, conflicts_with_all = ["directory", "sync", "discard", "map_files", "upstream"])]
    pub(crate) in_memory: bool,

    /// Space for contents. It should hold the outputs of a few builds; blobs that were not used recently are evicted. A
    /// file takes all of it at once. The largest blob follows from it. [default: the size of an existing file, else
    /// 10GiB or a quarter of what is free; in memory 2GiB]
    #[arg(long, value_name = "SIZE", value_parser = size)]
    pub(crate) cas_size: Option<u64>,

    /// Space for action results, of about 1 KiB each. [default: the size of an existing file, else 64MiB]
    #[arg(long, value_name = "SIZE", value_parser = size)]
    pub(crate) ac_size: Option<u64>,

    /// Space for the initial size class cache (ISCC) of Buildbarn schedulers. [default: the size of an existing file,
    /// else 16MiB]
    #[arg(long, value_name = "SIZE", value_parser = size)]
    pub(crate) iscc_size: Option<u64>,

    /// Space for the file system access cache (FSAC) of Buildbarn workers. [default: the size of an existing file, else
    /// 16MiB]
    #[arg(long, value_name = "SIZE", value_parser = size)]
    pub(crate) fsac_size: Option<u64>,

    /// Whether an action result is returned only if this server has all of its outputs. Turn it off for a node behind a
    /// frontend that shards: there, the outputs of a result are on other nodes too, and a node that checks them finds
    /// them missing. The frontend must then check; without any check, builds fail on results whose outputs were evicted.
    #[arg(long, value_name = "SWITCH", default_value = "on", conflicts_with = "upstream")]
    pub(crate) completeness_checking: Switch,

    /// Store nothing here, and forward everything to this server: grpc://HOST:PORT or grpcs://HOST:PORT.
    #[arg(long, value_name = "URL")]
    pub(crate) upstream: Option<String>,

    /// The certificate authority (PEM) of the upstream server, in place of those of the system.
    #[arg(long, value_name = "FILE", requires = "upstream")]
    pub(crate) upstream_ca: Option<PathBuf>,

    /// Ping the upstream server when a call has waited for this long, and connect anew if there is no answer within half
    /// of it. 0s pings never. Name less than five minutes only if the server permits that.
    #[arg(long, value_name = "DURATION", value_parser = duration, requires = "upstream", default_value = "310s")]
    pub(crate) upstream_keepalive: Duration,

    /// Keep the files in front of a bucket. Uploads are sent to it in the background, and counted. The URL is
    /// `s3://NAME/PREFIX?endpoint=URL&region=REGION`, `gs://..`, `az://..` or `file:///FOLDER`, with credentials from the
    /// environment (such as `AWS_ACCESS_KEY_ID` and `AWS_SECRET_ACCESS_KEY`), or the path of a directory. An endpoint
    /// without TLS also takes `allow_http=true`.
    #[arg(long, value_name = "URL", conflicts_with_all = ["in_memory", "upstream"])]
    pub(crate) bucket: Option<String>,

    /// Where to keep the ledger of the bucket, and the journal of its uploads. The ledger counts uploads of this server
    /// only. [default: `accounts` in the folder of the files]
    #[arg(long, value_name = "FOLDER", requires = "bucket")]
    pub(crate) accounts: Option<PathBuf>,

    /// Compare the ledger with the bucket at this interval. Each comparison lists all of the bucket.
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

    /// The maximum number of open calls. Further calls are refused.
    #[arg(long, value_name = "CALLS", default_value_t = 4096)]
    pub(crate) max_open_calls: usize,

    /// The maximum number of bytes of uploads under way. Further uploads wait.
    #[arg(long, value_name = "SIZE", default_value = "512MiB", value_parser = size)]
    pub(crate) max_in_flight: u64,

    /// End an upload from which nothing has arrived for this long.
    #[arg(long, value_name = "DURATION", default_value = "1m", value_parser = duration)]
    pub(crate) upload_idle_timeout: Duration,

    /// End any call that takes longer than this, including reading the blob.
    #[arg(long, value_name = "DURATION", default_value = "15m", value_parser = duration)]
    pub(crate) call_timeout: Duration,

    /// How long running calls may go on when the server is told to stop.
    #[arg(long, value_name = "DURATION", default_value = "30s", value_parser = duration)]
    pub(crate) shutdown_grace: Duration,

    /// The log level (error, warn, info, debug or trace), or a filter such as info,blobaccess=debug.
    #[arg(long, value_name = "FILTER", default_value = "info")]
    pub(crate) log: String,
}

/// Something that is done or left out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Switch {
    /// Done.
    On,
    /// Left out.
    Off,
}

/// Parses a number of bytes: digits and a unit.
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

/// Parses a span of time: digits and a unit.
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

/// Parses a sync policy: a name, or a span of time.
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
        assert_eq!(default.completeness_checking, Switch::On);
        assert_eq!(flags(&["--completeness-checking", "off"]).unwrap().completeness_checking, Switch::Off);
        for wrong in [
            &["--in-memory", "--directory", "x"][..],
            &["--in-memory", "--sync", "1s"],
            &["--upstream", "grpc://x:1", "--directory", "x"],
            &["--upstream", "grpc://x:1", "--in-memory"],
            &["--bucket", "b", "--in-memory"],
            &["--bucket", "b", "--upstream", "grpc://x:1"],
            &["--completeness-checking", "off", "--upstream", "grpc://x:1"],
            &["--completeness-checking", "sometimes"],
            &["--accounts", "a"],
            &["--sync", "sometimes"],
            &["--cas-size", "0"],
        ] {
            assert!(flags(wrong).is_err(), "{wrong:?} were taken");
        }
    }
}
