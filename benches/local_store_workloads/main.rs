//! Whole workloads of the local store, each compared with the limit of the machine and with the goal;
//! `docs/performance.md` has the results.
//!
//! `cargo bench --bench local_store_workloads` runs everything, each part in its own process. `-- finds 1000000` runs
//! one part, with that number of entries. If two threads or the disk take part, `load` is the number of other processes
//! that wanted a processor. The other figures are processor time of the thread, the best of five rounds.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "a benchmark that fails has no result; results are printed"
)]

mod durable;
mod finds;
mod gets;
mod latency;
mod memory;
mod old;
mod puts;
mod reads;
mod recovery;
mod report;
mod small;
mod workload;

use std::process::Command;

use blobaccess_testkit::allocations::Counting;
use blobaccess_workbench::{is_test_run, load_average};

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// One kind of work.
struct Part {
    name: &'static str,
    what: &'static str,
    run: fn(usize),
    /// The default numbers of entries or objects, one run each.
    usual: &'static [&'static str],
    in_tests: usize,
}

/// The argument after the number of entries: without huge pages.
const SMALL_PAGES: &str = "small-pages";

const PARTS: &[Part] = &[
    Part {
        name: "finds",
        what: "FindMissing in batches of 10,000, 128 B, load 0.75, in memory; entries",
        run: finds::run,
        usual: &["10000", "1000000", "1000000 small-pages", "10000000"],
        in_tests: 1_000,
    },
    Part {
        name: "old",
        what: "FindMissing where some of what is there lies in old blocks, by refresh policy; entries",
        run: old::run,
        usual: &["1000000"],
        in_tests: 1_000,
    },
    Part {
        name: "gets",
        what: "gets of 128 B, load 0.75, in memory; entries",
        run: gets::run,
        usual: &["10000", "1000000"],
        in_tests: 1_000,
    },
    Part {
        name: "reads",
        what: "gets of 4 KiB from a warm file; objects",
        run: reads::run,
        usual: &["20000"],
        in_tests: 100,
    },
    Part {
        name: "puts",
        what: "puts of mixed sizes in memory; objects",
        run: puts::run,
        usual: &["12000"],
        in_tests: 60,
    },
    Part {
        name: "small",
        what: "puts of 128 B in memory; entries",
        run: small::run,
        usual: &["1000000"],
        in_tests: 1_000,
    },
    Part {
        name: "durable",
        what: "puts of mixed sizes into a file until synced; objects",
        run: durable::run,
        usual: &["12000"],
        in_tests: 20,
    },
    Part {
        name: "latency",
        what: "gets of 4 KiB in memory while another thread rotates and copies; objects",
        run: latency::run,
        usual: &["10000"],
        in_tests: 100,
    },
    Part {
        name: "recovery",
        what: "opening a file after a crash; log entries",
        run: recovery::run,
        usual: &["2000000"],
        in_tests: 1_000,
    },
    Part {
        name: "memory",
        what: "memory besides contents, objects of 128 B in memory; entries",
        run: memory::run,
        usual: &["1000000"],
        in_tests: 1_000,
    },
];

/// Runs each part in its own process, so that none inherits the memory of another.
fn run_all() {
    for part in PARTS {
        for usual in if is_test_run() { &part.usual[..1] } else { part.usual } {
            let mut command = Command::new(std::env::current_exe().unwrap());
            command.arg(part.name).args(usual.split(' '));
            if is_test_run() {
                command.arg("--test");
            }
            assert!(command.status().unwrap().success(), "{} has failed", part.name);
        }
    }
}

fn main() {
    let mut arguments = std::env::args().skip(1).filter(|argument| !argument.starts_with("--"));
    let Some(name) = arguments.next().filter(|name| name != "all") else { return run_all() };
    let Some(part) = PARTS.iter().find(|part| part.name == name) else {
        let names: Vec<&str> = PARTS.iter().map(|part| part.name).collect();
        println!("there is no part {name}; there are {}", names.join(", "));
        return;
    };
    let (counts, pages): (Vec<String>, Vec<String>) = arguments.partition(|argument| argument != SMALL_PAGES);
    let count = counts.first().map_or(part.usual[0].split(' ').next().unwrap(), |count| count);
    let count = if is_test_run() { part.in_tests } else { count.parse().unwrap() };
    if !pages.is_empty() {
        rustix::thread::disable_transparent_huge_pages(true).unwrap();
    }
    println!(
        "\n{name}: {}: {count}; {} pages, seeds from {}, load {:.2}",
        part.what,
        if pages.is_empty() { "huge" } else { "small" },
        workload::SEED,
        load_average()
    );
    (part.run)(count);
}
