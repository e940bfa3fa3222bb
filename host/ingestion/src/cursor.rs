//! The cursor of an incremental stream: a column whose values only rise. Its values travel as text (numbers
//! in decimal, dates and timestamps as ISO 8601, strings as they are) and are compared as what they are.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, Scalar, StringArray};
use arrow::compute::kernels::cmp::{gt, gt_eq, lt_eq};
use arrow::compute::{SortOptions, and_kleene, cast, nullif, sort_to_indices};
use arrow::datatypes::{
    DataType, Date32Type, Decimal128Type, Float32Type, Float64Type, Int64Type, TimeUnit,
    TimestampMicrosecondType,
};
use arrow::error::ArrowError;
use tidegate_model::{Code, Fault, Lookback, Result};

/// Whether values of a type have one order that text and comparison agree on.
pub(crate) fn orderable(data_type: &DataType) -> bool {
    data_type.is_integer()
        || data_type.is_floating()
        || matches!(
            data_type,
            DataType::Decimal128(..) | DataType::Date32 | DataType::Timestamp(..) | DataType::Utf8
        )
}

/// The column with null for what has no place in the order: NaN, which sorts above everything, would end all
/// loading as a mark.
pub(crate) fn ordered(column: &ArrayRef) -> Result<ArrayRef> {
    let nan: BooleanArray = match column.data_type() {
        DataType::Float64 => BooleanArray::from_unary(column.as_primitive::<Float64Type>(), f64::is_nan),
        DataType::Float32 => BooleanArray::from_unary(column.as_primitive::<Float32Type>(), f32::is_nan),
        _ => return Ok(Arc::clone(column)),
    };
    nullif(column, &nan).map_err(|error| bad(&error))
}

/// The greatest value; none when there is none.
pub(crate) fn greatest(column: &ArrayRef) -> Result<Option<String>> {
    let column = &ordered(column)?;
    if column.null_count() == column.len() {
        return Ok(None);
    }
    let order = SortOptions { descending: true, nulls_first: false };
    let text = || -> Result<String, ArrowError> {
        let index = sort_to_indices(column, Some(order), Some(1))?.value(0) as usize;
        let text = cast(&column.slice(index, 1), &DataType::Utf8)?;
        Ok(text.as_string::<i32>().value(0).to_owned())
    };
    text().map(Some).map_err(|error| bad(&error))
}

/// The greater of two.
pub(crate) fn later(a: Option<String>, b: Option<String>, data_type: &DataType) -> Result<Option<String>> {
    let (a, b) = match (a, b) {
        (Some(a), Some(b)) => (a, b),
        (a, b) => return Ok(a.or(b)),
    };
    let first_wins = is_after(&a, &b, data_type)?;
    Ok(Some(if first_wins { a } else { b }))
}

/// The lesser of a mark and its bound.
pub(crate) fn capped(
    mark: Option<String>,
    bound: Option<&str>,
    data_type: &DataType,
) -> Result<Option<String>> {
    match (mark, bound) {
        (Some(mark), Some(bound)) if is_after(&mark, bound, data_type)? => Ok(Some(bound.to_owned())),
        (mark, _) => Ok(mark),
    }
}

fn is_after(a: &str, b: &str, data_type: &DataType) -> Result<bool> {
    let after = gt(&parse(a, data_type)?, &parse(b, data_type)?).map_err(|error| bad(&error))?;
    Ok(after.value(0))
}

