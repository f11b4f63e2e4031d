//! The signals that tell a server to stop.

use std::io;

use tokio::signal::unix::{SignalKind, signal};

/// Returns a future that ends when the process is told to stop: by SIGTERM, or from the keyboard. It returns the signal.
pub(crate) fn stop_signal() -> io::Result<impl Future<Output = SignalKind> + Send> {
    let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    Ok(async move {
        tokio::select! {
            _ = terminate.recv() => SignalKind::terminate(),
            _ = interrupt.recv() => SignalKind::interrupt(),
        }
    })
}
