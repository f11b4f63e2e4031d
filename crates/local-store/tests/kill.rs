//! A child process that stores on a real file is killed, again and again; whatever it said was durable is there.
//!
//! `BLOBACCESS_KILLS` sets how often (200).

#![expect(clippy::unwrap_used, reason = "a step that fails is a failed test")]

#[path = "support/versions.rs"]
mod versions;

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, Stdio};

use blobaccess::Ac;
use blobaccess_local_store::{LocalStore, Options, SyncPolicy};
use blobaccess_testkit::{Numbers, seed};

const CHILD: &str = "BLOBACCESS_KILL_CHILD";
fn options(path: &Path) -> Options {
    Options::in_file(path, 16 << 20)
        .with_blocks(2, 8, 1)
        .with_spare_blocks(2)
        .with_entries(4_000)
        .persistent(SyncPolicy::OnClose)
}

/// Puts and syncs until it is killed, and says after each sync up to which version.
async fn child(path: &Path, first_version: u64) {
    let store = LocalStore::<Ac>::open(options(path)).await.unwrap();
    let mut out = std::io::stdout();
    for version in first_version.. {
        versions::put(&store, version).await.unwrap();
        store.sync().await.unwrap();
        writeln!(out, "synced {version}").unwrap();
        out.flush().unwrap();
    }
}

#[tokio::test]
async fn what_was_synced_outlives_a_kill() {
    if let Ok(argument) = std::env::var(CHILD) {
        let (path, version) = argument.rsplit_once(':').unwrap();
        return child(Path::new(path), version.parse().unwrap()).await;
    }
    let kills = std::env::var("BLOBACCESS_KILLS").ok().and_then(|kills| kills.parse().ok()).unwrap_or(200);
    let mut numbers = Numbers::new(seed("BLOBACCESS_KILL_SEED"));
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("blocks");
    let (mut synced, mut begun) = (0_u64, 1_u64);
    for _ in 0..kills {
        let mut process = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "what_was_synced_outlives_a_kill", "--nocapture"])
            .env(CHILD, format!("{}:{begun}", path.display()))
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(process.stdout.take().unwrap()).lines();
        let mut rounds = numbers.below(4);
        for line in &mut lines {
            let line = line.unwrap();
            let Some((_, version)) = line.split_once("synced ") else { continue };
            synced = version.trim().parse().unwrap();
            if rounds == 0 {
                break;
            }
            rounds -= 1;
        }
        // Somewhere within the next round.
        for _ in 0..numbers.below(2_000) {
            std::hint::spin_loop();
        }
        process.kill().unwrap();
        process.wait().unwrap();
        // It may have gone on between the line that was read and its end.
        for line in lines.map_while(Result::ok) {
            if let Some((_, version)) = line.split_once("synced ") {
                synced = version.trim().parse().unwrap_or(synced);
            }
        }
        let store = LocalStore::<Ac>::open(options(&path)).await.unwrap();
        begun = versions::check(&store, synced).await + 1;
    }
    println!("{kills} kills, {synced} versions of {} messages", versions::MESSAGES);
    assert!(synced > 0);
}
