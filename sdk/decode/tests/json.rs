//! The JSON decoder as its callers see it.

#![allow(clippy::unwrap_used, reason = "a test that fails stops there")]

use std::sync::Arc;

use arrow_array::RecordBatch;
use arrow_schema::{DataType, Field, Schema, SchemaRef};
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
}
