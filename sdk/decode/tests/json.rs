//! The JSON decoder as its callers see it.

#![allow(clippy::unwrap_used, reason = "a test that fails stops there")]

use std::sync::Arc;

use arrow_array::RecordBatch;
use arrow_schema::{DataType, Field, Schema, SchemaRef, TimeUnit};
use arrow_select::concat::concat_batches;
use proptest::prelude::*;
use tidegate_decode::{Decoded, Decoder, Format, Reject, Result, infer};

fn decode(
    format: &Format,
    schema: &SchemaRef,
    text: &[u8],
    piece: usize,
    max_bytes: usize,
) -> Result<Vec<Decoded>> {
    let mut decoder = Decoder::new(format, schema.clone())?;
    let mut all = Vec::new();
    for chunk in text.chunks(piece) {
        decoder.feed(chunk);
        while let Some(decoded) = decoder.next(max_bytes)? {
            all.push(decoded);
        }
    }
    decoder.finish();
    while let Some(decoded) = decoder.next(max_bytes)? {
        all.push(decoded);
    }
    Ok(all)
}

fn whole(schema: &SchemaRef, all: &[Decoded]) -> (RecordBatch, Vec<Reject>) {
    let batches: Vec<_> = all.iter().map(|decoded| decoded.batch.clone()).collect();
    (
        concat_batches(schema, &batches).unwrap(),
        all.iter().flat_map(|decoded| decoded.rejects.clone()).collect(),
    )
}

fn document(pointer: &str) -> Format {
    Format::Json { pointer: pointer.into() }
}

