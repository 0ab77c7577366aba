//! The binary `vibecoin`. Everything is in the library, where it can be tested.

fn main() -> std::process::ExitCode {
    vibecoin_cli::main()
}
