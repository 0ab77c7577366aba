//! Logs on stderr, and the handling of panics.

use std::io::IsTerminal as _;

use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::SubscriberBuilder;
use tracing_subscriber::fmt::format::{DefaultFields, Format};
use vibecoin_config::{LogConfig, LogFormat};
use vibecoin_primitives::text::{is_hidden, visible};

use crate::context::Context;
use crate::error::CliError;
use crate::exit::Exit;
use crate::globals::{Color, Globals};

/// A panic is one line, then the process aborts: a thread that ended silently would leave half a node. A
/// panic that is caught at the transaction being executed is the line alone.
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
/// Exit 10 when the filter is invalid.
pub fn for_node(globals: &Globals, config: &LogConfig) -> Result<(), CliError> {
    let builder = builder(globals).with_env_filter(filter(globals, config)?);
    match config.format {
        LogFormat::Text => builder.try_init(),
        LogFormat::Json => builder.json().flatten_event(true).try_init(),
    }
    .map_err(|error| CliError::new(Exit::Failure, format!("cannot start logging: {error}")))
}

/// Filter of the node's log: that of the configuration, unless the command line raises or lowers the level.
fn filter(globals: &Globals, config: &LogConfig) -> Result<EnvFilter, CliError> {
    let text = match (globals.quiet, globals.verbose) {
        (true, _) => "error",
        (_, 0) => config.filter.as_str(),
        (_, 1) => "debug",
        _ => "trace",
    };
    // The consensus core logs every step at `info`, which is `debug` to an operator. The JSON-RPC library
    // logs warnings about callers, and the libraries below the network about peers, at a rate that those
    // control: this node's server and network report, count and bound these events. A directive of the
    // operator is applied later and has precedence.
    const OF_OTHERS: &str = "arc_malachitebft=warn,jsonrpsee=off,libp2p=error,yamux=off,quinn=error";
    EnvFilter::try_new(format!("{OF_OTHERS},{text}")).map_err(|error| {
        CliError::new(Exit::Config, format!("log.filter {text:?}: {error}"))
            .hint("a filter is a level, or target=level pairs: info,node=debug")
    })
}

/// Logs of a client command: disabled unless requested.
pub fn for_client(context: &Context) {
    let filter = match context.globals.verbose {
        0 => return,
        1 => "info",
        2 => "debug",
        _ => "trace",
    };
    let _already = builder(&context.globals)
        .with_env_filter(EnvFilter::new(client_filter(filter)))
        .try_init();
}

/// At `debug` the WebSocket client logs the password of the node's address.
fn client_filter(level: &str) -> String {
    format!("{level},jsonrpsee-client=info")
}

/// Standard error, with characters escaped that hide in a line or change its direction: logs quote peers,
/// callers and files. Control characters in values are escaped by the formatter, whose own colours stay.
struct Visible(std::io::Stderr);

impl std::io::Write for Visible {
    fn write(&mut self, line: &[u8]) -> std::io::Result<usize> {
        // The formatter passes whole lines.
        self.0.write_all(shown(line).as_bytes())?;
        Ok(line.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        self.0.flush()
    }
}

/// Start of a terminal's control sequence.
const ESCAPE: char = '\u{1b}';

/// Length of the colour sequence at the start of a text: `ESC [ digits and semicolons m`.
fn colour(text: &str) -> Option<usize> {
    let numbers = text.strip_prefix("\u{1b}[")?;
    let end = numbers.find(|c: char| !c.is_ascii_digit() && c != ';')?;
    numbers
        .get(end..)?
        .starts_with('m')
        .then(|| end.saturating_add(3))
}

fn shown(line: &[u8]) -> String {
    let line = String::from_utf8_lossy(line);
    let mut out = String::with_capacity(line.len());
    let mut rest = line.as_ref();
    // Of ASCII only the escape has an effect; colours are the formatter's own. All beyond ASCII is checked.
    while let Some(at) = rest.find(|c: char| c == ESCAPE || (!c.is_ascii() && is_hidden(c))) {
        let (before, after) = rest.split_at(at);
        out.push_str(before);
        if let Some(length) = colour(after) {
            let (escape, more) = after.split_at(length);
            out.push_str(escape);
            rest = more;
            continue;
        }
        let mut chars = after.chars();
        let hidden = chars.next().map(String::from).unwrap_or_default();
        out.push_str(&visible(&hidden, 1));
        rest = chars.as_str();
    }
    out.push_str(rest);
    out
}

fn builder(
    globals: &Globals,
) -> SubscriberBuilder<DefaultFields, Format, tracing_subscriber::filter::LevelFilter, fn() -> Visible> {
    let ansi = match globals.color {
        Color::Always => true,
        Color::Never => false,
        Color::Auto => crate::environment::value("NO_COLOR").is_none() && std::io::stderr().is_terminal(),
    };
    let stderr: fn() -> Visible = || Visible(std::io::stderr());
    // A line that cannot be written is lost. Reported on stderr, as the library does by default, it would
    // cause a panic there.
    tracing_subscriber::fmt()
        .with_writer(stderr)
        .with_ansi(ansi)
        .log_internal_errors(false)
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;

    /// Collects the formatter's output.
    #[derive(Clone, Default)]
    struct Collected(Arc<Mutex<String>>);

    impl std::io::Write for Collected {
        fn write(&mut self, line: &[u8]) -> std::io::Result<usize> {
            if let Ok(mut all) = self.0.lock() {
                all.push_str(&shown(line));
            }
            Ok(line.len())
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn the_filter_is_what_the_configuration_says_unless_the_command_line_says_otherwise() {
        use clap::Parser as _;
        let shown = |line: &str, text: &str| {
            let arguments = crate::commands::Arguments::try_parse_from(line.split(' ')).ok();
            let config = LogConfig {
                filter: text.to_owned(),
                ..vibecoin_config::Config::default().log
            };
            arguments.and_then(|arguments| filter(&arguments.globals, &config).ok().map(|f| f.to_string()))
        };
        let of = |text: &str| shown("vibecoin node", text).unwrap_or_default();
        assert_ne!(of("info"), of("warn"));
        assert!(of("node::sync=debug").contains("node::sync=debug"));
        assert_ne!(shown("vibecoin -v node", "info"), shown("vibecoin node", "info"));
        assert_eq!(
            shown("vibecoin -q node", "info"),
            shown("vibecoin -q node", "trace")
        );
        // Filters that the configuration accepts are valid for the log.
        for good in ["off", "info,node::sync=debug", "info,[span{field=1}]=debug"] {
            assert!(
                vibecoin_config::Sources::new()
                    .flag("log.filter", good)
                    .load()
                    .is_ok(),
                "{good}"
            );
            assert!(shown("vibecoin node", good).is_some(), "{good}");
        }
    }

    #[test]
    fn what_a_peer_sends_cannot_act_on_the_terminal_of_a_log() {
        let collected = Collected::default();
        let writer = collected.clone();
        let subscriber = tracing_subscriber::fmt()
            .with_writer(move || writer.clone())
            .with_ansi(false)
            .finish();
        let agent = "a\u{1b}[2J\u{9b}31m\u{202e}b\u{200b}";
        tracing::subscriber::with_default(subscriber, || {
            tracing::info!(agent = %agent, quoted = ?agent, "met {agent}");
        });
        let text = collected.0.lock().map(|text| text.clone()).unwrap_or_default();
        assert_eq!(text.lines().count(), 1, "{text:?}");
        assert!(text.contains("met a"), "{text:?}");
        let acts = |c: char| c != '\n' && is_hidden(c);
        assert!(!text.contains(acts), "{text:?}");
    }
}
