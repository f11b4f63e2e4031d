//! The arguments of the command line.

use std::path::PathBuf;

use clap::Parser;

/// A storage server that takes the configuration files of Buildbarn's `bb_storage`.
///
/// Its only argument is the file: Jsonnet or JSON, `-` for standard input. Every environment variable is an external
/// variable of the file. Faults are listed with their paths and places, all at once.
#[derive(Debug, Parser)]
#[command(name = "storage_server", version, override_usage = "storage_server [OPTIONS] <FILE>")]
pub(crate) struct Flags {
    /// The file of configuration; `-` is standard input.
    #[arg(value_name = "FILE", required_unless_present = "schema")]
    pub(crate) file: Option<PathBuf>,

    /// Check the file, and end: with 0 if the server would start, else with 1. Nothing is created, opened for writing or
    /// connected to.
    #[arg(long, conflicts_with_all = ["describe", "schema"])]
    pub(crate) check: bool,

    /// Print what the file comes to, and end. Nothing is created, opened for writing or connected to.
    #[arg(long, conflicts_with = "schema")]
    pub(crate) describe: bool,

    /// Print a JSON Schema of such files, for editors, and end.
    #[arg(long, conflicts_with = "file")]
    pub(crate) schema: bool,

    /// The log level (error, warn, info, debug or trace), or a filter such as info,blobaccess=debug.
    #[arg(long, value_name = "FILTER", default_value = "info")]
    pub(crate) log: String,
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    #[test]
    fn one_file_is_the_argument_and_a_dash_is_one() {
        let flags = |more: &[&str]| Flags::try_parse_from([&["storage_server"], more].concat());
        assert_eq!(flags(&["a.jsonnet"]).unwrap().file.as_deref(), Some(Path::new("a.jsonnet")));
        assert_eq!(flags(&["-"]).unwrap().file.as_deref(), Some(Path::new("-")));
        assert!(flags(&["--check", "-"]).unwrap().check && flags(&["--describe", "a"]).unwrap().describe);
        assert!(flags(&["--schema"]).unwrap().schema);
        for wrong in [
            &[][..],
            &["a", "b"],
            &["--check"],
            &["--check", "a", "b"],
            &["--check", "--describe", "a"],
            &["--schema", "a"],
            &["--nonsense", "a"],
        ] {
            assert!(flags(wrong).is_err(), "{wrong:?} were taken");
        }
    }
}
