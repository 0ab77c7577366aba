//! The node, in the build with Byzantine behaviours: `VIBECOIN_BYZANTINE` names one (see `byzantine` in the
//! engine).

fn main() -> std::process::ExitCode {
    vibecoin_cli::main()
}
