//! Workspaces for Bazel that need nothing from elsewhere.

use std::fs;
use std::path::{Path, PathBuf};

use tempfile::TempDir;

/// The size of the large output: 50 MB.
const LARGE_BYTES: usize = 50_000_000;

/// A folder with a workspace in it, and another for the outputs of Bazel.
#[derive(Debug)]
pub(crate) struct Workspace {
    folder: TempDir,
    /// The flags with which Bazel builds it.
    pub(crate) flags: Vec<String>,
}

impl Workspace {
    /// Makes a workspace of `targets` genrules with a few bytes each, and one with an output of 50 MB.
    pub(crate) fn of_genrules(targets: usize) -> Self {
        let workspace = Self::empty();
        let small = format!(
            "[genrule(name = 'small_%d' % i, outs = ['small_%d.txt' % i], cmd = 'echo target %d > $@' % i)\
             \n for i in range({targets})]\n"
        );
        let large = format!(
            "genrule(name = 'large', outs = ['large.bin'], \
             cmd = 'head -c {LARGE_BYTES} < <(yes 0123456789abcde) > $@')\n"
        );
        workspace.write("work/BUILD", &(small + &large));
        workspace
    }

    /// Makes a workspace with a library, a program and a test in C and C++.
    pub(crate) fn of_cc() -> Self {
        let mut workspace = Self::empty();
        workspace.write(
            "work/BUILD",
            "cc_library(name = 'greeting', srcs = ['greeting.cc'], hdrs = ['greeting.h'])\n\
             cc_binary(name = 'hello', srcs = ['hello.c'])\n\
             cc_test(name = 'greeting_test', size = 'small', srcs = ['greeting_test.cc'], deps = [':greeting'])\n",
        );
        workspace.write("work/greeting.h", "const char* greeting();\n");
        workspace.write("work/greeting.cc", "#include \"greeting.h\"\nconst char* greeting() { return \"hello\"; }\n");
        workspace.write("work/hello.c", "#include <stdio.h>\nint main(void) { return puts(\"hello\") < 0; }\n");
        workspace.write(
            "work/greeting_test.cc",
            "#include <cstring>\n#include \"greeting.h\"\nint main() { return std::strcmp(greeting(), \"hello\"); }\n",
        );
        workspace.override_rules();
        workspace
    }

    fn empty() -> Self {
        let folder = tempfile::tempdir().expect("a folder for the workspace");
        let workspace = Self { folder, flags: Vec::new() };
        workspace.write("work/WORKSPACE", "");
        // Debian's own settings ask for the opposite of the first, and keep the sandbox of every action. The others are
        // seconds: a slow machine must not give up where a fast one succeeds.
        let settings = "build --nosandbox_debug\n\
                        build --remote_timeout=1800\n\
                        test --test_timeout=1800\n\
                        startup --local_startup_timeout_secs=1800\n";
        workspace.write("work/.bazelrc", settings);
        workspace
    }

    /// Gives Bazel the rules that it would otherwise fetch. Those for C++ become what Bazel has built in.
    fn override_rules(&mut self) {
        let rules = ["library", "binary", "test", "import", "proto_library", "toolchain", "toolchain_suite"];
        let macros = rules.map(|rule| format!("def cc_{rule}(**kwargs):\n    native.cc_{rule}(**kwargs)\n\n"));
        let others = ["fdo_prefetch_hints", "fdo_profile", "objc_import", "objc_library"];
        let others = others.map(|rule| format!("def {rule}(**kwargs):\n    native.{rule}(**kwargs)\n\n"));
        self.write("rules_cc/WORKSPACE", "");
        self.write("rules_cc/BUILD", "");
        self.write("rules_cc/cc/BUILD", "");
        self.write("rules_cc/cc/defs.bzl", &(macros.concat() + &others.concat()));
        // Tests refer to tools for coverage, which are not needed here.
        let tools = ["coverage_report_generator", "lcov_merger"];
        let tools = tools.map(|tool| format!("filegroup(name = '{tool}', visibility = ['//visibility:public'])\n"));
        self.write("coverage_tools/WORKSPACE", "");
        self.write("coverage_tools/BUILD", &tools.concat());
        let root = self.folder.path();
        self.flags = [
            ("rules_cc", root.join("rules_cc")),
            ("remote_coverage_tools", root.join("coverage_tools")),
            ("rules_java", PathBuf::from("/usr/share/bazel/rules/java")),
            ("rules_proto", PathBuf::from("/usr/share/bazel/rules/proto")),
        ]
        .into_iter()
        .map(|(name, path)| format!("--override_repository={name}={}", path.display()))
        .collect();
    }

    fn write(&self, name: &str, contents: &str) {
        let path = self.folder.path().join(name);
        fs::create_dir_all(path.parent().expect("a file is in a folder")).expect("a folder for the file");
        fs::write(&path, contents).expect("a file of the workspace");
    }

    /// Returns the folder in which Bazel runs.
    pub(crate) fn folder(&self) -> PathBuf {
        self.folder.path().join("work")
    }

    /// Returns the folder of the outputs of Bazel.
    pub(crate) fn outputs(&self) -> PathBuf {
        Path::new(self.folder.path()).join("outputs")
    }
}

/// Returns the contents of the large output.
pub(crate) fn large_output() -> Vec<u8> {
    b"0123456789abcde\n".iter().copied().cycle().take(LARGE_BYTES).collect()
}
