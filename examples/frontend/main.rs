//! The frontend of a cluster: it stores nothing, and spreads blobs over storage nodes.
//!
//! `cargo run --release --example frontend -- --help` lists the flags. Each node is a `remote_cache` with
//! `--completeness-checking off`: the outputs of a result are on all nodes together, so that only the frontend can check
//! whether they are there.

#![expect(clippy::print_stdout, clippy::print_stderr, reason = "it prints how to use it")]

mod flags;
#[path = "../serving/log.rs"]
mod log;
#[path = "../serving/open_files.rs"]
mod open_files;
#[path = "../serving/signals.rs"]
mod signals;
mod stack;

use std::error::Error;
use std::process::ExitCode;

use blobaccess_grpc::{ServiceOptions, Services};
use clap::Parser;
use tokio::net::TcpListener;

use flags::Flags;
use stack::Stack;

type Result<T, E = Box<dyn Error>> = std::result::Result<T, E>;

#[tokio::main]
async fn main() -> ExitCode {
    match run(Flags::parse()).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("frontend: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn run(flags: Flags) -> Result<()> {
    log::start(&flags.log, std::io::stderr)?;
    open_files::raise_limit();

    let Stack { cas, ac, iscc, fsac } = Stack::build(&flags.shards)?;
    println!("contents:        {cas}");
    println!("action results:  {ac}");
    let services = Services::new(ServiceOptions::default()).with_cas(cas).with_ac(ac).with_iscc(iscc).with_fsac(fsac);

    let listener = TcpListener::bind(flags.listen).await.map_err(|error| format!("--listen: {error}"))?;
    let address = listener.local_addr()?;
    println!("flags for Bazel: --remote_cache=grpc://{address}");
    println!("listening on grpc://{address}");
    let stopped = signals::stop_signal()?;
    Ok(services.serve(listener, async { _ = stopped.await }).await?)
}
