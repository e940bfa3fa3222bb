//! What sources send and what a table's readers see: every type, and every way in which a schema changes.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod common;

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, BinaryArray, BooleanArray, Date32Array, Date64Array, Decimal128Array,
    Decimal256Array, DictionaryArray, DurationSecondArray, FixedSizeBinaryArray, Float16Array, Float32Array,
    Float64Array, Int8Array, Int16Array, Int32Array, Int64Array, LargeStringArray, ListArray, MapBuilder,
    NullArray, RunArray, StringArray, StringBuilder, StringViewArray, StructArray, TimestampMicrosecondArray,
    TimestampMillisecondArray, TimestampNanosecondArray, TimestampSecondArray, UInt8Array, UInt16Array,
    UInt32Array, UInt64Array,
};
use arrow::compute::concat_batches;
use arrow::datatypes::{DataType, Field, Float32Type, Int32Type, Schema, TimeUnit, i256};
use arrow::record_batch::RecordBatch;
use arrow::util::display::array_value_to_string;
use common::{Source, memory, open, read};
use object_store::ObjectStore;
use tidegate_ingestion::{Conform, NewPlan, Reconciled, reconcile};
use tidegate_model::{Change, Code, Fault, Mode, Reject, Result, SchemaChange, WriteMode};

fn one(name: &str, column: ArrayRef) -> RecordBatch {
    RecordBatch::try_from_iter_with_nullable([(name, column, true)]).unwrap()
}

/// Lands a batch and says what a reader finds, and what was noted and set aside on the way.
async fn land(
    store: &Arc<dyn ObjectStore>,
    sent: &RecordBatch,
    change: SchemaChange,
    write: WriteMode,
) -> Result<(Reconciled, Vec<Reject>)> {
    let mut coordinator = open(store).await?;
    let reconciled = reconcile(coordinator.table_schema()?.as_deref(), sent.schema_ref(), change, write)?;
    let source = Source::incremental(&[&[]]);
    let plan = NewPlan {
        mode: Mode::Full,
        cursor: None,
        upper_bound: None,
        write,
        schema: Arc::clone(&reconciled.target),
        ..source.plan()
    };
    let generation = coordinator.begin(plan).await?;
    let conform = Conform::new(sent.schema_ref(), Arc::clone(generation.schema()), change)?;
    let conformed = conform.apply(sent)?;
    let mut stager = coordinator.stage()?.open(0, None);
    stager.write(&conformed.batch).await?;
    stager.reject(&conformed.rejects).await?;
    stager.finish().await?;
    coordinator.commit(true).await?;
    assert_eq!(open(store).await?.table_schema()?.unwrap().fields(), reconciled.target.fields());
    Ok((reconciled, conformed.rejects))
}

async fn evolve(store: &Arc<dyn ObjectStore>, sent: &RecordBatch) -> Result<Reconciled> {
    land(store, sent, SchemaChange::default(), WriteMode::Append).await.map(|(reconciled, _)| reconciled)
}

fn shown(column: &dyn Array) -> String {
    let values: Vec<String> = (0..column.len())
        .map(|row| if column.is_null(row) { "-".into() } else { array_value_to_string(column, row).unwrap() })
        .collect();
    values.join(" ")
}

