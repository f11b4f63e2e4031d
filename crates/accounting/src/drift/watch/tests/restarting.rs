//! Scans that are interrupted: by restarts, outages, cursors that are refused; and their schedule.

use blobaccess::{BackgroundWork, ErrorKind};
use blobaccess_testkit::fakes::Warnings;

use super::*;

fn world() -> (World, Host) {
    let blobs = |from: u64| (from..from + 9).map(|number| (number, account("a"), 10));
    let world = World::new(vec![Shard::new(blobs(0)), Shard::new(blobs(100))]);
    let mut host = Host::new("host");
    (0..18).for_each(|_| host.upload("a", 10));
    host.send(&world.ledger);
    (world, host)
}

fn persistent(folder: &tempfile::TempDir) -> DriftWatchOptions {
    let options = options().with_progress_file(folder.path().join("drift")).with_save_interval(Duration::ZERO);
    options.with_attempts(1).with_shards_at_once(1)
}

#[tokio::test]
async fn a_scan_goes_on_after_a_restart_at_the_page_where_it_was() {
    let folder = tempfile::tempdir().unwrap();
    let (world, mut host) = world();
    let second = Arc::clone(&world.shards[1]);
    let mut pages = 0;
    let failing = Arc::clone(&second);
    second.on_page(move |_| {
        pages += 1;
        if pages == 2 {
            failing.fail(1);
        }
    });
    let watch = world.watch(persistent(&folder));
    let error = world.scan(&watch, &mut host).await.unwrap_err();
    assert_eq!((error.kind(), error.to_string()), (ErrorKind::Unavailable, "shard 1: an outage".to_owned()));
    assert_eq!(watch.snapshot().listed_shards, 1);
    drop(watch);
    assert_eq!((world.shards[0].pages(), second.pages()), (3, 2));
    let watch = world.watch(persistent(&folder));
    let report = world.scan(&watch, &mut host).await.unwrap();
    assert_eq!((world.shards[0].pages(), second.pages()), (3, 3));
    assert_eq!((report.total.interval.low_bytes, report.total.interval.high_bytes), (0, 0));
    assert_eq!(report.total.interval.actual_bytes, 180);
    assert_eq!((watch.snapshot().is_scanning, watch.snapshot().pages), (false, 1));
    // The next scan is another one.
    world.scan(&watch, &mut host).await.unwrap();
    assert_eq!(world.shards[0].pages(), 6);
}

#[tokio::test]
async fn progress_that_is_damaged_of_other_stores_or_too_old_begins_anew() {
    for case in 0..4 {
        let folder = tempfile::tempdir().unwrap();
        let (world, mut host) = world();
        let mut pages = 0;
        let shard = Arc::clone(&world.shards[0]);
        let failing = Arc::clone(&shard);
        shard.on_page(move |_| {
            pages += 1;
            if pages == 2 {
                failing.fail(1);
            }
        });
        world.scan(&world.watch(persistent(&folder)), &mut host).await.unwrap_err();
        assert_eq!(shard.pages(), 2);
        let path = folder.path().join("drift");
        let mut options = persistent(&folder);
        match case {
            0 => {
                let mut bytes = std::fs::read(&path).unwrap();
                let middle = bytes.len() / 2;
                bytes[middle] ^= 1;
                std::fs::write(&path, bytes).unwrap();
            }
            1 => std::fs::write(&path, b"").unwrap(),
            2 => options = options.with_store_name("another"),
            _ => {
                world.clock.advance(SECOND);
                options = options.with_max_resumed_age(Duration::ZERO);
            }
        }
        let warnings = Warnings::begin();
        let report = world.scan(&world.watch(options), &mut host).await.unwrap();
        assert_eq!((report.total.interval.low_bytes, report.total.interval.actual_bytes), (0, 180));
        assert_eq!(shard.pages(), 5, "case {case}");
        let lines = warnings.take();
        assert_eq!(lines.iter().filter(|line| line.contains("cannot be read")).count(), usize::from(case < 3));
    }
}

#[tokio::test]
async fn a_page_that_fails_at_times_is_tried_again_and_one_that_is_silent_holds_up_its_shard_only() {
    let (world, mut host) = world();
    world.shards[0].fail(3);
    let watch = world.watch(options());
    world.scan(&watch, &mut host).await.unwrap();
    assert_eq!((watch.snapshot().failed_pages, watch.snapshot().failed_scans), (3, 0));
    // 1, 2 and 4 s, and two reports.
    assert_eq!(world.clock.now().duration_since(SystemTime::UNIX_EPOCH).unwrap(), 9 * SECOND);

    world.shards[0].silent.store(true, Ordering::Relaxed);
    let watch = world.watch(options().with_attempts(1).with_step_timeout(5 * SECOND));
    let error = world.scan(&watch, &mut host).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::DeadlineExceeded);
    let snapshot = watch.snapshot();
    assert_eq!((snapshot.listed_shards, snapshot.failed_scans, snapshot.is_scanning), (1, 1, true));
    world.shards[0].silent.store(false, Ordering::Relaxed);
    let report = world.scan(&watch, &mut host).await.unwrap();
    assert_eq!(report.total.interval.proved_bytes(), 0);
    assert!(watch.metrics().encode().contains("\nblobaccess_accounting_drift_scan_failures_total 1\n"));
}

