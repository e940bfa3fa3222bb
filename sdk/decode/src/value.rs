//! Values as text writes them. Each function takes the whole field and answers `None` when it is something
//! else.

use std::str::FromStr;

/// An integer in decimal, with an optional sign.
#[inline(always)]
pub fn integer(text: &[u8]) -> Option<i64> {
    let (negative, digits) = match text {
        [b'-', rest @ ..] => (true, rest),
        [b'+', rest @ ..] => (false, rest),
        _ => (false, text),
    };
    if digits.is_empty() {
        return None;
    }
    if digits.len() <= 18 {
        let value = small(digits)? as i64;
        return Some(if negative { -value } else { value });
    }
    parsed(text)
}

/// As the standard library reads it.
#[cold]
fn parsed<T: FromStr>(text: &[u8]) -> Option<T> {
    std::str::from_utf8(text).ok()?.parse().ok()
}

/// At most 18 digits, which always fit.
#[inline(always)]
fn small(digits: &[u8]) -> Option<u64> {
    let mut value = 0_u64;
    for byte in digits {
        let digit = byte.wrapping_sub(b'0');
        if digit > 9 {
            return None;
        }
        value = value * 10 + u64::from(digit);
    }
    Some(value)
}

pub fn unsigned(text: &[u8]) -> Option<u64> {
    if (1..=18).contains(&text.len()) {
        return small(text);
    }
    parsed(text)
}

/// A decimal number, also with an exponent, `NaN` or an infinity; correctly rounded.
#[inline]
pub fn float(text: &[u8]) -> Option<f64> {
    simple_float(text).or_else(|| parsed(text))
}

/// Up to 15 digits and a point: then the digits and the power of ten are both exact doubles, and one division
/// rounds correctly (Clinger 1990).
#[inline]
fn simple_float(text: &[u8]) -> Option<f64> {
    const POWERS: [f64; 16] =
        [1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15];
    let (negative, digits) = match text {
        [b'-', rest @ ..] => (true, rest),
        _ => (false, text),
    };
    if digits.is_empty() || digits.len() > 16 {
        return None;
    }
    let (mut value, mut count, mut after_point) = (0_u64, 0_usize, None);
    for byte in digits {
        let digit = byte.wrapping_sub(b'0');
        if digit <= 9 {
            value = value * 10 + u64::from(digit);
            count += 1;
        } else if *byte == b'.' && after_point.is_none() {
            after_point = Some(count);
        } else {
            return None;
        }
    }
    if count == 0 || count > 15 {
        return None;
    }
    let scaled = value as f64 / POWERS[count - after_point.unwrap_or(count)];
    Some(if negative { -scaled } else { scaled })
}

pub fn boolean(text: &[u8]) -> Option<bool> {
    if text.eq_ignore_ascii_case(b"true") {
        Some(true)
    } else if text.eq_ignore_ascii_case(b"false") {
        Some(false)
    } else {
        None
    }
}

/// A decimal with at most `scale` digits after the point, as an integer of 10^-scale; never rounded.
pub fn decimal(text: &[u8], precision: u8, scale: i8) -> Option<i128> {
    let (negative, digits) = match text {
        [b'-', rest @ ..] => (true, rest),
        [b'+', rest @ ..] => (false, rest),
        _ => (false, text),
    };
    let point = digits.iter().position(|byte| *byte == b'.');
    let (whole, fraction) = match point {
        Some(at) => (&digits[..at], &digits[at + 1..]),
        None => (digits, &digits[..0]),
    };
    let fraction = fraction.trim_ascii_end_zeros();
    let missing = usize::try_from(scale).ok()?.checked_sub(fraction.len())?;
    if digits.len() == usize::from(point.is_some()) {
        return None;
    }
    let mut value = 0_i128;
    for byte in whole.iter().chain(fraction) {
        let digit = byte.wrapping_sub(b'0');
        if digit > 9 {
            return None;
        }
        value = value.checked_mul(10)?.checked_add(i128::from(digit))?;
    }
    value = value.checked_mul(10_i128.checked_pow(u32::try_from(missing).ok()?)?)?;
    let limit = 10_i128.checked_pow(u32::from(precision))?;
    (value < limit).then_some(if negative { -value } else { value })
}

