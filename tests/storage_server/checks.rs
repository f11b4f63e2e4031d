//! `--check` tells whether a server would start, and why not.

use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use crate::process::program;
use crate::site::{Site, text};

fn run(arguments: &[&str], input: &str) -> Output {
    let mut child = Command::new(program("storage_server"))
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the example is built");
    // A server that does not read its input closes it.
    drop(child.stdin.take().expect("stdin is piped").write_all(input.as_bytes()));
    child.wait_with_output().expect("it ends")
}

/// Checks a file, and returns what is wrong with it; `None` if nothing is.
fn check(file: &Path) -> Option<String> {
    let output = run(&["--check", &text(file)], "");
    let faults = String::from_utf8(output.stderr).expect("faults are text");
    match output.status.code() {
        Some(0) => {
            assert_eq!(faults, "");
            None
        }
        Some(1) => Some(faults),
        _ => panic!("{} ended with {}: {faults}", file.display(), output.status),
    }
}

#[test]
#[ignore = "needs the examples, built: see CONTRIBUTING.md"]
fn a_file_that_cannot_be_read_is_a_fault() {
    let site = Site::new(128);
    assert!(check(&site.path("absent.jsonnet")).expect("it is refused").contains("absent.jsonnet"));
    assert!(check(&site.path("")).is_some());
    for text in ["", "// nothing", "{", "[]", "null", "5", "{ a: error 'b' }", "std.extVar('BLOBACCESS_ABSENT')"] {
        assert!(check(&site.write("checked.jsonnet", text)).is_some(), "{text:?} was taken");
    }
}

#[test]
#[ignore = "needs the examples, built: see CONTRIBUTING.md"]
fn nothing_is_created() {
    let site = Site::new(128);
    let folder = site.node("node");
    let before = list_all(Path::new(&folder));
    for flag in ["--check", "--describe"] {
        let output = Command::new(program("storage_server"))
            .args([flag, &text(&site.path("storage.jsonnet"))])
            .env("SITE_FOLDER", &folder)
            .output()
            .expect("the example is built");
        let faults = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "{faults}");
        assert_eq!(list_all(Path::new(&folder)), before, "{flag}");
    }
}

fn list_all(folder: &Path) -> Vec<String> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            found.extend(list_all(&path));
        }
        found.push(text(&path));
    }
    found.sort();
    found
}

#[test]
#[ignore = "needs the examples, built: see CONTRIBUTING.md"]
fn a_server_without_addresses_ends_and_standard_input_is_a_file() {
    let output = run(&["-"], "{ grpcServers: [] }");
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    let output = run(&["-"], "{ grpcServers: [{}] }");
    assert_eq!(output.status.code(), Some(1));
    for wrong in [&[][..], &["a", "b"], &["--check"], &["--nonsense"]] {
        assert_eq!(run(wrong, "").status.code(), Some(1), "{wrong:?}");
    }
    let output = run(&["--schema"], "");
    assert!(output.status.success() && String::from_utf8_lossy(&output.stdout).contains("grpcServers"));
}