#[test]
fn nested_values_and_bad_lines() {
    let text = concat!(
        "{\"id\": 1, \"tags\": [\"a\", null], \"at\": {\"x\": 1.5}}\r\n",
        "{\"id\": \"no number\"}\n",
        "\n",
        "{\"id\": 2, \"tags\": []} {\"id\": 3}\n",
        "{\"id\": 4, \"at\": {\n",
        "\"x\": 2}}\n",
        "{\"id\": 5, \"other\": true, \"at\": {\"x\": 2}}",
    );
    let sample = text.lines().next().unwrap();
    let schema = infer(&Format::Ndjson, sample.as_bytes(), true).unwrap().settle().schema;
    let (batch, rejects) =
        whole(&schema, &decode(&Format::Ndjson, &schema, text.as_bytes(), 7, 1 << 20).unwrap());
    let rows: Vec<_> = arrow_json_lines(&batch);
    assert_eq!(rows, [r#"{"id":1,"tags":["a",null],"at":{"x":1.5}}"#, r#"{"id":5,"at":{"x":2.0}}"#]);
    let lines: Vec<_> = rejects.iter().map(|reject| reject.line).collect();
    assert_eq!(lines, [2, 4, 5, 6]);
    assert_eq!(rejects[0].byte, 50);
    assert_eq!(rejects[0].raw, "{\"id\": \"no number\"}");
    assert!(rejects[0].reason.contains("no number"), "{}", rejects[0].reason);
}

fn arrow_json_lines(batch: &RecordBatch) -> Vec<String> {
    let mut writer = arrow_json::LineDelimitedWriter::new(Vec::new());
    writer.write(batch).unwrap();
    writer.finish().unwrap();
    String::from_utf8(writer.into_inner()).unwrap().lines().map(str::to_owned).collect()
}

#[test]
fn a_document_s_array_is_found_and_followed() {
    let text = r#" {"meta": {"n": 2, "items": "]"}, "data": {"items": [ {"x": 1, "s": "]},{\"" } ,{"x": "bad"},
        {"x": 3}, 7 ], "more": []}} "#;
    let schema: SchemaRef = Arc::new(Schema::new(vec![Field::new("x", DataType::Int64, true)]));
    for piece in [1, 2, 5, 1000] {
        let all = decode(&document("/data/items"), &schema, text.as_bytes(), piece, 1 << 20).unwrap();
        let (batch, rejects) = whole(&schema, &all);
        assert_eq!(arrow_json_lines(&batch), [r#"{"x":1}"#, r#"{"x":3}"#]);
        let found: Vec<_> = rejects.iter().map(|reject| (reject.line, reject.raw.as_str())).collect();
        assert_eq!(found, [(1, r#"{"x": "bad"}"#), (2, "7")]);
        assert_eq!(all.last().unwrap().position, 4, "records, not bytes");
    }
    let top = decode(&document(""), &schema, b"\xEF\xBB\xBF[{\"x\": 1}\n,{\"x\": 2}]", 1, 1 << 20).unwrap();
    assert_eq!(whole(&schema, &top).0.num_rows(), 2);
    assert!(decode(&document(""), &schema, b"[]", 1, 1 << 20).unwrap().is_empty());
}

#[test]
fn a_document_that_is_cut_short_is_an_error() {
    let schema: SchemaRef = Arc::new(Schema::new(vec![Field::new("x", DataType::Int64, true)]));
    for (text, expected) in [
        ("[{\"x\": 1}, {\"x\"", "cut short"),
        ("[{\"x\": 1},", "cut short"),
        ("", "the document is empty"),
        ("{\"a\": [1]}", "one object, not an array"),
        ("\"text\"", "is not an array"),
        ("nonsense", "is not an array"),
        ("?", "this is not JSON: there should be no `?` here"),
    ] {
        let error = decode(&document(""), &schema, text.as_bytes(), 3, 1 << 20).unwrap_err();
        assert!(error.message.contains(expected), "{text}: {error}");
    }
}

fn values() -> impl Strategy<Value = serde_json::Value> {
    let leaf = prop_oneof![
        Just(serde_json::Value::Null),
        any::<i32>().prop_map(Into::into),
        "[a-z\"\\\\{}\\[\\],: é]{0,8}".prop_map(serde_json::Value::from),
    ];
    leaf.prop_recursive(3, 12, 4, |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..4).prop_map(Into::into),
            proptest::collection::vec(("[a-c]", inner), 0..4)
                .prop_map(|members| serde_json::Value::Object(members.into_iter().collect())),
        ]
    })
}

#[test]
fn empty_records_of_wide_rows_make_small_batches() {
    let schema: SchemaRef =
        Arc::new(Schema::new(vec![Field::new("wide", DataType::FixedSizeBinary(8 << 10), true)]));
    let most = 256 << 10;
    let all = decode(&Format::Ndjson, &schema, "{}\n".repeat(1000).as_bytes(), 1 << 20, most).unwrap();
    assert_eq!(all.iter().map(|decoded| decoded.batch.num_rows()).sum::<usize>(), 1000);
    assert!(all.iter().all(|decoded| decoded.batch.num_rows() * (8 << 10) <= most));
}

#[test]
fn a_bad_value_is_told_with_its_column() {
    let item = Arc::new(Field::new("item", DataType::Int64, true));
    let inner = vec![Field::new("n", DataType::Int64, false), Field::new("l", DataType::List(item), true)];
    let schema: SchemaRef = Arc::new(Schema::new(vec![
        Field::new("id", DataType::Int64, false),
        Field::new("text", DataType::Utf8, true),
        Field::new("on", DataType::Date32, true),
        Field::new("at", DataType::Timestamp(TimeUnit::Microsecond, Some("+00:00".into())), true),
        Field::new("o", DataType::Struct(inner.into()), true),
        Field::new("bytes", DataType::FixedSizeBinary(2), true),
        Field::new("none", DataType::Null, true),
    ]));
    for (record, expected) in [
        (r#"{"id": 1.5}"#, "column `id`: `1.5` is not an int64"),
        (r#"{"text": "x"}"#, "column `id`: there is no value, and the schema demands one"),
        (r#"{"id": 1, "text": [1]}"#, "column `text`: `[1]` is not text, a number, true or false"),
        (r#"{"id": 1, "on": "2013-02-30"}"#, "column `on`: `2013-02-30` is not a date, such as 2013-01-31"),
        (
            r#"{"id": 1, "at": "2013-01-31T06:00:00"}"#,
            "column `at`: `2013-01-31T06:00:00` is not a timestamp with its offset from UTC and at most 1/1000000 s, such as 2013-01-31T06:00:00Z",
        ),
        (r#"{"id": 1, "o": {"l": []}}"#, "column `o.n`: there is no value, and the schema demands one"),
        (r#"{"id": 1, "o": {"n": 1, "l": [1, "x"]}}"#, "column `o.l[]`: `x` is not an int64"),
        (r#"{"id": 1, "o": [1]}"#, "column `o`: `[1]` is not an object"),
        (r#"{"id": 1, "bytes": "00"}"#, "column `bytes`: "),
        (r#"{"id": 1, "none": 0}"#, "column `none`: `0` is not null"),
        (r#"{"id": 1"#, "it ends where a key or `}` belongs"),
        (r#"{"id" 1}"#, "there is `1` where `:` belongs"),
        (r#"{"id": nil}"#, "there is `n` where a value belongs"),
        (r#"{"id": 1, "x": "\ud800"}"#, "half of a surrogate pair stands alone"),
        (r#"{"id": 1, "x": [{"y": }]}"#, "there is `}` where a value belongs"),
        (r#"{"id": 1, "x": "a}"#, "it ends inside a string"),
        (r#"{"id": 1} {"id": 2}"#, "it is more than one value"),
        (r#"[1]"#, "there is `[` where an object belongs"),
    ] {
        let text = format!("{{\"id\": 7}}\n{record}\n{{\"id\": 8, \"o\": {{\"n\": 1, \"l\": [2]}}}}\n");
        let all = decode(&Format::Ndjson, &schema, text.as_bytes(), 1 << 20, 1 << 20).unwrap();
        let (batch, rejects) = whole(&schema, &all);
        assert_eq!(arrow_json_lines(&batch), [r#"{"id":7}"#, r#"{"id":8,"o":{"n":1,"l":[2]}}"#], "{record}");
        assert_eq!(rejects.len(), 1, "{record}");
        assert!(rejects[0].reason.starts_with(expected), "{record}: {}", rejects[0].reason);
        assert_eq!((rejects[0].line, rejects[0].raw.as_str()), (2, record));
    }
}

/// Types that all columns of the oracle below are made of.
fn types() -> impl Strategy<Value = DataType> {
    let leaf = prop_oneof![
        Just(DataType::Null),
        Just(DataType::Boolean),
        Just(DataType::Int64),
        Just(DataType::UInt8),
        Just(DataType::Float64),
        Just(DataType::Utf8),
        Just(DataType::LargeUtf8),
        Just(DataType::Decimal128(20, 2)),
        Just(DataType::Timestamp(TimeUnit::Microsecond, Some("+00:00".into()))),
    ];
    leaf.prop_recursive(2, 6, 3, |inner| {
        prop_oneof![
            (inner.clone(), any::<bool>())
                .prop_map(|(item, nullable)| DataType::List(Arc::new(column("item", item, nullable)))),
            proptest::collection::vec((inner, any::<bool>()), 1..4)
                .prop_map(|types| DataType::Struct(fields(types).into())),
        ]
    })
}

fn fields(types: Vec<(DataType, bool)>) -> Vec<Field> {
    let named = types.into_iter().zip(["a", "b", "a longer name", "with \"quotes\""]);
    named.map(|((data_type, nullable), name)| column(name, data_type, nullable)).collect()
}

/// What has no values cannot demand any.
fn column(name: &str, data_type: DataType, nullable: bool) -> Field {
    let nullable = nullable || data_type == DataType::Null;
    Field::new(name, data_type, nullable)
}

/// A value that a column of this type can hold, or now and then any other.
fn value_of(data_type: &DataType, nullable: bool) -> BoxedStrategy<serde_json::Value> {
    use serde_json::Value;
    let good = match data_type {
        DataType::Boolean => any::<bool>().prop_map(Value::from).boxed(),
        DataType::Int64 | DataType::UInt8 => prop_oneof![
            any::<i64>().prop_map(Value::from),
            (0..=255_u8).prop_map(Value::from),
            any::<i8>().prop_map(|number| Value::from(number.to_string())),
            any::<i8>().prop_map(|number| Value::from(f64::from(number))),
        ]
        .boxed(),
        DataType::Float64 => prop_oneof![
            any::<f64>().prop_map(Value::from),
            any::<i32>().prop_map(|number| Value::from(f64::from(number) / 100.0)),
            any::<i64>().prop_map(Value::from),
        ]
        .boxed(),
        DataType::Decimal128(..) => {
            any::<i32>().prop_map(|number| Value::from(f64::from(number) / 4.0)).boxed()
        }
        DataType::Utf8 | DataType::LargeUtf8 => prop_oneof![
            "\\PC{0,40}".prop_map(Value::from),
            "[ -~\\t\\n\u{1}é😀]{0,20}".prop_map(Value::from),
            any::<u64>().prop_map(Value::from),
        ]
        .boxed(),
        DataType::Timestamp(..) => (0..60_u32, 0..999_999_u32, 0..24_u32)
            .prop_map(|(second, fraction, offset)| {
                Value::from(format!("2013-02-28T23:59:{second:02}.{fraction:06}+{offset:02}:30"))
            })
            .boxed(),
        DataType::List(item) => {
            proptest::collection::vec(value_of(item.data_type(), item.is_nullable()), 0..4)
                .prop_map(Value::from)
                .boxed()
        }
        DataType::Struct(fields) => {
            object_of(&fields.iter().map(|field| field.as_ref().clone()).collect::<Vec<_>>())
        }
        _ => Just(Value::Null).boxed(),
    };
    let null = if nullable { 3 } else { 1 };
    prop_oneof![40 => good, null => Just(Value::Null), 1 => values()].boxed()
}

/// Mostly with its members in order; some are left out, and some are there that no column has.
fn object_of(fields: &[Field]) -> BoxedStrategy<serde_json::Value> {
    let members: Vec<_> = fields
        .iter()
        .map(|field| {
            let there = if field.is_nullable() { 0.8 } else { 0.98 };
            let value = value_of(field.data_type(), field.is_nullable());
            (Just(field.name().clone()), proptest::option::weighted(there, value))
        })
        .collect();
    (members, proptest::option::weighted(0.3, values()), any::<bool>())
        .prop_map(|(members, extra, reversed)| {
            let mut members: Vec<_> =
                members.into_iter().filter_map(|(name, value)| Some((name, value?))).collect();
            members.extend(extra.map(|value| ("extra".to_owned(), value)));
            if reversed {
                members.reverse();
            }
            serde_json::Value::Object(members.into_iter().collect())
        })
        .boxed()
}

/// What Arrow's own reader makes of one record.
fn oracle(schema: &SchemaRef, record: &str) -> Option<RecordBatch> {
    let builder = arrow_json::ReaderBuilder::new(schema.clone()).with_coerce_primitive(true);
    let mut reader = builder.build_decoder().unwrap();
    reader.decode(record.as_bytes()).ok()?;
    reader.flush().ok()?
}

/// Arrow's reader cuts fractions off where an integer is wanted; ours sets the record aside.
fn may_lose_a_fraction(record: &str) -> bool {
    record.contains('.') || record.contains('e')
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_chunking_gives_the_same_records(
        records in proptest::collection::vec(values(), 0..30),
        before in values(),
        piece in 1..40_usize,
    ) {
        let schema: SchemaRef = Arc::new(Schema::new(vec![Field::new("a", DataType::Utf8, true)]));
        let lines: String = records.iter().map(|record| format!("{record}\n")).collect();
        let nested = serde_json::json!({ "b": before, "a": [before, { "a": records }] });
        for (format, text) in [
            (Format::Ndjson, lines),
            (document(""), serde_json::to_string_pretty(&records).unwrap()),
            (document("/a/1/a"), nested.to_string()),
        ] {
            let at_once = decode(&format, &schema, text.as_bytes(), 1 << 20, 1).unwrap();
            let in_pieces = decode(&format, &schema, text.as_bytes(), piece, 1).unwrap();
            let comparable = |all: &[Decoded]| -> Vec<_> {
                all.iter().map(|decoded| (decoded.batch.clone(), decoded.rejects.clone(), decoded.position)).collect()
            };
            prop_assert_eq!(comparable(&at_once), comparable(&in_pieces));
            let (batch, rejects) = whole(&schema, &at_once);
            prop_assert_eq!(batch.num_rows() + rejects.len(), records.len());
        }
    }

    #[test]
    fn rows_are_those_of_arrow_s_own_reader(
        (schema, records) in proptest::collection::vec((types(), any::<bool>()), 1..4).prop_flat_map(|types| {
            let fields = fields(types);
            let records = proptest::collection::vec((object_of(&fields), any::<bool>()), 1..20);
            (Just(Arc::new(Schema::new(fields))), records)
        }),
        piece in 1..100_usize,
    ) {
        let written: Vec<String> = records
            .iter()
            .map(|(record, spaced)| if *spaced {
                serde_json::to_string_pretty(record).unwrap().replace('\n', "\t ")
            } else {
                record.to_string()
            })
            .collect();
        let text: String = written.iter().map(|record| format!("{record}\n")).collect();
        let all = decode(&Format::Ndjson, &schema, text.as_bytes(), piece, 1 << 20).unwrap();
        let (batch, rejects) = whole(&schema, &all);
        let mut rows = 0;
        for (record, line) in written.iter().zip(1..) {
            let rejected = rejects.iter().find(|reject| reject.line == line);
            let expected = oracle(&schema, record);
            match (rejected, expected) {
                (None, Some(expected)) => {
                    prop_assert_eq!(batch.slice(rows, 1), expected, "{}", record);
                    rows += 1;
                }
                (Some(_), None) => {}
                (Some(rejected), Some(_)) => {
                    prop_assert!(may_lose_a_fraction(record), "{}: {}", record, rejected.reason);
                }
                (None, None) => prop_assert!(false, "{record} was taken"),
            }
        }
        prop_assert_eq!(rows, batch.num_rows());
    }

    #[test]
    fn soup_is_set_aside_as_by_arrow_s_own_reader(
        soup in proptest::collection::vec(
            proptest::sample::select(vec![
                "{", "}", "[", "]", ":", ",", "\"", "\\", "\"a\"", "\"a\":", "\"b\":", "1", "-", "e5", "null", "true",
                "fals", "\\u00e9", "\\ud83d\\ude00", "\\ud800", " ", "é", "x", "{\"a\":", "{\"b\":[", "0.5", "\t",
            ]),
            0..12,
        ),
        around in any::<bool>(),
    ) {
        let schema: SchemaRef = Arc::new(Schema::new(vec![Field::new("a", DataType::Utf8, true)]));
        let soup = soup.concat();
        let record = if around { format!("{{\"a\": {soup}}}") } else { soup };
        prop_assume!(!record.trim_ascii().is_empty());
        let all = decode(&Format::Ndjson, &schema, record.as_bytes(), 5, 1 << 20).unwrap();
        let (batch, _) = whole(&schema, &all);
        match oracle(&schema, &record).filter(|rows| rows.num_rows() == 1) {
            Some(expected) => prop_assert_eq!(batch, expected, "{}", record),
            None => prop_assert_eq!(batch.num_rows(), 0, "{}", record),
        }
    }
}
