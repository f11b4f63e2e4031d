//! A remote cache for Bazel: the services over a stack of stores, with metrics and a status page.
//!
//! `cargo run --release --example remote_cache -- --help` lists the flags.

#![expect(clippy::print_stdout, clippy::print_stderr, reason = "it prints how to use it")]

mod activity;
mod blocks;
#[path = "../cached_bucket/stack/mod.rs"]
mod cached_bucket;
mod files;
mod flags;
#[path = "../serving/log.rs"]
mod log;
#[path = "../serving/open_files.rs"]
mod open_files;
#[path = "../serving/pages.rs"]
mod pages;
#[path = "../serving/signals.rs"]
mod signals;
mod stack;
mod status;
mod units;

use std::error::Error;
use std::net::SocketAddr;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;

use blobaccess::{Clock, SystemClock};
use blobaccess_grpc::{ServerTls, ServiceOptions, Services};
use blobaccess_metrics::PrometheusObserver;
use clap::Parser;
use tokio::net::TcpListener;

use activity::Activity;
use flags::Flags;
use stack::Stack;
use status::RemoteCachePages;

/// The system's allocator returns memory after each large request and asks for it again: docs/performance.md.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

type Result<T, E = Box<dyn Error>> = std::result::Result<T, E>;

#[tokio::main]
async fn main() -> ExitCode {
    match run(Flags::parse()).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("remote_cache: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn run(flags: Flags) -> Result<()> {
    log::start(&flags.log, std::io::stderr)?;
    open_files::raise_limit();

    let metrics = Arc::new(PrometheusObserver::new());
    let activity = Arc::new(Activity::new(Arc::<PrometheusObserver>::clone(&metrics)));
    let stack = Stack::build(&flags, &activity).await?;
    let mut services = Services::new(service_options(&flags)?)
        .with_cas(Arc::clone(&stack.cas))
        .with_ac(Arc::clone(&stack.ac))
        .with_iscc(Arc::clone(&stack.iscc))
        .with_fsac(Arc::clone(&stack.fsac));
    services = stack.backend.add_health_checks(services);
    if let Some(tls) = server_tls(&flags)? {
        services = services.with_tls(tls);
    }

    let listener = listen("--listen", flags.listen).await?;
    let status_listener = listen("--status-listen", flags.status_listen).await?;
    let (address, status_address) = (listener.local_addr()?, status_listener.local_addr()?);
    introduce(&flags, &stack, address, status_address);

    let stack = Arc::new(stack);
    let started = SystemClock.monotonic();
    let pages = RemoteCachePages::new(Arc::clone(&stack), services.clone(), metrics, activity, started)?;
    let stopped = signals::stop_signal()?;
    let shutdown = async {
        _ = stopped.await;
        println!("stopping: running calls may finish");
    };
    tokio::select! {
        ended = services.serve(listener, shutdown) => ended?,
        ended = pages::serve(status_listener, Arc::new(pages)) => ended?,
        ended = stack.backend.run() => return Err(ended.into()),
    }
    stack.backend.sync().await?;
    println!("stopped");
    Ok(())
}

fn service_options(flags: &Flags) -> Result<ServiceOptions> {
    let max_message_size = usize::try_from(flags.max_message_size).map_err(|_| "--max-message-size: too large")?;
    Ok(ServiceOptions::default()
        .with_max_message_size_bytes(max_message_size)
        .with_max_open_calls(flags.max_open_calls)
        .with_max_in_flight_bytes(flags.max_in_flight)
        .with_upload_idle_timeout(flags.upload_idle_timeout)
        .with_shutdown_grace(flags.shutdown_grace)
        .with_compression_level((flags.compression_level > 0).then_some(flags.compression_level)))
}

fn server_tls(flags: &Flags) -> Result<Option<ServerTls>> {
    let (Some(certificate), Some(key)) = (&flags.tls_certificate, &flags.tls_key) else {
        return Ok(None);
    };
    let tls = ServerTls::new(read("--tls-certificate", certificate)?, read("--tls-key", key)?);
    Ok(Some(match &flags.tls_client_ca {
        Some(authority) => tls.with_client_authority(read("--tls-client-ca", authority)?),
        None => tls,
    }))
}

/// Reads the file that a flag names. An error names the flag.
fn read(flag: &str, path: &Path) -> Result<String> {
    Ok(std::fs::read_to_string(path).map_err(|error| format!("{flag}: {}: {error}", path.display()))?)
}

async fn listen(flag: &str, address: SocketAddr) -> Result<TcpListener> {
    Ok(TcpListener::bind(address).await.map_err(|error| format!("{flag}: {address}: {error}"))?)
}

/// Prints the stacks, the addresses, and the flags for Bazel.
fn introduce(flags: &Flags, stack: &Stack, address: SocketAddr, status_address: SocketAddr) {
    let scheme = if flags.tls_certificate.is_some() { "grpcs" } else { "grpc" };
    println!("contents:        {}", stack.cas);
    println!("action results:  {}", stack.ac);
    println!("status page:     http://{status_address}/ (metrics: /metrics)");
    println!("flags for Bazel: --remote_cache={scheme}://{address}");
    if flags.compression_level > 0 {
        println!(
            "  from Bazel 5:  --remote_cache_compression (Bazel 5 and 6: --experimental_remote_cache_compression)"
        );
    }
    println!("listening on {scheme}://{address}");
}