#[tokio::test]
async fn a_cursor_that_is_refused_and_owners_that_are_too_few_fail_the_scan() {
    let (world, mut host) = world();
    world.shards[0].refuses_cursors.store(true, Ordering::Relaxed);
    let watch = world.watch(options());
    assert_eq!(world.scan(&watch, &mut host).await.unwrap_err().kind(), ErrorKind::InvalidArgument);
    world.shards[0].refuses_cursors.store(false, Ordering::Relaxed);
    let report = world.scan(&watch, &mut host).await.unwrap();
    assert_eq!((report.total.interval.low_bytes, report.total.interval.high_bytes), (0, 0));

    let owners = world.owners();
    owners.lies.store(true, Ordering::Relaxed);
    let watch = world.watch(options().with_attempts(1)).with_owners(Arc::new(owners));
    assert_eq!(world.scan(&watch, &mut host).await.unwrap_err().kind(), ErrorKind::Internal);
}

#[tokio::test]
async fn pages_of_all_shards_together_keep_to_the_pace() {
    let (world, mut host) = world();
    let watch = world.watch(options().with_pages_per_second(1));
    world.scan(&watch, &mut host).await.unwrap();
    // Six pages, the first at once, then two reports.
    assert_eq!(world.clock.now().duration_since(SystemTime::UNIX_EPOCH).unwrap(), 7 * SECOND);
}

#[tokio::test]
async fn a_page_that_waits_long_for_its_turn_has_the_whole_time_of_a_step() {
    let shards = (0..6).map(|number| Shard::new([(number, account("a"), 10)])).collect();
    let (world, mut host) = (World::new(shards), Host::new("host"));
    host.upload("a", 60);
    host.send(&world.ledger);
    let options = options().with_pages_per_second(1).with_step_timeout(2 * SECOND).with_attempts(1);
    let watch = world.watch(options.with_shards_at_once(6));
    let report = world.scan(&watch, &mut host).await.unwrap();
    assert_eq!((report.total.interval.actual_bytes, watch.snapshot().failed_pages), (60, 0));
}

/// Runs the schedule of a new watch for a time, and returns the number of scans.
async fn run_for(world: &World, options: &DriftWatchOptions, time: Duration) -> u64 {
    let watch = world.watch(options.clone());
    let until = world.clock.sleep_until(world.clock.monotonic() + time);
    let running = async {
        tokio::select! {
            biased;
            () = until => {}
            () = watch.run() => unreachable!("a schedule has no end"),
        }
    };
    drive_sleepers(&world.clock, 2, running, || {}).await;
    watch.snapshot().scans
}

#[tokio::test]
async fn scans_come_by_their_interval_also_after_restarts_and_if_the_clock_goes_back() {
    let folder = tempfile::tempdir().unwrap();
    let (world, _) = world();
    let mut life = Host::new("host");
    life.send(&world.ledger);
    let lives = world.ledger.lives().await.unwrap();
    // Nobody is waited for.
    world.ledger.retire(&lives).await.unwrap();
    let options = persistent(&folder).with_interval(100 * SECOND);
    // At once, after 100 s and after 200 s.
    assert_eq!(run_for(&world, &options, 250 * SECOND).await, 3);
    // 50 s are left.
    assert_eq!(run_for(&world, &options, 45 * SECOND).await, 0);
    assert_eq!(run_for(&world, &options, 10 * SECOND).await, 1);
    // The clock goes back by years: nobody waits longer than the interval.
    world.clock.set_now(SystemTime::UNIX_EPOCH);
    assert_eq!(run_for(&world, &options, 90 * SECOND).await, 0);
    assert_eq!(run_for(&world, &options, 110 * SECOND).await, 1);
    // It goes ahead: a scan is due.
    world.clock.set_now(SystemTime::UNIX_EPOCH + Duration::from_hours(24 * 365));
    assert_eq!(run_for(&world, &options, SECOND).await, 1);
}

#[tokio::test]
async fn a_scan_that_fails_goes_on_later_and_says_so_once() {
    let (world, _) = world();
    let lives = world.ledger.lives().await.unwrap();
    world.ledger.retire(&lives).await.unwrap();
    world.shards[1].fail(4);
    let warnings = Warnings::begin();
    // At 0, 30, 90 and 210 s, then at 450 s.
    let options = options().with_attempts(1).with_interval(Duration::from_hours(24));
    assert_eq!(run_for(&world, &options, 440 * SECOND).await, 0);
    assert_eq!(warnings.take().len(), 1);
    world.shards[1].fail(0);
    assert_eq!(run_for(&world, &options, 10 * SECOND).await, 1);
}

#[tokio::test]
async fn progress_that_cannot_be_written_stops_no_scan() {
    let (world, mut host) = world();
    let folder = tempfile::tempdir().unwrap();
    let options = options().with_progress_file(folder.path().join("no/such/folder")).with_save_interval(Duration::ZERO);
    let watch = world.watch(options);
    let warnings = Warnings::begin();
    world.scan(&watch, &mut host).await.unwrap();
    assert!(watch.snapshot().failed_saves > 1);
    assert_eq!(warnings.take().len(), 1);
}