#[tokio::test(flavor = "multi_thread")]
async fn every_type_comes_back_as_the_table_of_types_says() {
    let list = ListArray::from_iter_primitive::<Int32Type, _, _>([Some(vec![Some(1), None]), None]);
    let fields = vec![Field::new("x", DataType::UInt8, true), Field::new("y", DataType::LargeUtf8, true)];
    let columns: Vec<ArrayRef> =
        vec![Arc::new(UInt8Array::from(vec![255, 0])), Arc::new(LargeStringArray::from(vec!["a", "b"]))];
    let nested = StructArray::new(fields.into(), columns, None);
    let mut map = MapBuilder::new(None, StringBuilder::new(), StringBuilder::new());
    map.keys().append_value("k");
    map.values().append_value("v");
    map.append(true).unwrap();
    map.append(false).unwrap();
    let half = half(1.5);
    let days = 86_400_000_i64;
    let utc = TimestampMicrosecondArray::from(vec![Some(-1), None]).with_timezone("UTC");
    let zoned = TimestampSecondArray::from(vec![Some(0), None]).with_timezone("+02:00");
    let dictionary: DictionaryArray<Int32Type> = vec![Some("a"), None].into_iter().collect();
    let runs = RunArray::try_new(&Int32Array::from(vec![1, 2]), &StringArray::from(vec!["p", "q"])).unwrap();
    let table: Vec<(&str, ArrayRef, DataType, &str)> = vec![
        ("boolean", Arc::new(BooleanArray::from(vec![Some(true), None])), DataType::Boolean, "true -"),
        ("int8", Arc::new(Int8Array::from(vec![-128, 127])), DataType::Int8, "-128 127"),
        ("int16", Arc::new(Int16Array::from(vec![-32768, 1])), DataType::Int16, "-32768 1"),
        ("int32", Arc::new(Int32Array::from(vec![i32::MIN, 1])), DataType::Int32, "-2147483648 1"),
        ("int64", Arc::new(Int64Array::from(vec![i64::MIN, 1])), DataType::Int64, "-9223372036854775808 1"),
        ("uint8", Arc::new(UInt8Array::from(vec![255, 0])), DataType::Int16, "255 0"),
        ("uint16", Arc::new(UInt16Array::from(vec![65535, 0])), DataType::Int32, "65535 0"),
        ("uint32", Arc::new(UInt32Array::from(vec![u32::MAX, 0])), DataType::Int64, "4294967295 0"),
        (
            "uint64",
            Arc::new(UInt64Array::from(vec![u64::MAX, 0])),
            DataType::Decimal128(20, 0),
            "18446744073709551615 0",
        ),
        ("float16", half, DataType::Float32, "1.5 -"),
        (
            "float32",
            Arc::new(Float32Array::from(vec![f32::NAN, f32::INFINITY])),
            DataType::Float32,
            "NaN inf",
        ),
        ("float64", Arc::new(Float64Array::from(vec![-0.0, 1e300])), DataType::Float64, "-0.0 1e300"),
        (
            "decimal128",
            decimal(Decimal128Array::from(vec![12345, -1]), 12, 2),
            DataType::Decimal128(12, 2),
            "123.45 -0.01",
        ),
        (
            "decimal256",
            Arc::new(
                Decimal256Array::from(vec![i256::from_i128(7), i256::from_i128(-7)])
                    .with_precision_and_scale(38, 1)
                    .unwrap(),
            ),
            DataType::Decimal128(38, 1),
            "0.7 -0.7",
        ),
        ("utf8", Arc::new(StringArray::from(vec![Some(""), None])), DataType::Utf8, " -"),
        ("utf8_view", Arc::new(StringViewArray::from(vec![Some("ü"), None])), DataType::Utf8, "ü -"),
        ("binary", Arc::new(BinaryArray::from(vec![&b"\x00\xff"[..], b""])), DataType::Binary, "00ff "),
        (
            "fixed_size_binary",
            Arc::new(FixedSizeBinaryArray::try_from_iter([[1_u8, 2], [3, 4]].iter()).unwrap()),
            DataType::Binary,
            "0102 0304",
        ),
        (
            "date32",
            Arc::new(Date32Array::from(vec![-719_162, 2_932_896])),
            DataType::Date32,
            "0001-01-01 9999-12-31",
        ),
        ("date64", Arc::new(Date64Array::from(vec![days, -days])), DataType::Date32, "1970-01-02 1969-12-31"),
        (
            "timestamp_ms",
            Arc::new(TimestampMillisecondArray::from(vec![Some(1_357_034_400_123), None])),
            DataType::Timestamp(TimeUnit::Microsecond, None),
            "2013-01-01T10:00:00.123 -",
        ),
        (
            "timestamp_ns",
            Arc::new(TimestampNanosecondArray::from(vec![Some(1_000), None])),
            DataType::Timestamp(TimeUnit::Microsecond, None),
            "1970-01-01T00:00:00.000001 -",
        ),
        (
            "instant",
            Arc::new(utc),
            DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())),
            "1969-12-31T23:59:59.999999Z -",
        ),
        (
            "instant_zone",
            Arc::new(zoned),
            DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())),
            "1970-01-01T00:00:00Z -",
        ),
        ("duration", Arc::new(DurationSecondArray::from(vec![90, -1])), DataType::Int64, "90 -1"),
        ("dictionary", Arc::new(dictionary), DataType::Utf8, "a -"),
        ("run_end_encoded", Arc::new(runs), DataType::Utf8, "p q"),
        ("list", Arc::new(list), DataType::Null, "[1, ] -"),
        ("struct", Arc::new(nested), DataType::Null, "{x: 255, y: a} {x: 0, y: b}"),
        ("map", Arc::new(map.finish()), DataType::Null, "{k: v} -"),
    ];
    let columns = table.iter().map(|(name, column, ..)| (*name, Arc::clone(column), true));
    let sent = RecordBatch::try_from_iter_with_nullable(columns).unwrap();
    let store = memory();
    let reconciled = evolve(&store, &sent).await.unwrap();
    assert!(reconciled.notes.contains(&"column `uint8`: UInt8 is stored as Int16".to_owned()));
    let found = read(&store).await;
    let found = concat_batches(found[0].schema_ref(), &found).unwrap();
    for (name, _, data_type, expected) in &table {
        let column = found.column_by_name(name).unwrap();
        if *data_type != DataType::Null {
            assert_eq!(column.data_type(), data_type, "{name}");
        }
        assert_eq!(shown(column), *expected, "{name}");
    }
}