/// A value that lies `lookback` before `mark`; the mark itself without one.
///
/// # Errors
/// A cursor that this kind of lookback does not fit.
pub(crate) fn back(mark: &str, lookback: Option<Lookback>, data_type: &DataType) -> Result<String> {
    let Some(lookback) = lookback else { return Ok(mark.to_owned()) };
    let mark = parse(mark, data_type)?.into_inner();
    let (seconds, number) = match lookback {
        Lookback::Span(span) => (i64::try_from(span.as_secs()).ok(), None),
        Lookback::Number(number) => (None, i64::try_from(number).ok()),
    };
    let earlier: ArrayRef = match (data_type, seconds, number) {
        (DataType::Timestamp(TimeUnit::Microsecond, zone), Some(seconds), _) => {
            let column = mark.as_primitive::<TimestampMicrosecondType>();
            let span = seconds.saturating_mul(1_000_000);
            let earlier = column.unary::<_, TimestampMicrosecondType>(|value| value.saturating_sub(span));
            Arc::new(earlier.with_timezone_opt(zone.clone()))
        }
        (DataType::Date32, Some(seconds), _) => {
            let days = i32::try_from((seconds.saturating_add(86_399)) / 86_400).unwrap_or(i32::MAX);
            Arc::new(mark.as_primitive::<Date32Type>().unary::<_, Date32Type>(|day| day.saturating_sub(days)))
        }
        (whole, _, Some(number)) if whole.is_signed_integer() => {
            let column = cast(&mark, &DataType::Int64).map_err(|error| bad(&error))?;
            let earlier = column
                .as_primitive::<Int64Type>()
                .unary::<_, Int64Type>(|value| value.saturating_sub(number));
            // Below the type's least value there is nothing.
            let least = least_of(whole);
            Arc::new(earlier.unary::<_, Int64Type>(|value| value.max(least)))
        }
        (DataType::Float32 | DataType::Float64, _, Some(number)) => {
            let column = cast(&mark, &DataType::Float64).map_err(|error| bad(&error))?;
            #[expect(clippy::cast_precision_loss, reason = "a window may begin a little earlier")]
            let number = number as f64;
            Arc::new(column.as_primitive::<Float64Type>().unary::<_, Float64Type>(|value| value - number))
        }
        (DataType::Decimal128(precision, scale), _, Some(number)) => {
            let one = 10_i128.checked_pow(u32::try_from(*scale).unwrap_or(0)).unwrap_or(i128::MAX);
            let span = i128::from(number).saturating_mul(one);
            let column = mark.as_primitive::<Decimal128Type>();
            let earlier = column.unary::<_, Decimal128Type>(|value| value.saturating_sub(span));
            Arc::new(earlier.with_precision_and_scale(*precision, *scale).map_err(|error| bad(&error))?)
        }
        _ => return Err(misfit(lookback, data_type)),
    };
    let text = cast(&earlier, &DataType::Utf8).map_err(|error| bad(&error))?;
    Ok(text.as_string::<i32>().value(0).to_owned())
}

/// Whether values of the type can be measured by this kind of lookback; ask before anything is read.
pub(crate) fn check_lookback(lookback: Option<Lookback>, data_type: &DataType) -> Result<()> {
    let fits = match lookback {
        None => true,
        Some(Lookback::Span(_)) => matches!(data_type, DataType::Date32 | DataType::Timestamp(..)),
        Some(Lookback::Number(_)) => {
            data_type.is_integer() || data_type.is_floating() || matches!(data_type, DataType::Decimal128(..))
        }
    };
    if fits { Ok(()) } else { Err(misfit(lookback.unwrap_or(Lookback::Number(0)), data_type)) }
}

fn misfit(lookback: Lookback, data_type: &DataType) -> Fault {
    let fault = Fault::user(
        Code::BadPipeline,
        format!("`lookback: {lookback}` cannot be measured on the cursor, which is {data_type}"),
    );
    match data_type {
        DataType::Date32 | DataType::Timestamp(..) => fault.help("write a span such as 30m, 2h or 1d"),
        DataType::Utf8 => fault.help("text has no distances: drop `lookback`"),
        _ => fault.help("write a number"),
    }
}

fn least_of(whole: &DataType) -> i64 {
    match whole {
        DataType::Int8 => i8::MIN.into(),
        DataType::Int16 => i16::MIN.into(),
        DataType::Int32 => i32::MIN.into(),
        _ => i64::MIN,
    }
}

/// Which rows belong to the window from `low` up to `high`. Null where the cursor is null.
pub(crate) fn window(
    column: &ArrayRef,
    low: Option<&str>,
    high: Option<&str>,
) -> Result<Option<BooleanArray>> {
    let column = &ordered(column)?;
    let data_type = column.data_type();
    let above =
        low.map(|low| gt_eq(column, &parse(low, data_type)?).map_err(|error| bad(&error))).transpose()?;
    let below =
        high.map(|high| lt_eq(column, &parse(high, data_type)?).map_err(|error| bad(&error))).transpose()?;
    match (above, below) {
        (Some(above), Some(below)) => and_kleene(&above, &below).map(Some).map_err(|error| bad(&error)),
        (above, below) => Ok(above.or(below)),
    }
}

