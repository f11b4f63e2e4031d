//! Running a contract: on a runtime of its own, within a bounded time.

use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::thread;
use std::time::Duration;

use blobaccess::{Clock, Error, Result, SystemClock};
use futures::FutureExt;
use futures::future::{Either, LocalBoxFuture, select};

/// The time after which a contract counts as broken, so that a hang is reported. On an idle machine the longest take
/// a few seconds.
const LIMIT: Duration = Duration::from_mins(10);

/// The time by which a paused clock goes on at once.
const TICK: Duration = Duration::from_millis(20);

/// The time that the machine gets for [`TICK`].
const REAL_TICK: Duration = Duration::from_millis(1);

/// Runs a contract, and panics if the store breaks it.
///
/// The contract gets a runtime of several threads, so that its concurrent calls run in parallel.
///
/// # Panics
///
/// If the contract panics, returns an error or does not end within ten minutes.
#[track_caller]
pub fn run(contract: impl Future<Output = Result<()>>) {
    let violation = on_a_runtime(contract).err().map(|error| unexpected(&error));
    assert!(violation.is_none(), "{}", violation.unwrap_or_default());
}

/// Describes an error of a call that the contract expects to succeed, whose trail names the call.
fn unexpected(error: &Error) -> String {
    format!("a call that must succeed failed: {error:?}")
}

/// Runs a contract, and returns whether the store passed it.
///
/// # Errors
///
/// A description of the violation: the message of the contract's panic, or the call that failed and its error.
pub fn check(contract: impl Future<Output = Result<()>>) -> std::result::Result<(), String> {
    // Nothing that the contract used is read afterwards.
    match catch_unwind(AssertUnwindSafe(|| on_a_runtime(contract))) {
        Ok(result) => result.map_err(|error| unexpected(&error)),
        Err(panic) => Err(match (panic.downcast_ref::<String>(), panic.downcast_ref::<&str>()) {
            (Some(message), _) => message.clone(),
            (None, Some(message)) => (*message).to_owned(),
            (None, None) => "the contract panicked without a message".to_owned(),
        }),
    }
}

/// Runs a contract on a runtime whose time is paused, and goes on only when nothing else does: by
/// [`TICK`] at a time, each of which takes at least [`REAL_TICK`]. So what comes from sockets and other threads is not
/// overtaken by alarms.
///
/// # Errors
///
/// The errors of the contract. It panics as the contract does.
#[expect(clippy::disallowed_methods, reason = "threads and sockets of stores need some time of the machine")]
pub(crate) fn on_a_paused_clock<'c>(
    contract: Box<dyn FnOnce() -> LocalBoxFuture<'c, Result<()>> + Send + 'c>,
) -> Result<()> {
    let run = || {
        let mut builder = tokio::runtime::Builder::new_current_thread();
        let runtime = builder.enable_all().start_paused(true).build();
        let runtime = runtime.map_err(|error| Error::internal("no runtime could be started").with_source(error))?;
        let result = runtime.block_on(async {
            let ticking = tokio::spawn(async {
                loop {
                    tokio::time::sleep(TICK).await;
                    drop(tokio::task::spawn_blocking(|| thread::sleep(REAL_TICK)).await);
                }
            });
            let result = contract().await;
            ticking.abort();
            result
        });
        runtime.shutdown_background();
        result
    };
    // A runtime cannot wait for another on one thread.
    match thread::scope(|scope| scope.spawn(run).join()) {
        Ok(result) => result,
        Err(panic) => resume_unwind(panic),
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
            Either::Right(_) => {
                Err(Error::deadline_exceeded(format!("the contract timed out after {} s", LIMIT.as_secs())))
            }
        }
    });
    // Tasks that still hang are left behind.
    runtime.shutdown_background();
    result
}
