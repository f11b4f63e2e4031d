//! A process that uploads until it is killed.

use std::path::Path;
use std::process::Stdio;

use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::Command;

use crate::Result;
use crate::flags::Flags;

/// The line that the process prints after each upload.
pub(crate) const UPLOADED: &str = "uploaded";

/// Starts this program with the same books and the same bucket, and kills it after `uploads` uploads.
pub(crate) async fn run_and_kill(flags: &Flags, directory: &Path, uploads: u32) -> Result<()> {
    let mut command = Command::new(std::env::current_exe()?);
    command.arg("--until-killed").arg("--directory").arg(directory).arg("--blobs").arg(flags.blobs.to_string());
    for (flag, value) in
        [("--bucket", &flags.bucket), ("--clickhouse", &flags.clickhouse), ("--postgres", &flags.postgres)]
    {
        if let Some(value) = value {
            command.arg(flag).arg(value);
        }
    }
    let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).kill_on_drop(true).spawn()?;
    let Some(output) = child.stdout.take() else { return Err("the process has no output".into()) };
    let mut lines = BufReader::new(output).lines();
    let mut seen = 0;
    while let Some(line) = lines.next_line().await? {
        seen += u32::from(line == UPLOADED);
        if seen >= uploads {
            child.kill().await?;
            return Ok(());
        }
    }
    Err(format!("the process ended after {seen} uploads: {}", child.wait().await?).into())
}
