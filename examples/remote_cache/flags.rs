//! What can be said on the command line.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::Parser;

/// A remote cache for Bazel and other clients of the Remote Execution API, in memory or in files.
///
/// Sizes take units: 500MiB, 2GiB. Durations too: 30s, 5m.
#[derive(Debug, Parser)]
#[command(name = "remote_cache", version)]
pub(crate) struct Flags {
    /// Where to listen for clients.
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:8980")]
    pub(crate) listen: SocketAddr,

    /// Where to serve the status page (/) and metrics for Prometheus (/metrics), over HTTP.
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:8981")]
    pub(crate) status_listen: SocketAddr,

    /// Keep everything in files in this folder, where it survives a restart and a crash, rather than in memory.
    #[arg(long, value_name = "FOLDER", conflicts_with = "upstream")]
    pub(crate) directory: Option<PathBuf>,

    /// How often what is in the files is made durable: what a crash may lose is what came since.
    #[arg(long, value_name = "DURATION", default_value = "5s", value_parser = duration, requires = "directory")]
    pub(crate) sync_interval: Duration,

    /// Room for blobs. Should hold the outputs of a few builds; what was used least lately goes.
    #[arg(long, value_name = "SIZE", default_value = "2GiB", value_parser = size)]
    pub(crate) cas_size: u64,

    /// Room for action results, of about 1 KiB each.
    #[arg(long, value_name = "SIZE", default_value = "64MiB", value_parser = size)]
    pub(crate) ac_size: u64,

    /// Keep nothing here, but pass everything on to this server: grpc://HOST:PORT or grpcs://HOST:PORT.
    #[arg(long, value_name = "URL")]
    pub(crate) upstream: Option<String>,

    /// The certificate authority (PEM) to know the upstream server by, in place of those of the system.
    #[arg(long, value_name = "FILE", requires = "upstream")]
    pub(crate) upstream_ca: Option<PathBuf>,

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

fn split(text: &str) -> Result<(u64, &str), String> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at(digits);
    let number = number.parse().map_err(|_| format!("{text:?} does not begin with a whole number"))?;
    Ok((number, unit.trim()))
}
