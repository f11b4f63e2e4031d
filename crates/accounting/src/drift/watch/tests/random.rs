//! Scans of right accounts, at random: uploads, deletions, late reports, restarts, outages, dead lives. None is proved wrong.

use std::sync::atomic::AtomicU64;

use blobaccess_testkit::{Numbers, seed, time_budget};

use super::*;

/// A site whose hosts upload and delete, and report late.
struct Site {
    numbers: Numbers,
    hosts: Vec<Host>,
    /// Uploads that have begun: their host, number, account and bytes, and whether the blob is stored.
    open: Vec<(usize, u64, &'static str, u64, bool)>,
    next: u64,
    ledger: Arc<MemoryLedger>,
    deletes: bool,
}

const NAMES: [&str; 3] = ["a", "b", "c"];

impl Site {
    /// Does something, in a shard with these blobs, whose numbers have this remainder.
    fn act(&mut self, blobs: &mut Blobs, place: u64) {
        let host = self.numbers.below(self.hosts.len());
        match self.numbers.below(6) {
            0 | 1 => {
                let (name, bytes) = (NAMES[self.numbers.below(3)], 1 + self.numbers.draw() % 100);
                self.next += 1;
                self.hosts[host].start(name, bytes);
                self.open.push((host, self.next * 2 + place, name, bytes, false));
            }
            2 | 3 => {
                let index = self.numbers.below(self.open.len());
                if let Some((host, number, name, bytes, stored)) = self.open.get_mut(index).filter(|o| o.1 % 2 == place)
                {
                    if *stored {
                        self.hosts[*host].create(name, *bytes);
                        self.open.swap_remove(index);
                    } else {
                        // It lands anywhere in the order of the listing.
                        *number = (*number).wrapping_mul(0x9e37_79b9) % 1_000_000 * 2 + place;
                        if !blobs.contains_key(number) {
                            blobs.insert(*number, (account(name), *bytes));
                            *stored = true;
                        }
                    }
                }
            }
            4 if self.deletes => {
                let open: Vec<u64> = self.open.iter().map(|upload| upload.1).collect();
                let all: Vec<_> = blobs.keys().filter(|number| !open.contains(number)).copied().collect();
                if let Some(number) = all.get(self.numbers.below(all.len())) {
                    let Some((Owner::Account(name), bytes)) = blobs.remove(number) else { unreachable!() };
                    self.hosts[host].delete(name.as_str(), bytes);
                }
            }
            _ => self.hosts[host].send(&self.ledger),
        }
    }
}

async fn run(seed: u64) -> u32 {
    let mut numbers = Numbers::new(seed);
    let folder = tempfile::tempdir().unwrap();
    let world = World::new(vec![Shard::new([]), Shard::new([])]);
    let deletes = numbers.below(2) == 0;
    let hosts = Arc::new(Mutex::new(Site {
        numbers: numbers.clone(),
        hosts: vec![Host::new("one"), Host::new("two")],
        open: Vec::new(),
        next: 0,
        ledger: Arc::clone(&world.ledger),
        deletes,
    }));
    let failing = Arc::new(AtomicU64::new(numbers.draw()));
    for (place, shard) in (0..).zip(&world.shards) {
        for _ in 0..40 {
            hosts.lock().unwrap().act(&mut shard.blobs(), place);
        }
        let (hosts, failing, weak) = (Arc::clone(&hosts), Arc::clone(&failing), Arc::downgrade(shard));
        shard.on_page(move |blobs| {
            for _ in 0..4 {
                hosts.lock().unwrap().act(blobs, place);
            }
            let chance = failing.fetch_add(0x9e37_79b9_7f4a_7c15, Ordering::Relaxed) >> 60;
            if chance == 0 {
                weak.upgrade().unwrap().fail(1);
            }
        });
    }
    let mut options = options().with_attempts(1).with_max_accounts(1 + numbers.below(3));
    // Writing files takes most of the time.
    if numbers.below(8) == 0 {
        options = options.with_progress_file(folder.path().join("drift")).with_save_interval(Duration::ZERO);
    }
    let (mut watch, mut scans) = (world.watch(options.clone()), 0);
    let ctx = Context::background();
    for _ in 0..4 {
        let work = watch.run_once(&ctx);
        let ended = drive(&world.clock, work, || {
            let mut hosts = hosts.lock().unwrap();
            for (place, shard) in (0..).zip(&world.shards) {
                hosts.act(&mut shard.blobs(), place);
            }
            let host = hosts.numbers.below(2);
            let ledger = Arc::clone(&hosts.ledger);
            hosts.hosts[host].send(&ledger);
        })
        .await;
        match ended {
            Ok(report) => {
                scans += 1;
                // A life that is heard of too seldom counts for nothing; then the interval proves what it may.
                if report.silent_lives == 0 {
                    assert_eq!(report.total.interval.proved_bytes(), 0, "{report:?}");
                    assert_eq!(report.proved_bytes_of_accounts, 0, "{report:?}");
                }
            }
            Err(_) => watch = world.watch(options.clone()),
        }
    }
    scans
}

#[tokio::test]
#[expect(clippy::disallowed_methods, reason = "the time budget is one of real time")]
async fn right_accounts_are_never_proved_wrong() {
    let (begun, mut numbers) = (std::time::Instant::now(), Numbers::new(seed("BLOBACCESS_DRIFT_SEED")));
    let (mut worlds, mut scans) = (0, 0);
    while begun.elapsed() < time_budget() / 15 {
        let seed = numbers.draw();
        println!("world {seed}");
        scans += run(seed).await;
        worlds += 1;
    }
    println!("{scans} scans of {worlds} worlds");
    assert!(scans > worlds, "scans do not end");
}
