//! The signals that tell a server to stop.

use std::io;
use std::process;

use tokio::signal::unix::{Signal, SignalKind, signal};

/// The signals, as they come.
struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    async fn next(&mut self) -> SignalKind {
        tokio::select! {
            _ = self.terminate.recv() => SignalKind::terminate(),
            _ = self.interrupt.recv() => SignalKind::interrupt(),
        }
    }
}

/// Returns a future that ends when the process is told to stop: by SIGTERM, or from the keyboard. It returns the signal. A second
/// signal ends the process at once, as a crash would.
pub(crate) fn stop_signal() -> io::Result<impl Future<Output = SignalKind> + Send> {
    let mut signals =
        Signals { terminate: signal(SignalKind::terminate())?, interrupt: signal(SignalKind::interrupt())? };
    Ok(async move {
        let first = signals.next().await;
        drop(tokio::spawn(async move {
            let second = signals.next().await;
            // As a shell has it: 128 and the number of the signal.
            process::exit(128 + second.as_raw_value());
        }));
        first
    })
}
