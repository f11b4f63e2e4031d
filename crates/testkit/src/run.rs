//! Runs a contract: on a runtime of its own, within a bounded time.

use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use blobaccess::{Clock, Error, Result, SystemClock};
use futures::FutureExt;
use futures::future::{Either, select};

/// How long a contract may take before it counts as broken: what hangs is to be reported, not waited for. On an idle
/// machine the longest take some seconds.
const LIMIT: Duration = Duration::from_mins(10);

/// Runs a contract, and panics if it is broken.
///
/// It gets a runtime of several threads, so that what it does at once happens at once.
///
/// # Panics
///
/// If the contract panics, returns an error or does not end within ten minutes.
pub fn run(contract: impl Future<Output = Result<()>>) {
    let result = on_a_runtime(contract);
    assert!(result.is_ok(), "the contract met an error that it does not expect: {result:?}");
}

/// Runs a contract, and returns how it was broken, if it was.
///
/// # Errors
///
/// What the contract panicked with or the error that it returned, as text.
pub fn hold(contract: impl Future<Output = Result<()>>) -> std::result::Result<(), String> {
    // Nothing that the contract used is looked at afterwards.
    match catch_unwind(AssertUnwindSafe(|| on_a_runtime(contract))) {
        Ok(result) => result.map_err(|error| format!("{error:?}")),
        Err(panic) => Err(match (panic.downcast_ref::<String>(), panic.downcast_ref::<&str>()) {
            (Some(message), _) => message.clone(),
            (None, Some(message)) => (*message).to_owned(),
            (None, None) => "the contract panicked without a message".to_owned(),
        }),
    }
}

fn on_a_runtime(contract: impl Future<Output = Result<()>>) -> Result<()> {
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    let runtime = builder.worker_threads(4).enable_all().build();
    let runtime = runtime.map_err(|error| Error::internal("no runtime could be started").with_source(error))?;
    let result = runtime.block_on(async {
        let limit = SystemClock.sleep_until(SystemClock.monotonic() + LIMIT);
        match select(contract.boxed_local(), limit).await {
            Either::Left((result, _)) => result,
            Either::Right(_) => Err(Error::deadline_exceeded(format!("not done within {} s", LIMIT.as_secs()))),
        }
    });
    // What still hangs is left behind.
    runtime.shutdown_background();
    result
}