fn parse(text: &str, data_type: &DataType) -> Result<Scalar<ArrayRef>> {
    let column: ArrayRef = Arc::new(StringArray::from(vec![text]));
    let parsed = cast(&column, data_type).map_err(|error| bad(&error))?;
    if parsed.is_null(0) {
        return Err(Fault::internal(
            Code::BadState,
            format!("`{text}` is not a value of the cursor, which is {data_type}"),
        )
        .help("`tidegate state reset PIPELINE.yaml` starts over"));
    }
    Ok(Scalar::new(parsed))
}

/// A bound comes from the component: one that is no value of the cursor would stop every attempt at the
/// generation.
pub(crate) fn check_bound(bound: &str, data_type: &DataType) -> Result<()> {
    let column: ArrayRef = Arc::new(StringArray::from(vec![bound]));
    if cast(&column, data_type).is_ok_and(|parsed| parsed.is_valid(0)) {
        return Ok(());
    }
    Err(Fault::internal(
        Code::ConnectorFailed,
        format!("the connector says that the cursor ends at `{bound}`, which is not a value of {data_type}"),
    ))
}

fn bad(error: &ArrowError) -> Fault {
    Fault::internal(Code::Bug, format!("cursor: {error}"))
}

#[cfg(test)]
mod tests {
    use arrow::array::{Date32Array, Float64Array, Int64Array, TimestampMicrosecondArray};
    use arrow::datatypes::TimeUnit;

    use super::*;

    #[test]
    fn values_travel_as_text_and_compare_as_what_they_are() {
        let instant: ArrayRef = Arc::new(
            TimestampMicrosecondArray::from(vec![Some(1_500_000), None, Some(0)]).with_timezone("UTC"),
        );
        let columns: [(ArrayRef, &str, &str); 5] = [
            (Arc::new(Int64Array::from(vec![9, 10, -1])), "10", "9"),
            (Arc::new(Float64Array::from(vec![0.5, 1e3])), "1000.0", "2"),
            (Arc::new(Date32Array::from(vec![0, 15_706])), "2013-01-01", "1999-12-31"),
            (instant, "1970-01-01T00:00:01.500Z", "1970-01-01T00:00:01+00:00"),
            (Arc::new(StringArray::from(vec!["a", "b"])), "b", "a"),
        ];
        for (column, expected, lesser) in columns {
            let found = greatest(&column).unwrap();
            assert_eq!(found.as_deref(), Some(expected));
            let kept = later(found, Some(lesser.into()), column.data_type()).unwrap();
            assert_eq!(kept.as_deref(), Some(expected));
            let cap = capped(kept, Some(lesser), column.data_type()).unwrap();
            assert_eq!(cap.as_deref(), Some(lesser));
        }
    }

    #[test]
    fn a_nan_is_never_the_greatest() {
        let column: ArrayRef = Arc::new(Float64Array::from(vec![Some(1.0), Some(f64::NAN), None]));
        assert_eq!(greatest(&column).unwrap().as_deref(), Some("1.0"));
        let column: ArrayRef = Arc::new(Float64Array::from(vec![f64::NAN]));
        assert_eq!(greatest(&column).unwrap(), None);
    }

    #[test]
    fn the_window_holds_both_its_ends() {
        let column: ArrayRef = Arc::new(Int64Array::from(vec![Some(1), Some(2), Some(3), None]));
        let mask = window(&column, Some("2"), Some("2")).unwrap().unwrap();
        assert_eq!(mask, BooleanArray::from(vec![Some(false), Some(true), Some(false), None]));
        assert!(window(&column, None, None).unwrap().is_none());
        assert!(window(&column, Some("x"), None).is_err());
        assert!(
            orderable(&DataType::Timestamp(TimeUnit::Microsecond, None)) && !orderable(&DataType::Binary)
        );
    }
}
