//! The services over loopback, compared with a bare tonic service that only moves the same bytes, in the same run.
//!
//! Client and server share the machine's cores, in both. The rounds alternate, so that a busy machine slows down both.
//! Look at the ratio.
//!
//! `cargo bench --bench services -- batch` runs only the calls with `batch` in their names.

#![expect(
    clippy::print_stdout,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    reason = "a benchmark prints, fails loudly and measures the real time"
)]

mod bare;
mod decoding;
mod load;

use std::net::SocketAddr;
use std::sync::Arc;

use blobaccess::decorators::EmptyBlobInjecting;
use blobaccess::{Ac, Cas, MemoryStore};
use blobaccess_grpc::{ServiceOptions, Services};
use blobaccess_workbench::scaled;
use tokio::net::TcpListener;
use tokio::runtime::Runtime;

use bare::Bare;
use load::{Load, Work};

/// The number of turns of each side. The best one counts, because disturbances only slow down.
const ROUNDS: usize = 5;

fn main() {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("a runtime");
    let wanted: Vec<String> = std::env::args().skip(1).filter(|argument| !argument.starts_with("--")).collect();
    let is_wanted = |name: &str| wanted.is_empty() || wanted.iter().any(|part| name.contains(&**part));
    if is_wanted("decoding") {
        decoding::compare(&runtime);
    }
    let loads: Vec<_> = Work::ALL.into_iter().filter(|work| is_wanted(work.name())).collect();
    if loads.is_empty() {
        return;
    }
    let ours = runtime.block_on(serve_ours());
    let bare = runtime.block_on(Bare::serve());
    let rounds = scaled(ROUNDS, 1);
    println!("\n32 calls at a time over 4 connections; best of {rounds} rounds a side, in turns");
    println!("{:<28} {:<44} {:<44} ratio", "", "bare tonic service", "ours");
    for work in loads {
        compare(&runtime, work, bare, ours, rounds);
    }
}

fn compare(runtime: &Runtime, work: Work, bare: SocketAddr, ours: SocketAddr, rounds: usize) {
    let load = Load::new(work);
    let (bare, ours) = runtime.block_on(async {
        let (bare, ours) = (load.connect(bare).await, load.connect(ours).await);
        load.prepare(&bare).await;
        load.prepare(&ours).await;
        (bare, ours)
    });
    let mut best: [Option<blobaccess_workbench::Latencies>; 2] = [None, None];
    for _ in 0..rounds {
        for (side, best) in [&bare, &ours].into_iter().zip(&mut best) {
            let round = runtime.block_on(load.round(side));
            if best.as_ref().is_none_or(|best| round.per_second() > best.per_second()) {
                *best = Some(round);
            }
        }
    }
    let [Some(bare), Some(ours)] = best else { return };
    println!("{:<28} {bare}   {ours}   {:.2}", work.name(), ours.per_second() / bare.per_second());
}

/// Makes the services as `remote_cache` has them, without observers.
async fn serve_ours() -> SocketAddr {
    let services = Services::new(ServiceOptions::default())
        .with_cas(Arc::new(EmptyBlobInjecting::new(MemoryStore::<Cas>::new(4 << 30))))
        .with_ac(Arc::new(MemoryStore::<Ac>::new(64 << 20)));
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("loopback can be listened on");
    let address = listener.local_addr().expect("a listener has an address");
    tokio::spawn(async move { services.serve(listener, std::future::pending()).await });
    address
}
