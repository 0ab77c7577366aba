//! Access to the operator's listener: a request must carry the token of the node's home.

use hyper::header::{self, HeaderMap};
use vibecoin_rpc_api::{ApiError, Code};

/// The token: 32 bytes, written as 64 hex digits.
#[derive(Clone)]
pub struct AdminToken([u8; 32]);

impl std::fmt::Debug for AdminToken {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("AdminToken(secret)")
    }
}

impl AdminToken {
    /// A token of random bytes.
    #[must_use]
    pub const fn new(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// Reads 64 hex digits; `None` when the text is anything else.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        vibecoin_primitives::hex::fixed::<32>(&format!("0x{text}"))
            .ok()
            .map(Self)
    }

    /// Returns the text that callers send and the home stores.
    #[must_use]
    pub fn to_text(&self) -> String {
        vibecoin_primitives::hex::encode(&self.0)
            .trim_start_matches("0x")
            .to_owned()
    }

    /// Returns true if `shown` is this token. The time does not depend on where the two differ.
    fn is(&self, shown: &Self) -> bool {
        let differing = self.0.iter().zip(&shown.0).fold(0u8, |sum, (a, b)| sum | (a ^ b));
        std::hint::black_box(differing) == 0
    }

    /// Checks that the request may pass.
    ///
    /// # Errors
    /// [`Code::Unauthenticated`] without the token, [`Code::Forbidden`] when a web page is behind the
    /// request: pages are refused, whatever their origin.
    pub(crate) fn check(&self, headers: &HeaderMap) -> Result<(), ApiError> {
        if headers.contains_key(header::ORIGIN) {
            return Err(ApiError::new(
                Code::Forbidden,
                "web pages may not call this listener",
            ));
        }
        let mut shown = headers.get_all(header::AUTHORIZATION).iter();
        let token = match (shown.next(), shown.next()) {
            (Some(value), None) => value.to_str().ok().and_then(bearer).and_then(Self::parse),
            _ => None,
        };
        if token.is_some_and(|token| self.is(&token)) {
            return Ok(());
        }
        Err(ApiError::new(
            Code::Unauthenticated,
            "show the token of the node's home: Authorization: Bearer TOKEN",
        ))
    }
}

/// Returns the text behind the scheme, whose name is case-insensitive.
fn bearer(value: &str) -> Option<&str> {
    let (scheme, token) = value.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then_some(token.trim())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn only_the_whole_token_passes() {
        let token = AdminToken::new([7; 32]);
        let text = token.to_text();
        assert_eq!(text.len(), 64);
        let check = |value: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(header::AUTHORIZATION, value.parse().unwrap());
            token.check(&headers).map_err(|error| error.code)
        };
        assert_eq!(check(&format!("Bearer {text}")), Ok(()));
        assert_eq!(check(&format!("bearer {text}")), Ok(()));
        let mut other = text.clone();
        other.replace_range(63..64, "8");
        for wrong in [
            text.as_str(),
            "Bearer",
            "Bearer ",
            &format!("Basic {text}"),
            &format!("Bearer {}", text.get(..63).unwrap()),
            &format!("Bearer {text}0"),
            &format!("Bearer 0x{text}"),
            &format!("Bearer {other}"),
        ] {
            assert_eq!(check(wrong), Err(1501), "{wrong}");
        }
        assert_eq!(
            token.check(&HeaderMap::new()).map_err(|error| error.code),
            Err(1501)
        );
    }

    #[test]
    fn a_web_page_does_not_pass_even_with_the_token() {
        let token = AdminToken::new([7; 32]);
        let mut headers = HeaderMap::new();
        headers.insert(
            header::AUTHORIZATION,
            format!("Bearer {}", token.to_text()).parse().unwrap(),
        );
        headers.insert(header::ORIGIN, "http://127.0.0.1:9".parse().unwrap());
        assert_eq!(token.check(&headers).map_err(|error| error.code), Err(1502));
        assert_eq!(format!("{token:?}"), "AdminToken(secret)");
    }
}
