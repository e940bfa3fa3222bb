//! Values as text writes them. Each function takes the whole field and answers `None` when it is something
//! else.

use std::str::FromStr;

use crate::field::Field;

/// An integer in decimal, with an optional sign.
#[inline(always)]
pub fn integer<'t>(field: impl Into<Field<'t>>) -> Option<i64> {
    let field = field.into();
    let word = field.word();
    let sign = word as u8;
    let signed = usize::from(sign == b'-' || sign == b'+');
    let value = match field.len().checked_sub(signed) {
        Some(length @ 1..=7) => eight(word >> (8 * signed), length)? as i64,
        Some(8..=18) => small(&field.bytes()[signed..])? as i64,
        _ => return parsed(field.bytes()),
    };
    Some(if sign == b'-' { -value } else { value })
}

/// The number that the `length` lowest bytes of a word are, 1 to 8 digits with the first one lowest: pairs
/// of digits, then pairs of these (Daniel Lemire, "Quickly parsing eight digits").
#[inline(always)]
fn eight(word: u64, length: usize) -> Option<u64> {
    const ZEROS: u64 = 0x3030_3030_3030_3030;
    // What is shifted in are digits of value 0 at the front.
    let digits = (word ^ ZEROS) << (64 - 8 * length);
    let beyond_nine = digits.wrapping_add(0x7676_7676_7676_7676) | digits;
    if beyond_nine & 0x8080_8080_8080_8080 != 0 {
        return None;
    }
    let pairs = digits.wrapping_mul(10).wrapping_add(digits >> 8);
    let first = (pairs & 0x0000_00FF_0000_00FF).wrapping_mul(0x000F_4240_0000_0064);
    let second = ((pairs >> 16) & 0x0000_00FF_0000_00FF).wrapping_mul(0x0000_2710_0000_0001);
    Some(first.wrapping_add(second) >> 32)
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
#[inline(always)]
pub fn float<'t>(field: impl Into<Field<'t>>) -> Option<f64> {
    let field = field.into();
    short_float(&field).or_else(|| longer_float(field.bytes()))
}

fn longer_float(text: &[u8]) -> Option<f64> {
    simple_float(text).or_else(|| parsed(text))
}

/// Powers of ten that are exact doubles.
const POWERS: [f64; 16] =
    [1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15];

/// The same as [`simple_float`] for up to 8 characters, all at once.
#[inline(always)]
fn short_float(field: &Field) -> Option<f64> {
    const ONES: u64 = 0x0101_0101_0101_0101;
    const POINTS: u64 = 0x2E2E_2E2E_2E2E_2E2E;
    let negative = field.word() as u8 == b'-';
    let length = field.len().checked_sub(usize::from(negative))?;
    if field.len() > 8 || length == 0 {
        return None;
    }
    let word = field.word() >> (8 * u32::from(negative));
    // The lowest zero byte has the lowest bit; those above it may be wrong.
    let apart = word ^ POINTS;
    let points = apart.wrapping_sub(ONES) & !apart & (ONES << 7);
    let whole = (points.trailing_zeros() / 8) as usize;
    let value = if whole >= length {
        eight(word, length)? as f64
    } else if length > 1 {
        let before = !(u64::MAX << (8 * whole));
        eight(word & before | word >> 8 & !before, length - 1)? as f64 / POWERS[length - 1 - whole]
    } else {
        return None;
    };
    Some(if negative { -value } else { value })
}

/// Up to 15 digits and a point: then the digits and the power of ten are both exact doubles, and one division
/// rounds correctly (Clinger 1990).
#[inline]
fn simple_float(text: &[u8]) -> Option<f64> {
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

/// An integer, or a float without a fraction: JSON has one kind of number.
pub fn whole(text: &[u8]) -> Option<i64> {
    const LIMIT: f64 = (1_u64 << 63) as f64;
    integer(text).or_else(|| {
        let value = float(text).filter(|value| value.fract() == 0.0)?;
        (-LIMIT..LIMIT).contains(&value).then_some(value as i64)
    })
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
    day(text.try_into().ok()?)
}

#[inline(always)]
fn day(text: &[u8; 10]) -> Option<i32> {
    let [front @ .., d0, d1] = text;
    let pairs = two_by_two(*front, *b"0000-00-")?.to_le_bytes();
    let year = u32::from(pairs[0]) * 100 + u32::from(pairs[2]);
    let (month, day) = (u32::from(pairs[5]), two(*d0, *d1)?);
    let leap = year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400));
    let length = match month {
        2 => 28 + u32::from(leap),
        4 | 6 | 9 | 11 => 30,
        1 | 3 | 5 | 7 | 8 | 10 | 12 => 31,
        _ => return None,
    };
    (1..=length).contains(&day).then(|| days(year, month, day))
}

