//! Untrusted text made safe to display: on a terminal, in a log, in a table.
//!
//! A control character can move the cursor, recolour or clear a terminal; a bidirectional control can reverse
//! a line; characters without width can hide in a name. All are displayed as their JSON escape.

use std::borrow::Cow;
use std::fmt::Write as _;
use std::path::Path;

/// Returns true if a character affects its surroundings instead of being visible.
#[must_use]
pub fn is_hidden(c: char) -> bool {
    c.is_control()
        || matches!(c,
            '\u{00ad}' | '\u{034f}' | '\u{061c}' | '\u{115f}' | '\u{1160}' | '\u{17b4}' | '\u{17b5}'
            | '\u{180b}'..='\u{180f}'
            | '\u{200b}'..='\u{200f}'
            | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}'
            | '\u{3164}' | '\u{feff}' | '\u{ffa0}'
            | '\u{fff0}'..='\u{fffb}'
            | '\u{1d173}'..='\u{1d17a}'
            | '\u{e0000}'..='\u{e0fff}')
}

/// Returns the text without the byte-order mark that some editors insert at its start.
#[must_use]
pub fn without_mark(text: &str) -> &str {
    text.strip_prefix('\u{feff}').unwrap_or(text)
}

/// Returns the text as one word of a shell's command line, in quotes where the shell would interpret it otherwise.
#[must_use]
pub fn quoted(text: &str) -> String {
    let plain = |letter: char| letter.is_alphanumeric() || "/._-+:@%".contains(letter);
    if !text.is_empty() && text.chars().all(plain) {
        text.to_owned()
    } else {
        format!("'{}'", text.replace('\'', "'\\''"))
    }
}

/// Returns the path as one word of a shell's command line.
#[must_use]
pub fn quoted_path(path: &Path) -> String {
    quoted(&path.display().to_string())
}

/// Returns the text on one line with every hidden character escaped, cut after `chars_max` characters.
#[must_use]
pub fn visible(text: &str, chars_max: usize) -> Cow<'_, str> {
    escaped(text, chars_max, is_hidden)
}

/// Returns the text with every hidden character escaped, except line breaks and tabs.
#[must_use]
pub fn visible_lines(text: &str) -> Cow<'_, str> {
    escaped(text, usize::MAX, |c| is_hidden(c) && c != '\n' && c != '\t')
}

fn escaped(text: &str, chars_max: usize, is_hidden: impl Fn(char) -> bool) -> Cow<'_, str> {
    let cut = text.char_indices().nth(chars_max).map(|(at, _)| at);
    let kept = cut.and_then(|at| text.get(..at)).unwrap_or(text);
    if cut.is_none() && !kept.contains(&is_hidden) {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(kept.len());
    for c in kept.chars() {
        match c {
            '\n' if is_hidden(c) => out.push_str("\\n"),
            '\t' if is_hidden(c) => out.push_str("\\t"),
            '\r' => out.push_str("\\r"),
            _ if is_hidden(c) => {
                for unit in c.encode_utf16(&mut [0; 2]) {
                    // Writing to a string cannot fail.
                    let _ = write!(out, "\\u{unit:04x}");
                }
            }
            _ => out.push(c),
        }
    }
    if cut.is_some() {
        out.push('…');
    }
    Cow::Owned(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_is_quoted_when_a_shell_would_read_it_otherwise() {
        for (word, shown) in [
            ("/a/b-c_d.e", "/a/b-c_d.e"),
            ("a b", "'a b'"),
            ("it's", r"'it'\''s'"),
            ("", "''"),
            ("$HOME", "'$HOME'"),
        ] {
            assert_eq!(quoted(word), shown);
            assert_eq!(quoted_path(Path::new(word)), shown);
        }
    }

    #[test]
    fn what_can_be_seen_is_left_alone() {
        for plain in ["", "block 7", "Zürich 東京 🦀", "a\u{301}"] {
            assert!(matches!(visible(plain, 100), Cow::Borrowed(same) if same == plain));
        }
    }

    #[test]
    fn escapes_bidirectional_controls_and_characters_without_width_are_shown() {
        for (text, shown) in [
            ("\u{1b}[2J\u{1b}]0;x\u{7}", r"\u001b[2J\u001b]0;x\u0007"),
            ("\u{9b}31m\u{7f}", r"\u009b31m\u007f"),
            ("abc\u{202e}fed\u{2066}", r"abc\u202efed\u2066"),
            ("ad\u{200b}min\u{feff}", r"ad\u200bmin\ufeff"),
            ("one\ntwo\r\tthree", r"one\ntwo\r\tthree"),
            ("a\u{2028}b", r"a\u2028b"),
            ("\u{e0041}", r"\udb40\udc41"),
        ] {
            assert_eq!(visible(text, 100), shown);
        }
    }

    #[test]
    fn one_mark_in_front_is_dropped_and_nothing_else() {
        assert_eq!(without_mark("\u{feff}a\u{feff}"), "a\u{feff}");
        assert_eq!(without_mark("a"), "a");
    }

    #[test]
    fn a_long_text_is_cut_at_a_character() {
        assert_eq!(visible("äöü", 3), "äöü");
        assert_eq!(visible("äöüß", 3), "äöü…");
        assert_eq!(visible("\u{1b}\u{1b}\u{1b}", 1), r"\u001b…");
    }

    #[test]
    fn lines_stay_lines_when_they_are_our_own() {
        assert_eq!(visible_lines("a\tb\nc\u{1b}[0m\r\n"), "a\tb\nc\\u001b[0m\\r\n");
    }
}
