//! Tells the program which compiler and which commit it was made with.

use std::process::Command;

fn main() {
    let rustc = std::env::var("RUSTC").unwrap_or_else(|_| "rustc".to_owned());
    println!(
        "cargo::rustc-env=VIBECOIN_RUSTC={}",
        first_line(&rustc, &["--version"])
    );
    // A checkout says its commit itself; elsewhere the packager may.
    println!("cargo::rerun-if-env-changed=VIBECOIN_GIT");
    println!("cargo::rerun-if-changed=../../.git/HEAD");
    println!("cargo::rerun-if-changed=../../.git/logs/HEAD");
    let git = std::env::var("VIBECOIN_GIT")
        .unwrap_or_else(|_| first_line("git", &["rev-parse", "--short=12", "HEAD"]));
    println!("cargo::rustc-env=VIBECOIN_GIT={git}");
}

/// What a program answers, or nothing.
fn first_line(program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program).args(arguments).output();
    let text = output
        .map(|output| String::from_utf8_lossy(&output.stdout).into_owned())
        .unwrap_or_default();
    text.lines().next().unwrap_or_default().to_owned()
}