fn half(value: f32) -> ArrayRef {
    let column: ArrayRef = Arc::new(Float32Array::from(vec![Some(value), None]));
    let half = arrow::compute::cast(&column, &DataType::Float16).unwrap();
    assert!(half.as_any().is::<Float16Array>());
    half
}

fn decimal(column: Decimal128Array, precision: u8, scale: i8) -> ArrayRef {
    Arc::new(column.with_precision_and_scale(precision, scale).unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_table_cannot_hold_stops_the_run_and_says_so() {
    let finer: ArrayRef = Arc::new(TimestampNanosecondArray::from(vec![1_000, 1_001]));
    let later: ArrayRef = Arc::new(TimestampSecondArray::from(vec![i64::MAX / 1_000]));
    let noon: ArrayRef = Arc::new(Date64Array::from(vec![43_200_000]));
    for (column, expected) in [
        (finer, "column `c`: Cast error: `1970-01-01T00:00:00.000001001` in row 1 of the batch is finer"),
        (later, "column `c`: "),
        (noon, "is finer than the table can hold"),
        (Arc::new(NullArray::new(1)) as ArrayRef, "column `c` has the type Null"),
    ] {
        let fault = evolve(&memory(), &one("c", column)).await.unwrap_err();
        assert_eq!(fault.code, Code::TypeRefused);
        assert!(fault.message.contains(expected), "{fault}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn columns_come_and_go() {
    let store = memory();
    let ints = |values: Vec<i32>| -> ArrayRef { Arc::new(Int32Array::from(values)) };
    evolve(&store, &one("a", ints(vec![1]))).await.unwrap();
    let both = RecordBatch::try_from_iter([("b", ints(vec![20])), ("A", ints(vec![2]))]).unwrap();
    assert_eq!(evolve(&store, &both).await.unwrap().added, ["b"]);
    let gone = evolve(&store, &one("b", ints(vec![30]))).await.unwrap();
    assert_eq!(gone.notes, ["column `a` is no longer in the source: null from now on"]);
    let mut found: Vec<(String, String)> = Vec::new();
    for batch in read(&store).await {
        let column = |name| batch.column_by_name(name).map_or("absent".into(), |column| shown(column));
        found.push((column("a"), column("b")));
    }
    found.sort();
    let expected = [("-", "30"), ("1", "absent"), ("2", "20")];
    assert_eq!(found, expected.map(|(a, b)| (a.to_owned(), b.to_owned())));

    let change = |columns| SchemaChange { columns, data_type: Change::Evolve };
    let wider = RecordBatch::try_from_iter([
        ("a", ints(vec![4, 5])),
        ("b", ints(vec![40, 50])),
        ("c", ints(vec![0, 0])),
    ])
    .unwrap();
    let refused = land(&store, &wider, change(Change::Freeze), WriteMode::Append).await.unwrap_err();
    assert_eq!(refused.code, Code::SchemaRefused);
    let (_, rejects) = land(&store, &wider, change(Change::DiscardRow), WriteMode::Append).await.unwrap();
    assert_eq!(rejects[1].raw.as_deref(), Some(r#"{"a":5,"b":50,"c":0}"#));
    let (kept, rejects) =
        land(&store, &wider, change(Change::DiscardValue), WriteMode::Append).await.unwrap();
    assert!(rejects.is_empty() && kept.target.fields().len() == 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn types_widen_and_never_narrow() {
    let change = |data_type| SchemaChange { columns: Change::Evolve, data_type };
    let code = |landed: Result<(Reconciled, Vec<Reject>)>| match landed {
        Ok(_) => "fine".to_owned(),
        Err(Fault { code, .. }) => code.to_string(),
    };
    let longs: ArrayRef = Arc::new(Int64Array::from(vec![1]));
    let ints: ArrayRef = Arc::new(Int32Array::from(vec![2]));
    let reals: ArrayRef = Arc::new(Float64Array::from(vec![3.0, 3.5]));
    let texts: ArrayRef = Arc::new(StringArray::from(vec!["4", "four"]));
    for (column, policy, write, expected) in [
        (&ints, Change::Evolve, WriteMode::Append, "fine"),
        (&ints, Change::Freeze, WriteMode::Append, "TG0502"),
        (&reals, Change::Evolve, WriteMode::Append, "TG0502"),
        (&texts, Change::Evolve, WriteMode::Append, "TG0502"),
        (&texts, Change::Evolve, WriteMode::Replace, "fine"),
    ] {
        let store = memory();
        evolve(&store, &one("c", Arc::clone(&longs))).await.unwrap();
        let landed = land(&store, &one("c", Arc::clone(column)), change(policy), write).await;
        assert_eq!(code(landed), expected, "{} {policy:?} {write:?}", column.data_type());
    }
    for (column, left, set_aside) in [(&reals, "3 -", "3.5"), (&texts, "4 -", "four")] {
        let store = memory();
        evolve(&store, &one("c", Arc::clone(&longs))).await.unwrap();
        let sent = one("c", Arc::clone(column));
        let (_, rejects) = land(&store, &sent, change(Change::DiscardRow), WriteMode::Append).await.unwrap();
        assert!(rejects.len() == 1 && rejects[0].raw.as_ref().unwrap().contains(set_aside), "{rejects:?}");
        land(&store, &sent, change(Change::DiscardValue), WriteMode::Append).await.unwrap();
        let found: Vec<String> = read(&store).await.iter().map(|batch| shown(batch.column(0))).collect();
        assert!(found.contains(&left.to_owned()), "{found:?}");
    }
}

#[test]
fn columns_that_differ_in_case_only_are_refused() {
    let schema =
        Schema::new(vec![Field::new("a", DataType::Int8, true), Field::new("A", DataType::Int8, true)]);
    let fault = reconcile(None, &schema, SchemaChange::default(), WriteMode::Append).unwrap_err();
    assert_eq!(fault.code, Code::SchemaRefused);
}

#[test]
fn a_batch_that_fits_is_not_copied() {
    let column: ArrayRef = Arc::new(Float32Array::from(vec![1.0]));
    let sent = one("c", Arc::clone(&column));
    let target =
        reconcile(None, sent.schema_ref(), SchemaChange::default(), WriteMode::Append).unwrap().target;
    let conformed =
        Conform::new(sent.schema_ref(), target, SchemaChange::default()).unwrap().apply(&sent).unwrap();
    let values = |batch: &RecordBatch| batch.column(0).as_primitive::<Float32Type>().values().as_ptr();
    assert_eq!(values(&conformed.batch), values(&sent));
}
