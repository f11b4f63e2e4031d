//! Stores side by side at the same work, each in a process of its own, so that none finds the memory of another.
//!
//! On a machine that others use too, processor time is the figure to compare by, and for what waits for the disk the
//! time by the clock.

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
    /// Which the tables call `name`, and of which `run` does all the work. It may use the directory, which is empty.
    #[must_use]
    pub const fn new(name: &'static str, run: fn(Scale, &Path, &mut dyn Results)) -> Self {
        Self { name, run, divided_by: 1 }
    }

    /// Gives it one of so many objects only, as it would take all day. The tables say how many calls there were.
    #[must_use]
    pub const fn divided_by(self, divided_by: usize) -> Self {
        Self { divided_by, ..self }
    }
}

/// Stores that are compared with each other. The first one is what the others are compared with.
#[derive(Clone, Copy, Debug)]
pub struct Contest<'a> {
    /// Where they keep what they are given.
    pub name: &'static str,
    /// Those that take part.
    pub contestants: &'a [Contestant],
    /// What the work is divided by: slow stores would take hours.
    pub divided_by: usize,
}

/// What the command line says.
struct Arguments {
    /// The contestant that this process is to run; without one, it starts a process for each.
    contestant: Option<String>,
    entries: usize,
    rounds: usize,
    /// Only contestants with one of these in their name, or that of their contest.
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

/// Runs contests as the command line says, and prints their tables.
///
/// `--entries` says how many objects of 128 bytes there are, `--rounds` how often everybody has a turn, of which the
/// best counts. Further arguments choose contestants and contests by a part of their names.
/// `BLOBACCESS_BENCH_DIRECTORY` says where the stores on a disk lie.
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
            // A process that was started below.
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

/// Has a process of its own do the work of a contestant.
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