trait TrimZeros {
    fn trim_ascii_end_zeros(&self) -> &[u8];
}

impl TrimZeros for [u8] {
    fn trim_ascii_end_zeros(&self) -> &[u8] {
        let end = self.iter().rposition(|byte| *byte != b'0').map_or(0, |at| at + 1);
        &self[..end]
    }
}

/// `2013-01-31` as days since 1970.
#[inline]
pub fn date(text: &[u8]) -> Option<i32> {
    let [y0, y1, y2, y3, b'-', m0, m1, b'-', d0, d1] = text else { return None };
    let year = two(*y0, *y1)? * 100 + two(*y2, *y3)?;
    let (month, day) = (two(*m0, *m1)?, two(*d0, *d1)?);
    let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let length = match month {
        2 => 28 + u32::from(leap),
        4 | 6 | 9 | 11 => 30,
        1 | 3 | 5 | 7 | 8 | 10 | 12 => 31,
        _ => return None,
    };
    (1..=length).contains(&day).then(|| days(year, month, day))
}

/// Days since 1970 of a day of the Gregorian calendar, years 0 to 9999. The year is taken to begin in March,
/// so that a leap day is its last (Howard Hinnant, "chrono-compatible low-level date algorithms").
fn days(year: u32, month: u32, day: u32) -> i32 {
    let (year, month) =
        if month > 2 { (year as i32, month as i32 - 3) } else { (year as i32 - 1, month as i32 + 9) };
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let day_of_year = (153 * month + 2) / 5 + day as i32 - 1;
    era * 146_097 + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year - 719_468
}

#[inline]
fn two(tens: u8, ones: u8) -> Option<u32> {
    let (tens, ones) = (tens.wrapping_sub(b'0'), ones.wrapping_sub(b'0'));
    (tens <= 9 && ones <= 9).then(|| u32::from(tens) * 10 + u32::from(ones))
}

/// A moment, or a time on a wall somewhere.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timestamp {
    /// Since 1970, in UTC when `zoned`.
    pub seconds: i64,
    pub nanoseconds: u32,
    /// It named its offset from UTC.
    pub zoned: bool,
}

