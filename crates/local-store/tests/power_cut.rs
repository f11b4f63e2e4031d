//! The power is cut under a file system, again and again; whatever was synced before is there.
//!
//! A file system in a loop device is shut down in the midst of writing: what was synced survives, the rest vanishes, as
//! when a machine loses power. `BLOBACCESS_POWER_CUTS` sets how often on each file system (20).

#![expect(clippy::unwrap_used, clippy::print_stdout, reason = "a step that fails is a failed test; seeds are printed")]

#[path = "support/versions.rs"]
mod versions;

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use blobaccess::Ac;
use blobaccess_local_store::{LocalStore, Options, SyncPolicy};
use blobaccess_testkit::{Numbers, seed};

/// A file system in a file, mounted as long as this lives.
struct Mounted {
    image: PathBuf,
    at: PathBuf,
}

impl Mounted {
    fn make(directory: &Path, kind: &str) -> Self {
        let (image, at) = (directory.join("image"), directory.join("mounted"));
        std::fs::create_dir(&at).unwrap();
        std::fs::File::create(&image).unwrap().set_len(320 << 20).unwrap();
        run(Command::new(format!("mkfs.{kind}")).arg("-q").arg(&image));
        let mounted = Self { image, at };
        mounted.mount();
        mounted
    }

    fn mount(&self) {
        run_until_it_can(Command::new("mount").args(["-o", "loop"]).arg(&self.image).arg(&self.at));
    }

    /// Begins to cut the power; it is cut at some time while the caller goes on.
    fn cut(&self) -> std::process::Child {
        Command::new("xfs_io").args(["-x", "-c", "shutdown"]).arg(&self.at).spawn().unwrap()
    }

    fn mount_again(&self) {
        run_until_it_can(Command::new("umount").arg(&self.at));
        self.mount();
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        // A test that fails leaves no loop device behind; there is nobody to tell if that fails too.
        drop(Command::new("umount").arg("--lazy").arg(&self.at).status());
    }
}

fn run(command: &mut Command) {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
}

/// Runs the same, where somebody may be in the way for a moment: a write of the store that is given up, which has yet
/// to see that it failed, or whoever looks at each loop device that comes or goes.
fn run_until_it_can(command: &mut Command) {
    for _ in 0..600 {
        if command.output().unwrap().status.success() {
            return;
        }
        std::thread::park_timeout(Duration::from_millis(100));
    }
    run(command);
}

fn options(path: PathBuf) -> Options {
    Options::in_file(path, 16 << 20)
        .with_blocks(2, 8, 1)
        .with_spare_blocks(2)
        .with_entries(4_000)
        .persistent(SyncPolicy::OnClose)
}

/// Puts and syncs until the device fails; returns up to which version was durable.
async fn work_until_it_fails(store: &LocalStore<Ac>, mounted: &Mounted, begun: u64, rounds: u64) -> Option<u64> {
    let mut synced = None;
    let mut cut = None;
    for version in begun.. {
        if version == begun + rounds {
            cut = Some(mounted.cut());
        }
        if versions::put(store, version).await.is_err() || store.sync().await.is_err() {
            break;
        }
        synced = Some(version);
    }
    assert!(cut.unwrap().wait().unwrap().success());
    synced
}

async fn what_was_synced_outlives_power_cuts_on(kind: &str) {
    let cuts = std::env::var("BLOBACCESS_POWER_CUTS").ok().and_then(|cuts| cuts.parse().ok()).unwrap_or(20);
    let mut numbers = Numbers::new(seed("BLOBACCESS_POWER_CUT_SEED"));
    let directory = tempfile::tempdir().unwrap();
    let mounted = Mounted::make(directory.path(), kind);
    let path = mounted.at.join("blocks");
    let (mut synced, mut begun) = (0, 1);
    for _ in 0..cuts {
        let store = LocalStore::<Ac>::open(options(path.clone())).await.unwrap();
        begun = versions::check(&store, synced).await.max(begun) + 1;
        let rounds = numbers.draw() % 6;
        synced = work_until_it_fails(&store, &mounted, begun, rounds).await.unwrap_or(synced);
        drop(store);
        mounted.mount_again();
    }
    let store = LocalStore::<Ac>::open(options(path)).await.unwrap();
    versions::check(&store, synced).await;
    println!("{kind}: {cuts} power cuts, {synced} versions of {} messages", versions::MESSAGES);
    assert!(synced > 0);
}

#[tokio::test]
#[ignore = "needs root, a loop device and xfsprogs"]
async fn what_was_synced_outlives_power_cuts_on_xfs() {
    what_was_synced_outlives_power_cuts_on("xfs").await;
}

#[tokio::test]
#[ignore = "needs root, a loop device and xfsprogs"]
async fn what_was_synced_outlives_power_cuts_on_ext4() {
    what_was_synced_outlives_power_cuts_on("ext4").await;
}
