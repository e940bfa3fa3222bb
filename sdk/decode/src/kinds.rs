//! What values look like, and the type that they have in common: one rule for every format.

use arrow_schema::{DataType, TimeUnit};

use crate::value;

/// What one value looks like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Boolean,
    Integer,
    Float,
    Date,
    Naive,
    /// A timestamp that names its offset from UTC.
    Zoned,
    /// A number whose leading zeros would be lost.
    Zeros,
    /// An integer beyond 64 bits.
    Huge,
    Text,
}

impl Kind {
    /// Of text that says nothing of its type, as in CSV.
    pub fn of(text: &[u8]) -> Self {
        let digits = text.strip_prefix(b"-").unwrap_or(text);
        let is_number = digits.first().is_some_and(|byte| byte.is_ascii_digit() || *byte == b'.');
        if is_number && digits.iter().all(u8::is_ascii_digit) {
            return if digits.len() > 1 && digits[0] == b'0' {
                Self::Zeros
            } else if value::integer(text).is_some() {
                Self::Integer
            } else {
                Self::Huge
            };
        }
        if is_number && value::float(text).is_some() {
            let has_leading_zeros = digits.len() > 1 && digits[0] == b'0' && digits[1].is_ascii_digit();
            return if has_leading_zeros { Self::Zeros } else { Self::Float };
        }
        match Self::of_string(text) {
            Self::Text if value::boolean(text).is_some() => Self::Boolean,
            kind => kind,
        }
    }

    /// Of text that is neither a number nor a boolean, as a JSON string: a date, a timestamp, or nothing but
    /// text.
    pub fn of_string(text: &[u8]) -> Self {
        if value::date(text).is_some() {
            return Self::Date;
        }
        match value::timestamp(text) {
            Some(at) if at.zoned => Self::Zoned,
            Some(_) => Self::Naive,
            None => Self::Text,
        }
    }

    const fn bit(self) -> u16 {
        1 << self as u16
    }
}

/// The kinds that the values at one place have.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Kinds {
    /// One bit for each.
    bits: u16,
    /// A timestamp has a fraction finer than microseconds.
    nanoseconds: bool,
}

impl Kinds {
    pub fn see(&mut self, kind: Kind, text: &[u8]) {
        self.bits |= kind.bit();
        if matches!(kind, Kind::Naive | Kind::Zoned) {
            self.nanoseconds |= value::timestamp(text).is_some_and(|at| at.nanoseconds % 1000 != 0);
        }
    }

    pub fn is_empty(self) -> bool {
        self.bits == 0
    }

    pub fn has(self, kind: Kind) -> bool {
        self.bits & kind.bit() != 0
    }

    #[must_use]
    pub fn without(self, kind: Kind) -> Self {
        Self { bits: self.bits & !kind.bit(), ..self }
    }

    pub fn is_only(self, kind: Kind) -> bool {
        self.bits == kind.bit()
    }

    /// The type that all of them have in common, other than text.
    pub fn data_type(self) -> Option<DataType> {
        const BOOLEAN: u16 = Kind::Boolean.bit();
        const INTEGER: u16 = Kind::Integer.bit();
        const FLOAT: u16 = Kind::Float.bit();
        const HUGE: u16 = Kind::Huge.bit();
        const DATE: u16 = Kind::Date.bit();
        const NAIVE: u16 = Kind::Naive.bit();
        const ZONED: u16 = Kind::Zoned.bit();
        let unit = if self.nanoseconds { TimeUnit::Nanosecond } else { TimeUnit::Microsecond };
        match self.bits {
            0 => Some(DataType::Null),
            BOOLEAN => Some(DataType::Boolean),
            INTEGER => Some(DataType::Int64),
            DATE => Some(DataType::Date32),
            NAIVE => Some(DataType::Timestamp(unit, None)),
            ZONED => Some(DataType::Timestamp(unit, Some("UTC".into()))),
            bits if bits & FLOAT != 0 && bits & !(FLOAT | INTEGER | HUGE) == 0 => Some(DataType::Float64),
            _ => None,
        }
    }
}
