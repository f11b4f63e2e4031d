//! Asks Go's `protojson`.

use std::fmt::{self, Debug, Formatter, Write as _};
use std::io::Write as _;
use std::process::{Command, Stdio};
use std::thread;

/// The judgement of a reader about a document.
pub(super) enum Verdict {
    /// The message as protobuf bytes.
    Accepted(Vec<u8>),
    Refused(String),
}

impl Debug for Verdict {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Accepted(bytes) => write!(f, "accepted {}", digits_of(bytes)),
            Self::Refused(reason) => write!(f, "refused {reason}"),
        }
    }
}

/// Returns hexadecimal digits.
pub(super) fn digits_of(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut digits, byte| {
        write!(digits, "{byte:02x}").unwrap();
        digits
    })
}

/// Reads a verdict, which is `accepted` with hexadecimal digits, or `refused` with a reason.
pub(super) fn parse_verdict(text: &str) -> Verdict {
    let (verdict, rest) = text.split_once(' ').unwrap_or((text, ""));
    match verdict {
        "accepted" => {
            let digits = rest.as_bytes().chunks(2).map(|digits| str::from_utf8(digits).unwrap());
            Verdict::Accepted(digits.map(|digits| u8::from_str_radix(digits, 16).unwrap()).collect())
        }
        "refused" => Verdict::Refused(rest.to_owned()),
        _ => panic!("{text}"),
    }
}

/// Returns the verdicts of Go about `documents`, as messages with the full name `name` of the files `files`.
pub(super) fn ask_go(files: &[u8], name: &str, documents: &[&str]) -> Vec<Verdict> {
    let items = [files, name.as_bytes()].into_iter().chain(documents.iter().map(|document| document.as_bytes()));
    let input: String = items.map(|item| digits_of(item) + "\n").collect();
    let mut child = Command::new("go")
        .args(["run", "."])
        .current_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/differential"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("Go is installed");
    let mut stdin = child.stdin.take().unwrap();
    let writer = thread::spawn(move || stdin.write_all(input.as_bytes()).unwrap());
    let output = child.wait_with_output().unwrap();
    writer.join().unwrap();
    assert!(output.status.success());
    String::from_utf8(output.stdout).unwrap().lines().map(parse_verdict).collect()
}
