//! Which column reads which type.

use std::marker::PhantomData;

use arrow_array::types::{
    ArrowPrimitiveType, Date32Type, Decimal128Type, Float32Type, Float64Type, Int8Type, Int16Type, Int32Type,
    Int64Type, TimestampMicrosecondType, TimestampMillisecondType, TimestampNanosecondType,
    TimestampSecondType, UInt8Type, UInt16Type, UInt32Type, UInt64Type,
};
use arrow_schema::{DataType, TimeUnit};

use super::scalar::{Boolean, Parse, Primitive};
use super::text::Text;
use super::{Column, Place};
use crate::field::{Field, Form};
use crate::value;

/// A column of this type; or the place back, where the type has children or text cannot express it.
pub fn leaf(data_type: &DataType, place: Place) -> Result<Box<dyn Column>, Place> {
    macro_rules! primitive {
        ($parse:expr, $expected:expr) => {
            Box::new(Primitive::new(place, $expected, data_type.clone(), $parse))
        };
    }
    macro_rules! integer {
        ($type:ty, $expected:literal) => {
            primitive!(Integer::<$type>(PhantomData), $expected)
        };
    }
    macro_rules! timestamp {
        ($type:ty, $per_second:literal, $zone:expr) => {
            if $zone.is_some() {
                primitive!(
                    Ticks::<$type, true, $per_second>(PhantomData),
                    concat!(
                        "a timestamp with its offset from UTC and at most 1/",
                        $per_second,
                        " s, such as 2013-01-31T06:00:00Z"
                    )
                )
            } else {
                primitive!(
                    Ticks::<$type, false, $per_second>(PhantomData),
                    concat!(
                        "a timestamp without a time zone and at most 1/",
                        $per_second,
                        " s, such as 2013-01-31 06:00:00"
                    )
                )
            }
        };
    }
    Ok(match data_type {
        DataType::Int64 => integer!(Int64Type, "an int64"),
        DataType::Int32 => integer!(Int32Type, "an int32"),
        DataType::Int16 => integer!(Int16Type, "an int16"),
        DataType::Int8 => integer!(Int8Type, "an int8"),
        DataType::UInt64 => primitive!(Unsigned, "a uint64"),
        DataType::UInt32 => integer!(UInt32Type, "a uint32"),
        DataType::UInt16 => integer!(UInt16Type, "a uint16"),
        DataType::UInt8 => integer!(UInt8Type, "a uint8"),
        DataType::Float64 => primitive!(Float, "a float64"),
        DataType::Float32 => primitive!(ShortFloat, "a float32"),
        DataType::Date32 => primitive!(Date, "a date, such as 2013-01-31"),
        DataType::Timestamp(TimeUnit::Second, zone) => timestamp!(TimestampSecondType, 1, zone),
        DataType::Timestamp(TimeUnit::Millisecond, zone) => {
            timestamp!(TimestampMillisecondType, 1_000, zone)
        }
        DataType::Timestamp(TimeUnit::Microsecond, zone) => {
            timestamp!(TimestampMicrosecondType, 1_000_000, zone)
        }
        DataType::Timestamp(TimeUnit::Nanosecond, zone) => {
            timestamp!(TimestampNanosecondType, 1_000_000_000, zone)
        }
        DataType::Decimal128(precision, scale) => primitive!(
            Decimal { precision: *precision, scale: *scale },
            format!("a decimal of {precision} digits, {scale} of them after the point")
        ),
        DataType::Boolean => Box::new(Boolean::new(place)),
        DataType::Utf8 => Box::new(Text::new(place)),
        _ => return Err(place),
    })
}

/// JSON has one kind of number: there `1.0` and `1e3` are integers too.
#[inline(always)]
fn integer(field: Field) -> Option<i64> {
    value::integer(field).or_else(|| other_integer(field.bytes(), field.form))
}

#[cold]
#[inline(never)]
fn other_integer(text: &[u8], form: Form) -> Option<i64> {
    if form == Form::Bare { value::whole(text) } else { None }
}

struct Integer<T>(PhantomData<fn() -> T>);

impl<T: ArrowPrimitiveType<Native: TryFrom<i64>>> Parse for Integer<T> {
    type Type = T;

    #[inline(always)]
    fn parse(&self, field: Field) -> Option<T::Native> {
        integer(field)?.try_into().ok()
    }
}

struct Unsigned;

impl Parse for Unsigned {
    type Type = UInt64Type;

    fn parse(&self, field: Field) -> Option<u64> {
        value::unsigned(field.bytes()).or_else(|| integer(field)?.try_into().ok())
    }
}

struct Float;

impl Parse for Float {
    type Type = Float64Type;

    #[inline(always)]
    fn parse(&self, field: Field) -> Option<f64> {
        value::float(field)
    }
}

struct ShortFloat;

impl Parse for ShortFloat {
    type Type = Float32Type;

    fn parse(&self, field: Field) -> Option<f32> {
        std::str::from_utf8(field.bytes()).ok()?.parse().ok()
    }
}

struct Date;

impl Parse for Date {
    type Type = Date32Type;

    #[inline(always)]
    fn parse(&self, field: Field) -> Option<i32> {
        if field.form == Form::Text { value::date(field.bytes()) } else { integer(field)?.try_into().ok() }
    }
}

/// In units of 1 s / `PER_SECOND`; nothing is rounded. A number counts them already.
struct Ticks<T, const ZONED: bool, const PER_SECOND: i64>(PhantomData<fn() -> T>);

impl<T, const ZONED: bool, const PER_SECOND: i64> Parse for Ticks<T, ZONED, PER_SECOND>
where
    T: ArrowPrimitiveType<Native = i64>,
{
    type Type = T;

    #[inline(always)]
    fn parse(&self, field: Field) -> Option<i64> {
        if field.form != Form::Text {
            return integer(field);
        }
        let at = value::timestamp(field.bytes()).filter(|at| at.zoned == ZONED)?;
        let nanoseconds_per_tick = 1_000_000_000 / PER_SECOND;
        let nanoseconds = i64::from(at.nanoseconds);
        if nanoseconds % nanoseconds_per_tick != 0 {
            return None;
        }
        at.seconds.checked_mul(PER_SECOND)?.checked_add(nanoseconds / nanoseconds_per_tick)
    }
}

struct Decimal {
    precision: u8,
    scale: i8,
}

impl Parse for Decimal {
    type Type = Decimal128Type;

    fn parse(&self, field: Field) -> Option<i128> {
        value::decimal(field.bytes(), self.precision, self.scale)
    }
}
