//! A contest of stores: all do the same work, each in its own process, so that none inherits the memory of another.
//!
//! On a shared machine, compare processor time. For work that waits for the disk, compare the elapsed time.

mod machine;
mod measurement;
mod objects;
mod ours;
mod peer;
mod results;
mod work;

use std::path::Path;
use std::process::{Command, Stdio};

pub use self::machine::{Appending, Machine};
pub use self::measurement::{Done, Measurement, measure};
pub use self::objects::Objects;
pub use self::ours::{ByTrait, Inherent, Place};
pub use self::peer::{Peer, key};
pub use self::work::{
    BYTES_PER_ENTRY, Results, Room, Scale, WRITTEN_PER_STORED, Work, contest_in_memory, contest_of_verifiers,
    contest_on_disk,
};

use self::results::{Lines, Tables};

/// A store, or a limit of the machine, that takes part.
#[derive(Clone, Copy, Debug)]
pub struct Contestant {
    name: &'static str,
    run: fn(Scale, &Path, &mut dyn Results),
    divided_by: usize,
}

impl Contestant {
    /// Makes a contestant that the tables call `name`. `run` does all the work, and may use the directory, which is
    /// empty.
    #[must_use]
    pub const fn new(name: &'static str, run: fn(Scale, &Path, &mut dyn Results)) -> Self {
        Self { name, run, divided_by: 1 }
    }

    /// Divides the number of objects by `divided_by`, because the contestant would take all day. The tables show the
    /// number of calls.
    #[must_use]
    pub const fn divided_by(self, divided_by: usize) -> Self {
        Self { divided_by, ..self }
    }
}

/// Stores that are compared. The first one is the reference of the others.
#[derive(Clone, Copy, Debug)]
pub struct Contest<'a> {
    /// The place where the stores keep their blobs.
    pub name: &'static str,
    /// The contestants.
    pub contestants: &'a [Contestant],
    /// The divisor of the work, because slow stores would take hours.
    pub divided_by: usize,
}

/// The settings of the command line.
struct Arguments {
    /// The contestant that this process runs; if there is none, it starts a process for each.
    contestant: Option<String>,
    entries: usize,
    rounds: usize,
    /// The filters: a contestant runs if its name, or that of its contest, contains one of them.
    wanted: Vec<String>,
}

impl Arguments {
    fn parse() -> Self {
        let mut parsed = Self { contestant: None, entries: 1_000_000, rounds: 1, wanted: Vec::new() };
        let mut arguments = std::env::args().skip(1);
        while let Some(argument) = arguments.next() {
            let mut number = |default| arguments.next().and_then(|value| value.parse().ok()).unwrap_or(default);
            match &*argument {
                "--contestant" => parsed.contestant = arguments.next(),
                "--entries" => parsed.entries = number(parsed.entries),
                "--rounds" => parsed.rounds = number(parsed.rounds),
                _ if argument.starts_with("--") => {}
                _ => parsed.wanted.push(argument),
            }
        }
        parsed
    }

    fn wants(&self, contest: &Contest<'_>, contestant: &Contestant) -> bool {
        let is_in = |part: &String| contestant.name.contains(&**part) || contest.name.contains(&**part);
        self.wanted.is_empty() || self.wanted.iter().any(is_in)
    }
}

/// Runs contests as the command line asks, and prints their tables.
///
/// `--entries` is the number of objects of 128 bytes. `--rounds` is the number of turns of each contestant, of which
/// the best counts. Further arguments choose contestants and contests by a part of their names.
/// `BLOBACCESS_BENCH_DIRECTORY` is the place of the stores on a disk.
///
/// # Panics
///
/// If a contestant fails.
pub fn run(contests: &[Contest<'_>]) {
    let arguments = Arguments::parse();
    for contest in contests {
        let scale =
            if crate::is_test_run() { Scale::TEST } else { Scale::full(arguments.entries / contest.divided_by) };
        if let Some(name) = &arguments.contestant {
            // This process was started below.
            for contestant in contest.contestants.iter().filter(|contestant| contestant.name == *name) {
                let directory = std::env::current_dir().unwrap_or_default();
                (contestant.run)(scale.divided_by(contestant.divided_by), &directory, &mut Lines);
            }
            continue;
        }
        let wanted = contest.contestants.iter().filter(|contestant| arguments.wants(contest, contestant));
        let wanted: Vec<&Contestant> = wanted.collect();
        if wanted.is_empty() {
            continue;
        }
        let mut tables = Tables::new(contest.name, scale);
        for _ in 0..if crate::is_test_run() { 1 } else { arguments.rounds } {
            for contestant in &wanted {
                start(contestant.name, arguments.entries, &mut tables);
            }
        }
        tables.print();
    }
}

/// Runs a contestant in a process of its own.
#[expect(clippy::expect_used, reason = "a benchmark that fails has no result")]
fn start(name: &'static str, entries: usize, tables: &mut Tables) {
    let directory = crate::temporary_directory();
    let mut command = Command::new(std::env::current_exe().expect("this program has a path"));
    command.args(["--contestant", name, "--entries", &entries.to_string()]);
    if crate::is_test_run() {
        command.arg("--test");
    }
    let output =
        command.current_dir(directory.path()).stderr(Stdio::inherit()).output().expect("this program can be started");
    assert!(output.status.success(), "{name} has failed: {}", output.status);
    for line in String::from_utf8_lossy(&output.stdout).lines() {
        tables.add(name, line);
    }
}