/// `2013-01-01T06:00:00Z` as RFC 3339 has it; also with a space for the `T`, without seconds, with up to nine
/// digits of a fraction, with the offset as `+01`, `+0100` or `+01:00`, or without one.
#[inline]
pub fn timestamp(text: &[u8]) -> Option<Timestamp> {
    let (day, rest) = text.split_at_checked(10)?;
    let day = i64::from(date(day)?);
    let [b'T' | b't' | b' ', h0, h1, b':', m0, m1, rest @ ..] = rest else { return None };
    let (hour, minute) = (two(*h0, *h1)?, two(*m0, *m1)?);
    let (second, rest) = match rest {
        [b':', s0, s1, rest @ ..] => (two(*s0, *s1)?, rest),
        _ => (0, rest),
    };
    let (nanoseconds, rest) = match rest {
        [b'.', rest @ ..] => {
            let length = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
            if !(1..=9).contains(&length) {
                return None;
            }
            (small(&rest[..length])? as u32 * 10_u32.pow(9 - length as u32), &rest[length..])
        }
        _ => (0, rest),
    };
    let offset = match rest {
        [] => None,
        b"Z" | b"z" => Some(0),
        [sign @ (b'+' | b'-'), h0, h1, minutes @ ..] => {
            let minutes = match minutes {
                [] => 0,
                [b':', m0, m1] | [m0, m1] => two(*m0, *m1)?,
                _ => return None,
            };
            let hours = two(*h0, *h1)?;
            if hours > 23 || minutes > 59 {
                return None;
            }
            let seconds = i64::from(hours * 3600 + minutes * 60);
            Some(if *sign == b'-' { -seconds } else { seconds })
        }
        _ => return None,
    };
    if hour > 23 || minute > 59 || second > 59 {
        return None;
    }
    let seconds = day * 86_400 + i64::from(hour * 3600 + minute * 60 + second) - offset.unwrap_or(0);
    Some(Timestamp { seconds, nanoseconds, zoned: offset.is_some() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn integers() {
        for (text, expected) in [
            ("0", Some(0)),
            ("-17", Some(-17)),
            ("+5", Some(5)),
            ("007", Some(7)),
            ("9223372036854775807", Some(i64::MAX)),
            ("-9223372036854775808", Some(i64::MIN)),
            ("9223372036854775808", None),
            ("", None),
            ("-", None),
            ("1.0", None),
            (" 1", None),
            ("1_0", None),
        ] {
            assert_eq!(integer(text.as_bytes()), expected, "{text}");
        }
    }

    #[test]
    fn floats_are_those_of_the_standard_library() {
        for text in [
            "0",
            "-0",
            "1.5",
            "-12.",
            ".25",
            "123456789012345",
            "0.1",
            "37.04",
            "1e3",
            "-2.5E-3",
            "1e400",
            "NaN",
            "inf",
            "9007199254740993",
        ] {
            let (ours, theirs) = (float(text.as_bytes()).unwrap(), text.parse::<f64>().unwrap());
            assert_eq!(ours.to_bits(), theirs.to_bits(), "{text}");
        }
        for text in ["", "-", ".", "1.2.3", "1,5", "x", "0x10", " 1"] {
            assert_eq!(float(text.as_bytes()), None, "{text}");
        }
    }

    #[test]
    fn decimals_are_never_rounded() {
        for (text, expected) in [
            ("1.25", Some(125)),
            ("-1.5", Some(-150)),
            ("1.250", Some(125)),
            ("1.256", None),
            ("100", None),
            ("99.99", Some(9999)),
            (".5", Some(50)),
            ("5.", Some(500)),
            (".", None),
            ("-", None),
            ("", None),
            ("1e1", None),
        ] {
            assert_eq!(decimal(text.as_bytes(), 4, 2), expected, "{text}");
        }
    }

    #[test]
    fn dates() {
        for (text, expected) in [
            ("1970-01-01", Some(0)),
            ("1969-12-31", Some(-1)),
            ("2000-02-29", Some(11016)),
            ("2013-01-01", Some(15706)),
            ("0001-01-01", Some(-719_162)),
            ("9999-12-31", Some(2_932_896)),
            ("1900-02-29", None),
            ("2013-13-01", None),
            ("2013-04-31", None),
            ("2013-1-1", None),
        ] {
            assert_eq!(date(text.as_bytes()), expected, "{text}");
        }
    }

    #[test]
    fn timestamps() {
        let hour = 15706 * 86_400 + 6 * 3600;
        for (text, seconds, nanoseconds, zoned) in [
            ("2013-01-01T06:00:00Z", hour, 0, true),
            ("2013-01-01 06:00", hour, 0, false),
            ("2013-01-01T06:00:01.5", hour + 1, 500_000_000, false),
            ("2013-01-01T06:00:00.000000001+01:00", hour - 3600, 1, true),
            ("2013-01-01T06:00:00-0030", hour + 1800, 0, true),
            ("2013-01-01T06:00:00+01", hour - 3600, 0, true),
        ] {
            assert_eq!(timestamp(text.as_bytes()), Some(Timestamp { seconds, nanoseconds, zoned }), "{text}");
        }
        for text in [
            "2013-01-01",
            "2013-01-01T24:00:00Z",
            "2013-01-01T06:60",
            "2013-01-01T06:00:00.",
            "2013-01-01T06:00:00 Z",
        ] {
            assert_eq!(timestamp(text.as_bytes()), None, "{text}");
        }
    }
}
