//! Numbers in arguments.

use std::ops::RangeInclusive;

/// Parser of an argument that is a whole number within bounds, which its error states.
pub fn whole<T: TryFrom<u64> + 'static>(
    range: RangeInclusive<u64>,
) -> impl Fn(&str) -> Result<T, String> + Clone + Send + Sync + 'static {
    move |text| {
        let read = number(text).ok();
        read.filter(|number| range.contains(number))
            .and_then(|number| T::try_from(number).ok())
            .ok_or_else(|| {
                format!(
                    "it is a whole number, {} to {}, without sign and leading zeros",
                    range.start(),
                    range.end()
                )
            })
    }
}

/// Parses a whole number as the RPC interface does: no sign, no spaces, no superfluous zeros.
///
/// # Errors
/// A message for the user.
pub fn number(text: &str) -> Result<u64, String> {
    let digits = text.bytes().all(|byte| byte.is_ascii_digit());
    let canonical = text == "0" || !text.starts_with('0');
    let read = if digits && canonical {
        text.parse().ok()
    } else {
        None
    };
    read.ok_or_else(|| {
        format!(
            "it is a whole number, 0 to {}, without sign and leading zeros",
            u64::MAX
        )
    })
}
