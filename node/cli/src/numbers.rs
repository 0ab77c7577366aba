//! Numbers in arguments.

use std::ops::RangeInclusive;

/// Parser of an argument that is a whole number within bounds, which its error states.
pub fn whole<T: TryFrom<u64> + 'static>(
    range: RangeInclusive<u64>,
) -> impl Fn(&str) -> Result<T, String> + Clone + Send + Sync + 'static {
    move |text| {
        let read = crate::sending::number(text).ok();
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
