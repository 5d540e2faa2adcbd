//! Tells the program which revision it is built from, `REVISION` in the environment or the one of this git work tree,
//! and with which compiler.

use std::{env, path::Path, process::Command};

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-env-changed=REVISION");
    let revision = env::var("REVISION").ok().filter(|revision| !revision.trim().is_empty());
    let revision = revision.or_else(git_revision).unwrap_or_else(|| "unknown".into());
    println!("cargo::rustc-env=PINPOINT_EXPORTER_REVISION={}", revision.trim());

    let rustc = env::var("RUSTC").unwrap_or_else(|_| "rustc".into());
    let version = output(&rustc, &["--version"]).unwrap_or_default();
    let version = version.split_whitespace().nth(1).unwrap_or("unknown");
    println!("cargo::rustc-env=PINPOINT_EXPORTER_RUSTC_VERSION={version}");
}

fn git_revision() -> Option<String> {
    // Unpacked within another repository, it is not that one's revision.
    output("git", &["ls-files", "--error-unmatch", "build.rs"])?;
    // HEAD changes with the branch, its log with each commit. A path that does not exist would rerun every time.
    for name in ["HEAD", "logs/HEAD"] {
        if let Some(path) = output("git", &["rev-parse", "--git-path", name])
            && Path::new(&path).exists()
        {
            println!("cargo::rerun-if-changed={path}");
        }
    }
    output("git", &["rev-parse", "--short=12", "HEAD"])
}

fn output(program: &str, arguments: &[&str]) -> Option<String> {
    let output = Command::new(program).args(arguments).output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    output.status.success().then(|| text.trim().to_owned())
}
