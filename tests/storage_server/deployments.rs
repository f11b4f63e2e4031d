//! The real files of Buildbarn's deployments load, if there is a checkout of them.

use std::env;
use std::path::PathBuf;
use std::process::Command;

use crate::process::program;

#[test]
#[ignore = "needs a checkout of bb-deployments at BLOBACCESS_BB_DEPLOYMENTS"]
fn the_files_of_all_three_deployments_are_taken_as_they_are() {
    let checkout = PathBuf::from(env::var_os("BLOBACCESS_BB_DEPLOYMENTS").expect("BLOBACCESS_BB_DEPLOYMENTS is set"));
    for deployment in ["bare", "docker-compose", "kubernetes"] {
        for file in ["storage.jsonnet", "frontend.jsonnet"] {
            let path = checkout.join(deployment).join("config").join(file);
            // Paths within are relative to a folder that has none of the data yet.
            let folder = tempfile::tempdir().expect("a folder");
            for store in ["cas", "ac", "fsac"] {
                let state = folder.path().join(format!("storage-{store}")).join("persistent_state");
                std::fs::create_dir_all(state).expect("a folder");
            }
            let output = Command::new(program("storage_server"))
                .arg("--check")
                .arg(&path)
                .current_dir(folder.path())
                .output()
                .expect("the example is built");
            let faults = String::from_utf8_lossy(&output.stderr).into_owned();
            // Absolute folders are mounted in containers, and are not there on this machine.
            let mut others =
                faults.lines().filter(|line| line.contains(".jsonnet:") && !line.contains("create it first"));
            assert!(output.status.success() || others.next().is_none(), "{}: {faults}", path.display());
        }
    }
}
