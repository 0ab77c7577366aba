//! The default file, generated from the list of knobs.

use std::fmt::Write as _;

use crate::knobs::{Config, KNOBS, Knob, SECTIONS};
use crate::load::ENV_PREFIX;

/// The environment variable of a knob.
#[must_use]
pub fn environment_name(knob: &Knob) -> String {
    format!(
        "{ENV_PREFIX}{}__{}",
        knob.section.to_uppercase(),
        knob.name.to_uppercase()
    )
}

/// A file with every knob at its default, commented out, so that later versions may choose better defaults
/// for operators that have not set them.
#[must_use]
pub fn default_text() -> String {
    let mut out = String::from(
        "# Configuration of a VibeCoin node. Every line that starts with # shows a default; remove the #\n\
         # to change it. An environment variable (VIBECOIN__RPC__PORT) wins over this file, and a flag\n\
         # (--rpc.port) over both. `vibecoin config show --origin` prints what is in force.\n",
    );
    let defaults = Config::default();
    for section in SECTIONS {
        out.push('\n');
        comment(&mut out, section.doc);
        let _ = writeln!(out, "[{}]", section.name);
        for knob in KNOBS.iter().filter(|knob| knob.section == section.name) {
            comment(&mut out, knob.doc);
            let _ = writeln!(out, "# Allowed: {}.", knob.kind.allowed());
            let _ = writeln!(out, "#{} = {}\n", knob.name, (knob.get)(&defaults));
        }
    }
    out.truncate(out.trim_end().len());
    out.push('\n');
    out
}

fn comment(out: &mut String, lines: &[&str]) {
    for line in lines {
        let _ = writeln!(out, "#{line}");
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::parse;

    #[test]
    fn the_default_file_says_the_defaults_commented_or_not() {
        let text = default_text();
        assert_eq!(parse(&text).unwrap(), Config::default());
        let active: String = text
            .lines()
            .map(|line| match line.strip_prefix('#') {
                Some(rest) if rest.starts_with(|c: char| c.is_ascii_lowercase()) => rest,
                _ => line,
            })
            .flat_map(|line| [line, "\n"])
            .collect();
        assert_eq!(active.matches(" = ").count(), KNOBS.len(), "{active}");
        assert_eq!(parse(&active).unwrap(), Config::default());
    }

    #[test]
    fn every_knob_is_documented() {
        for knob in KNOBS {
            assert!(!knob.doc.is_empty(), "{}", knob.key());
        }
    }
}
