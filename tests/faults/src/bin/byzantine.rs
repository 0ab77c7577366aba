//! The node, in the build that can lie: `VIBECOIN_BYZANTINE` names the lie (see `byzantine` in the engine).

fn main() -> std::process::ExitCode {
    vibecoin_cli::main()
}
