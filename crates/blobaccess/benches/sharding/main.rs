//! The cost of sharding, and a simulation of sites too large for one machine; `docs/sharding.md` has the conclusions.
//!
//! `cargo bench -p blobaccess --bench sharding`. Arguments choose parts by name; `--plot FILE` writes the figure.

#![expect(
    clippy::print_stdout,
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    reason = "a benchmark prints, fails loudly and looks at the clock"
)]

mod balance;
mod choice;
mod figure;
mod hit_rate;
mod mirrors;
mod number;
mod queries;
mod topology;

use self::figure::Panel;

/// The seed of all random numbers.
const SEED: u64 = 12;

/// The size of a run.
#[derive(Clone, Copy, Debug)]
struct Scale {
    /// Whether this run only shows that the program works (`-- --test`).
    test: bool,
}

impl Scale {
    /// Returns `full`, or `small` in a test run.
    const fn of(self, full: usize, small: usize) -> usize {
        if self.test { small } else { full }
    }
}

/// A part of the program: its name, and the function that prints its results and may add a panel to the figure.
type Part = (&'static str, fn(Scale, &mut Vec<Panel>));

const PARTS: [Part; 6] = [
    ("choice", choice::run),
    ("balance", balance::run),
    ("movement", balance::run_changes),
    ("hit_rate", hit_rate::run),
    ("mirrors", mirrors::run),
    ("queries", queries::run),
];

fn main() {
    let mut arguments: Vec<_> = std::env::args().skip(1).filter(|argument| argument != "--bench").collect();
    let test = arguments.iter().any(|argument| argument == "--test");
    arguments.retain(|argument| argument != "--test");
    let plot = arguments.iter().position(|argument| argument == "--plot").and_then(|at| {
        let file = arguments.get(at + 1).cloned();
        arguments.drain(at..(at + 2).min(arguments.len()));
        file
    });
    println!("seed {SEED}");
    let mut panels = Vec::new();
    for (name, run) in PARTS {
        if arguments.is_empty() || arguments.iter().any(|argument| name.contains(argument.as_str())) {
            let began = std::time::Instant::now();
            println!("\n## {name}\n");
            run(Scale { test }, &mut panels);
            println!("\n({:.1} s)", began.elapsed().as_secs_f64());
        }
    }
    if let Some(file) = plot {
        std::fs::write(file, figure::draw(&panels)).unwrap();
    }
}
