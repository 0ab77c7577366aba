//! The address of a node, which may contain a password.

use std::fmt;

/// The address of a node as typed. It is displayed without its password (`http://user:password@host`):
/// messages end up in terminals, logs and reports.
#[derive(Clone, PartialEq, Eq)]
pub struct NodeUrl(String);

impl NodeUrl {
    /// The whole address, for the connection alone.
    #[must_use]
    pub fn secret(&self) -> &str {
        &self.0
    }

    /// Returns true if this is the default, which selects the home's node.
    #[must_use]
    pub fn is_of_home(&self) -> bool {
        matches!(self.0.as_str(), "local" | "dev")
    }

    /// A text from outside, such as the error of a library, without this address's password.
    #[must_use]
    pub fn without_password(&self, text: &str) -> String {
        match self.parts() {
            // An empty password would match everywhere.
            Some((_, user, Some(password), _)) if !password.is_empty() => {
                text.replace(&format!("{user}:{password}@"), &format!("{user}@"))
            }
            _ => text.to_owned(),
        }
    }

    /// Scheme, user, password and rest of an address with a user. The user ends at the last `@` of all,
    /// because an unescaped password may contain every character that ends it elsewhere.
    fn parts(&self) -> Option<(&str, &str, Option<&str>, &str)> {
        let (before, rest) = self.0.rsplit_once('@')?;
        let (scheme, user) = match before.find("://") {
            Some(at) => before.split_at_checked(at.saturating_add(3))?,
            None => ("", before),
        };
        Some(match user.split_once(':') {
            Some((name, password)) => (scheme, name, Some(password), rest),
            None => (scheme, user, None, rest),
        })
    }
}

impl fmt::Display for NodeUrl {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.parts() {
            Some((scheme, user, _, rest)) => write!(out, "{scheme}{user}@{rest}"),
            None => out.write_str(&self.0),
        }
    }
}

impl fmt::Debug for NodeUrl {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{:?}", self.to_string())
    }
}

impl From<&str> for NodeUrl {
    fn from(text: &str) -> Self {
        Self(text.to_owned())
    }
}

impl From<String> for NodeUrl {
    fn from(text: String) -> Self {
        Self(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_shown_without_its_password() {
        for (typed, shown) in [
            ("http://user:secret@h:1/path", "http://user@h:1/path"),
            ("https://user:secret@h", "https://user@h"),
            ("user:secret@h:1", "user@h:1"),
            ("http://:secret@h", "http://@h"),
            ("http://user:sec/ret?se#cret@h", "http://user@h"),
            ("http://user:secret@secret@h", "http://user@h"),
            ("http:/user:secret@h", "http@h"),
            ("http://user@h:1", "http://user@h:1"),
            ("http://h:1", "http://h:1"),
            ("local", "local"),
        ] {
            let url = NodeUrl::from(typed);
            assert_eq!(url.to_string(), shown);
            assert_eq!(format!("{url:?}"), format!("{shown:?}"));
            assert_eq!(url.secret(), typed);
        }
    }

    #[test]
    fn a_text_that_quotes_the_address_loses_its_password() {
        let url = NodeUrl::from("http://user:secret@h:1");
        assert_eq!(
            url.without_password("cannot reach http://user:secret@h:1/: refused"),
            "cannot reach http://user@h:1/: refused"
        );
        for plain in ["http://user:@h", "http://user@h", "http://h"] {
            let text = format!("cannot reach {plain}");
            assert_eq!(NodeUrl::from(plain).without_password(&text), text);
        }
    }
}
