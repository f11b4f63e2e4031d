//! The signals that tell a server to stop.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::signal::unix::{SignalKind, signal};

/// Returns a future that ends when the process is told to stop: by SIGTERM, or from the keyboard. It returns the signal.
///
/// A second signal ends the process at once, whatever it waits for: calls that do not end, or a disk that does not answer.
pub(crate) fn stop_signal() -> io::Result<impl Future<Output = SignalKind> + Send> {
    let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    let is_stopping = Arc::new(AtomicBool::new(false));
    for kind in [SignalKind::terminate(), SignalKind::interrupt()] {
        signal_hook::flag::register_conditional_default(kind.as_raw_value(), Arc::clone(&is_stopping))?;
    }
    Ok(async move {
        let told = tokio::select! {
            _ = terminate.recv() => SignalKind::terminate(),
            _ = interrupt.recv() => SignalKind::interrupt(),
        };
        is_stopping.store(true, Ordering::SeqCst);
        told
    })
}
