//! Options of every command.

use std::path::PathBuf;

use clap::{ArgAction, Args, ValueEnum};

use crate::node_url::NodeUrl;
use crate::numbers::whole;
use crate::output::Format;

/// When to use colour.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Color {
    /// On a terminal, unless NO_COLOR is set.
    #[default]
    Auto,
    /// Always.
    Always,
    /// Never.
    Never,
}

/// Options of every command.
#[derive(Args, Clone, Debug)]
pub struct Globals {
    /// Home directory: genesis, database, keys, configuration [default: $VIBECOIN_HOME, or the XDG data directory]
    #[arg(long, global = true, value_name = "DIR", help_heading = "Global options")]
    pub home: Option<PathBuf>,
    /// Configuration file [default: config.toml in the home directory]
    #[arg(
        short,
        long,
        global = true,
        value_name = "FILE",
        help_heading = "Global options"
    )]
    pub config: Option<PathBuf>,
    /// Address of a node ($VIBECOIN_URL); `local` and `dev` are the node of the home directory, or 127.0.0.1:8545
    #[arg(
        short,
        long,
        global = true,
        value_name = "URL",
        default_value = "local",
        help_heading = "Global options"
    )]
    pub url: NodeUrl,
    /// Form of results on stdout ($VIBECOIN_OUTPUT)
    #[arg(
        short,
        long,
        global = true,
        value_enum,
        default_value_t,
        help_heading = "Global options"
    )]
    pub output: Format,
    /// Say less: errors only
    #[arg(short, long, global = true, help_heading = "Global options")]
    pub quiet: bool,
    /// Say more; twice for everything
    #[arg(short, long, global = true, action = ArgAction::Count, help_heading = "Global options")]
    pub verbose: u8,
    /// Colour on stderr
    #[arg(
        long,
        global = true,
        value_enum,
        default_value_t,
        help_heading = "Global options"
    )]
    pub color: Color,
    /// No progress lines
    #[arg(long, global = true, help_heading = "Global options")]
    pub no_progress: bool,
    /// Answer yes to every question
    #[arg(short, long, global = true, help_heading = "Global options")]
    pub yes: bool,
    /// Seconds to wait for a node's answer
    #[arg(long, global = true, value_name = "SECONDS", default_value_t = 30, allow_negative_numbers = true, value_parser = whole::<u64>(1..=3600), help_heading = "Global options")]
    pub timeout: u64,
}