/// What each digit and the one after it make, at the first one's place. The text must have digits where the
/// form has zeros, and otherwise be the same.
#[inline(always)]
fn two_by_two(text: [u8; 8], form: [u8; 8]) -> Option<u64> {
    let digits = u64::from_le_bytes(text) ^ u64::from_le_bytes(form);
    let allowed = u64::from_le_bytes(form.map(|byte| if byte == b'0' { 0x7F - 9 } else { 0x7F }));
    if (digits.wrapping_add(allowed) | digits) & 0x8080_8080_8080_8080 != 0 {
        return None;
    }
    Some(digits.wrapping_mul(10).wrapping_add(digits >> 8))
}

/// Days since 1970 of a day of the Gregorian calendar, years 0 to 9999. The year is taken to begin in March,
/// so that a leap day is its last (Howard Hinnant, "chrono-compatible low-level date algorithms"), and to be
/// 400 years later, so that nothing is negative.
#[inline(always)]
fn days(year: u32, month: u32, day: u32) -> i32 {
    let (year, month) = if month > 2 { (year + 400, month - 3) } else { (year + 399, month + 9) };
    let day_of_year = (153 * month + 2) / 5 + day - 1;
    let days = year * 365 + year / 4 - year / 100 + year / 400 + day_of_year;
    days as i32 - (719_468 + 146_097)
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
    let (day, rest) = text.split_first_chunk()?;
    let day = i64::from(self::day(day)?);
    let (hour, minute, second, rest) = match rest {
        [b'T' | b't' | b' ', clock @ ..] if clock.get(5) == Some(&b':') => {
            let (clock, rest) = clock.split_first_chunk()?;
            let pairs = two_by_two(*clock, *b"00:00:00")?.to_le_bytes();
            (u32::from(pairs[0]), u32::from(pairs[3]), u32::from(pairs[6]), rest)
        }
        [b'T' | b't' | b' ', h0, h1, b':', m0, m1, rest @ ..] => (two(*h0, *h1)?, two(*m0, *m1)?, 0, rest),
        _ => return None,
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
    use crate::field::Form;

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
            ("12345678", Some(12_345_678)),
            ("-1234567", Some(-1_234_567)),
            ("-12345678", Some(-12_345_678)),
            ("123456789", Some(123_456_789)),
            ("-123456789012345678", Some(-123_456_789_012_345_678)),
            ("1234567/", None),
            ("1234567:", None),
            ("+-1", None),
        ] {
            assert_eq!(integer(text.as_bytes()), expected, "{text}");
            let around = format!("9{text}9,x");
            let field = Field { around: around.as_bytes(), start: 1, end: 1 + text.len(), form: Form::Text };
            assert_eq!(integer(field), expected, "{text} among others");
        }
    }

    #[test]
    fn whole_numbers_may_look_like_floats() {
        for (text, expected) in [
            ("12", Some(12)),
            ("12.0", Some(12)),
            ("-1e3", Some(-1000)),
            ("1.5", None),
            ("1e19", None),
            ("9223372036854775808", None),
            ("-9223372036854775808.0", Some(i64::MIN)),
            ("true", None),
        ] {
            assert_eq!(whole(text.as_bytes()), expected, "{text}");
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
            "1234567.",
            "0.000001",
            "-.5",
            "-123.456",
            "12345678",
            "1.000000",
        ] {
            let (ours, theirs) = (float(text.as_bytes()).unwrap(), text.parse::<f64>().unwrap());
            assert_eq!(ours.to_bits(), theirs.to_bits(), "{text}");
        }
        for text in ["", "-", ".", "-.", "1.2.3", "..1", "1,5", "x", "0x10", " 1"] {
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
