//! Numbers in arguments: exact, with one way to write each.

use std::fmt;
use std::str::FromStr;

use super::StepError;

/// A number from 0 with at most three decimals, kept exact so that equal recipes print equally.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Thousandths(pub u32);

impl Thousandths {
    pub(super) fn as_f32(self) -> f32 {
        self.0 as f32 / 1_000.0
    }

    /// This number, if it lies in the range given in thousandths.
    pub(super) fn within(self, range: std::ops::RangeInclusive<u32>) -> Result<Self, StepError> {
        if range.contains(&self.0) {
            return Ok(self);
        }
        let (low, high) = (Self(*range.start()), Self(*range.end()));
        Err(format!("wants a number from {low} to {high}, not {self}").into())
    }
}

impl FromStr for Thousandths {
    type Err = StepError;

    fn from_str(text: &str) -> Result<Self, StepError> {
        let wrong = || StepError(format!("wants a number with at most three decimals, not `{text}`"));
        let (whole, decimals) = text.split_once('.').unwrap_or((text, "0"));
        let digits = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
        if !digits(whole) || !digits(decimals) || decimals.len() > 3 {
            return Err(wrong());
        }
        let whole: u32 = whole.parse().map_err(|_| wrong())?;
        let decimals: u32 = format!("{decimals:0<3}").parse().map_err(|_| wrong())?;
        whole
            .checked_mul(1_000)
            .and_then(|thousandths| thousandths.checked_add(decimals))
            .map(Self)
            .ok_or_else(wrong)
    }
}

impl fmt::Display for Thousandths {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = format!("{}.{:03}", self.0 / 1_000, self.0 % 1_000);
        f.write_str(text.trim_end_matches('0').trim_end_matches('.'))
    }
}

/// A whole number in decimal digits alone: no sign, no spaces.
pub(super) fn whole(text: &str) -> Result<u32, StepError> {
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let value = if digits { text.parse().ok() } else { None };
    value.ok_or_else(|| format!("wants a whole number, not `{text}`").into())
}

/// Longest side that a recipe may ask for: what WebP can express.
pub(super) const SIDE_MAX_PX: u32 = 16_383;

/// A size written `300x200`; 0 leaves a side free.
pub(super) fn size(text: &str) -> Result<(u32, u32), StepError> {
    let (width, height) =
        text.split_once('x').ok_or_else(|| StepError(format!("wants a size like 300x200, not `{text}`")))?;
    let (width, height) = (whole(width)?, whole(height)?);
    if width > SIDE_MAX_PX || height > SIDE_MAX_PX {
        return Err(format!("allows at most {SIDE_MAX_PX} pixels a side").into());
    }
    Ok((width, height))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_has_one_way_to_be_written() {
        for (text, printed) in
            [("0.50", "0.5"), ("1", "1"), ("1.0", "1"), ("007", "7"), ("10", "10"), ("0.125", "0.125")]
        {
            assert_eq!(text.parse::<Thousandths>().unwrap().to_string(), printed);
        }
    }

    #[test]
    fn what_is_not_a_plain_decimal_is_refused() {
        for text in ["", ".", "1.", ".5", "-1", "+1", "1e3", "0.1234", "4294967.296", " 1", "1_000"] {
            assert!(text.parse::<Thousandths>().is_err(), "{text}");
        }
    }
}
