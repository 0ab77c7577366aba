//! Passes the compiler and the commit of the build to the program.

use std::process::Command;

fn main() {
    let rustc = std::env::var("RUSTC").unwrap_or_else(|_| "rustc".to_owned());
    println!(
        "cargo::rustc-env=VIBECOIN_RUSTC={}",
        first_line(&rustc, &["--version"])
    );
    // A checkout has its own commit; elsewhere the packager may set it.
    println!("cargo::rerun-if-env-changed=VIBECOIN_GIT");
    println!("cargo::rerun-if-changed=../../.git/HEAD");
    println!("cargo::rerun-if-changed=../../.git/logs/HEAD");
    let git = std::env::var("VIBECOIN_GIT")
        .unwrap_or_else(|_| first_line("git", &["rev-parse", "--short=12", "HEAD"]));
    println!("cargo::rustc-env=VIBECOIN_GIT={git}");
}

/// First line of a program's output, or an empty string.
fn first_line(program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program).args(arguments).output();
    let text = output
        .map(|output| String::from_utf8_lossy(&output.stdout).into_owned())
        .unwrap_or_default();
    text.lines().next().unwrap_or_default().to_owned()
}
