//! Logs on stderr, and what happens when the program has a bug.

use std::io::IsTerminal as _;

use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::SubscriberBuilder;
use tracing_subscriber::fmt::format::{DefaultFields, Format};
use vibecoin_config::{LogConfig, LogFormat};

use crate::args::{Color, Globals};
use crate::context::Context;
use crate::error::CliError;
use crate::exit::Exit;

/// A panic is one line, then the process aborts: a thread that died quietly would leave half a node. A panic
/// that ends at the transaction that it executes is the line alone.
pub fn install_panic_hook() {
    std::panic::set_hook(Box::new(|panic| {
        let place = panic.location().map(ToString::to_string).unwrap_or_default();
        let thread = std::thread::current().name().unwrap_or("unnamed").to_owned();
        let what = panic.payload_as_str().unwrap_or("unknown").replace('\n', " ");
        crate::output::note(&format!(
            "panic in thread {thread} at {place}: {what}; this is a bug, please report it"
        ));
        if !vibecoin_engine::is_contained() {
            std::process::abort();
        }
    }));
}

/// Logs of the node.
///
/// # Errors
/// Exit 10 when the filter means nothing.
pub fn for_node(globals: &Globals, config: &LogConfig) -> Result<(), CliError> {
    let text = match (globals.quiet, globals.verbose) {
        (true, _) => "error",
        (_, 0) => config.filter.as_str(),
        (_, 1) => "debug",
        _ => "trace",
    };
    // The consensus core tells every step at `info`, which is `debug` to an operator. A directive of the
    // operator's own for it comes later and wins.
    let filter = EnvFilter::try_new(format!("arc_malachitebft=warn,{text}")).map_err(|error| {
        CliError::new(Exit::Config, format!("log.filter {text:?}: {error}"))
            .hint("a filter is a level, or target=level pairs: info,node=debug")
    })?;
    let builder = builder(globals).with_env_filter(filter);
    match config.format {
        LogFormat::Text => builder.try_init(),
        LogFormat::Json => builder.json().flatten_event(true).try_init(),
    }
    .map_err(|error| CliError::new(Exit::Failure, format!("cannot start logging: {error}")))
}

/// Logs of a client command: silent unless asked for.
pub fn for_client(context: &Context) {
    let filter = match context.globals.verbose {
        0 => return,
        1 => "info",
        2 => "debug",
        _ => "trace",
    };
    let _already = builder(&context.globals)
        .with_env_filter(EnvFilter::new(filter))
        .try_init();
}

fn builder(
    globals: &Globals,
) -> SubscriberBuilder<DefaultFields, Format, tracing_subscriber::filter::LevelFilter, fn() -> std::io::Stderr>
{
    let ansi = match globals.color {
        Color::Always => true,
        Color::Never => false,
        Color::Auto => std::env::var_os("NO_COLOR").is_none() && std::io::stderr().is_terminal(),
    };
    let stderr: fn() -> std::io::Stderr = std::io::stderr;
    tracing_subscriber::fmt().with_writer(stderr).with_ansi(ansi)
}
