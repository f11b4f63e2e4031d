//! Threads that put while another one syncs: a crash anywhere leaves what a put had returned for before a sync began.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use blobaccess::{BlobAccess, Cas, Clock, Context, Digest, DigestFunction, InstanceName, SystemClock};
use blobaccess_local_store::{Environment, LocalStore, MemoryDevice, Options, SyncPolicy};
use blobaccess_testkit::{Numbers, seed, time_budget};
use futures::executor::block_on;

use crate::image::{Crashes, Loss};
use crate::recorder::Recorder;

/// The puts that returned before a sync began, and the step of the device when the sync was complete.
struct Covered {
    position: usize,
    digests: Vec<Digest>,
}

/// Puts by threads while another one syncs: every put that returned before a sync began is there after it.
fn try_threads(seed: u64, numbers: &mut Numbers) -> usize {
    const ROOMY: u64 = 8 << 20;
    const THREADS: u64 = 3;
    // Each ends a sector of the logs. Where there is one to each put, as on a machine that has other things to do, those
    // of the blocks that are in use are full before the last put, and blocks are recycled.
    const MOST_SYNCS: usize = 40;
    let options = || {
        Options::on_device(ROOMY)
            .with_blocks(1, 4, 1)
            .with_spare_blocks(2)
            .with_entries(3_000)
            .with_lanes(2)
            .persistent(SyncPolicy::OnClose)
    };
    let device = Arc::new(Recorder::new(ROOMY));
    let opened = LocalStore::<Cas>::open_on(options(), Arc::<Recorder>::clone(&device), Environment::default());
    let store = block_on(opened).unwrap();
    let blob = |thread: u64, number: u64| {
        let mut numbers = Numbers::new(seed ^ thread << 32 ^ number);
        let size = if number.is_multiple_of(9) { numbers.below(30_000) } else { 1 + numbers.below(900) };
        let contents = numbers.bytes(size + 8);
        (Digest::of(InstanceName::empty(), DigestFunction::Sha256, &contents), contents)
    };
    let returned: Vec<AtomicU64> = (0..THREADS).map(|_| AtomicU64::new(0)).collect();
    let mut covered = Vec::new();
    std::thread::scope(|scope| {
        let putters: Vec<_> = (0..THREADS)
            .zip(&returned)
            .map(|(thread, returned)| {
                let store = &store;
                scope.spawn(move || {
                    for number in 0..120 {
                        let (digest, contents) = blob(thread, number);
                        store.put_blocking(&digest, contents.into()).unwrap();
                        returned.store(number + 1, Ordering::SeqCst);
                    }
                })
            })
            .collect();
        let mut last = Vec::new();
        while covered.len() < MOST_SYNCS && !putters.iter().all(std::thread::ScopedJoinHandle::is_finished) {
            let before: Vec<u64> = returned.iter().map(|returned| returned.load(Ordering::SeqCst)).collect();
            if before == last {
                std::thread::yield_now();
                continue;
            }
            last.clone_from(&before);
            store.sync_blocking().unwrap();
            let digests = (0..THREADS).zip(before).flat_map(|(thread, to)| (0..to).map(move |number| (thread, number)));
            let digests = digests.map(|(thread, number)| blob(thread, number).0).collect();
            covered.push(Covered { position: device.position(), digests });
        }
    });
    assert_eq!(store.snapshot().recycled_blocks, 0);
    let steps = device.steps();
    let mut crashes = Crashes::new(vec![0; usize::try_from(ROOMY).unwrap()], steps.clone());
    let (mut position, mut images) = (0, 0);
    loop {
        position += 1 + numbers.below(steps.len() / 12 + 1);
        if position > steps.len() {
            return images;
        }
        let last = covered.iter().rfind(|covered| covered.position <= position);
        for loss in Loss::ALL {
            let device = Arc::new(MemoryDevice::from_image(crashes.image(position, loss, numbers)));
            let store = LocalStore::<Cas>::open_on(options(), device, Environment::default());
            let store = block_on(store).unwrap();
            for digest in last.into_iter().flat_map(|covered| &covered.digests) {
                let blob = block_on(store.get(&Context::background(), digest)).unwrap();
                block_on(blob.verify()).unwrap();
            }
            assert_eq!(store.snapshot().corrupted, 0);
            images += 1;
        }
    }
}

#[test]
fn what_threads_put_before_a_sync_outlives_a_crash() {
    let first = seed("BLOBACCESS_CRASH_SEED");
    let budget = time_budget() / 6;
    let begun = SystemClock.monotonic();
    let (mut images, mut runs) = (0, 0);
    while SystemClock.monotonic() - begun < budget {
        let seed = first.wrapping_add(runs);
        images += try_threads(seed, &mut Numbers::new(seed));
        runs += 1;
    }
    println!("{images} images of {runs} runs of several threads");
}
