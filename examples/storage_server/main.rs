//! A storage server that takes the configuration files of Buildbarn's `bb_storage` as they are.
//!
//! `cargo run --release --locked --example storage_server -- storage.jsonnet` starts it; `--help` lists what else it
//! does. [docs/configuration.md](../../docs/configuration.md) says what of a file has an effect.

#![expect(clippy::print_stdout, clippy::print_stderr, reason = "it prints what it does")]

mod flags;
#[path = "../serving/log.rs"]
mod log;
mod log_files;
#[path = "../serving/open_files.rs"]
mod open_files;
#[path = "../serving/pages.rs"]
mod pages;
mod server;
#[path = "../serving/signals.rs"]
mod signals;
mod site;

use std::error::Error;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;

use blobaccess_config::{Application, Document, Environment, Faults, Registry, json_schema};
use blobaccess_metrics::PrometheusObserver;
use clap::Parser;
use tokio::signal::unix::SignalKind;

use flags::Flags;
use log_files::LogFiles;

/// The system's allocator returns memory after each large request and asks for it again: docs/performance.md.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// The message that a file is.
const SCHEMA_OF: &str = "buildbarn.configuration.bb_storage.ApplicationConfiguration";

type Result<T, E = Box<dyn Error + Send + Sync>> = std::result::Result<T, E>;

/// The way in which a server ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    /// It had nothing to serve.
    Done,
    /// It was told to stop, by this signal.
    Stopped(SignalKind),
}

fn main() -> ExitCode {
    let flags = match Flags::try_parse() {
        Ok(flags) => flags,
        Err(error) => {
            drop(error.print());
            // Help is no error. Everything else ends as it does in Buildbarn.
            return if error.use_stderr() { ExitCode::FAILURE } else { ExitCode::SUCCESS };
        }
    };
    match run(&flags) {
        Ok(End::Done) => ExitCode::SUCCESS,
        Ok(End::Stopped(signal)) => end_by(signal),
        Err(error) => {
            eprintln!("storage_server: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Ends the process by the signal that it was told to stop by, so that its parent sees why. A container's first process
/// cannot end so: it exits with 128 and the number of the signal, as shells do.
fn end_by(signal: SignalKind) -> ExitCode {
    let number = signal.as_raw_value();
    if std::process::id() != 1 {
        drop(signal_hook::low_level::emulate_default_handler(number));
    }
    u8::try_from(number + 128).map_or(ExitCode::FAILURE, ExitCode::from)
}

fn run(flags: &Flags) -> Result<End> {
    let Some(file) = &flags.file else {
        print!("{}", json_schema(SCHEMA_OF).unwrap_or_default());
        return Ok(End::Done);
    };
    let unusable = |faults: Faults| format!("{} cannot be used:\n{faults}", file.display());
    let metrics = Arc::new(PrometheusObserver::new());
    let application = read(file, &metrics).map_err(unusable)?;
    if !flags.check {
        print!("{application}");
    }
    for notice in application.notices() {
        println!("notice: {notice}");
    }
    if flags.check || flags.describe {
        let runtime = tokio::runtime::Builder::new_current_thread().build()?;
        runtime.block_on(application.inspect()).map_err(unusable)?;
        return Ok(End::Done);
    }
    // The file may set another limit.
    open_files::raise_limit();
    application.process().apply()?;
    log::start(&flags.log, LogFiles::open(application.process().log_paths())?)?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(server::run(application, metrics))
}

/// Reads and checks a file. Nothing else is opened but what the file names to be read.
fn read(file: &Path, metrics: &Arc<PrometheusObserver>) -> Result<Application, Faults> {
    let document = Document::from_jsonnet_file(file, &Environment::of_process())?;
    let registry = Registry::new()
        .with_observer(Arc::<PrometheusObserver>::clone(metrics))
        .with_client_observer(Arc::new(metrics.client_calls()));
    Application::from_document(&document, &registry)
}
