//! The CSV decoder as its callers see it.

#![allow(clippy::unwrap_used, reason = "a test that fails stops there")]

use std::io::Cursor;
use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types::{Float64Type, Int64Type};
use arrow_array::{Array, RecordBatch, StringArray};
use arrow_schema::{DataType, Field, Schema, SchemaRef};
use arrow_select::concat::concat_batches;
use proptest::prelude::*;
use tidegate_decode::{CsvOptions, Cuts, Decoded, Decoder, Format, Reject, column_names};

fn schema(columns: &[(&str, DataType)]) -> SchemaRef {
    let fields: Vec<_> = columns.iter().map(|(name, kind)| Field::new(*name, kind.clone(), true)).collect();
    Arc::new(Schema::new(fields))
}

/// All that comes out when the text arrives in pieces of these lengths (and then the rest).
fn decode(
    options: &CsvOptions,
    schema: &SchemaRef,
    text: &[u8],
    pieces: &[usize],
    max_bytes: usize,
) -> Vec<Decoded> {
    let mut decoder = Decoder::new(&Format::Csv(options.clone()), schema.clone()).unwrap();
    let mut all = Vec::new();
    let mut rest = text;
    for piece in pieces.iter().copied().chain([usize::MAX]) {
        let (now, later) = rest.split_at(piece.min(rest.len()));
        decoder.feed(now);
        while let Some(decoded) = decoder.next(max_bytes).unwrap() {
            all.push(decoded);
        }
        rest = later;
    }
    decoder.finish();
    while let Some(decoded) = decoder.next(max_bytes).unwrap() {
        all.push(decoded);
    }
    assert!(decoder.next(max_bytes).unwrap().is_none(), "the end is the end");
    all
}

fn whole(schema: &SchemaRef, all: &[Decoded]) -> (RecordBatch, Vec<Reject>) {
    let batches: Vec<_> = all.iter().map(|decoded| decoded.batch.clone()).collect();
    let rejects = all.iter().flat_map(|decoded| decoded.rejects.clone()).collect();
    (concat_batches(schema, &batches).unwrap(), rejects)
}

/// One line a row or reject.
fn shown(options: &CsvOptions, schema: &SchemaRef, text: &str) -> Vec<String> {
    let (batch, rejects) = whole(schema, &decode(options, schema, text.as_bytes(), &[], 1 << 20));
    let columns: Vec<_> =
        batch.columns().iter().map(|column| arrow_cast::cast(column, &DataType::Utf8).unwrap()).collect();
    let value = |column: &Arc<dyn Array>, row| {
        if column.is_null(row) {
            "-".to_owned()
        } else {
            format!("{:?}", column.as_string::<i32>().value(row))
        }
    };
    let rows = (0..batch.num_rows())
        .map(|row| columns.iter().map(|column| value(column, row)).collect::<Vec<_>>().join(" "));
    let rejects = rejects.iter().map(|reject| {
        format!("line {} byte {}: {}: {:?}", reject.line, reject.byte, reject.reason, reject.raw)
    });
    rows.chain(rejects).collect()
}

#[test]
fn quotes_nulls_and_line_breaks() {
    let options = CsvOptions { null_tokens: vec![String::new(), "NA".into()], ..CsvOptions::default() };
    let text = schema(&[("a", DataType::Utf8), ("b", DataType::Utf8)]);
    for (body, expected) in [
        ("1,2", vec![r#""1" "2""#]),
        ("1,2\r\n3,4\r\n", vec![r#""1" "2""#, r#""3" "4""#]),
        ("\n\r\n1,2\n\n", vec![r#""1" "2""#]),
        (",NA\n\"\",\"NA\"\n", vec!["- -", r#""" "NA""#]),
        ("\"x\"\"y\",\"a,b\"\n", vec![r#""x\"y" "a,b""#]),
        ("\"two\nlines\",\"\r\n\"\n", vec![r#""two\nlines" "\r\n""#]),
        ("5\" pipe,say \"hi\"\n", vec![r#""5\" pipe" "say \"hi\"""#]),
        ("\"a\"b,\"c\"\"\"\n", vec![r#""ab" "c\"""#]),
        ("\"\"\"\",\"\"\"\"\"\"\n", vec![r#""\"" "\"\"""#]),
        ("é,\u{1F600}\n", vec!["\"é\" \"\u{1F600}\""]),
    ] {
        assert_eq!(shown(&options, &text, &format!("a,b\n{body}")), expected, "{body:?}");
    }
}

#[test]
fn one_bad_value_costs_one_row() {
    let numbers = schema(&[("n", DataType::Int64), ("d", DataType::Date32)]);
    let body =
        "n,d\n1,2013-01-01\nabc,2013-01-01\n2,\n3,2013-02-30\n4\n5,,\n6,2013-01-02\n\"7,2013-01-03\n8,\n";
    assert_eq!(
        shown(&CsvOptions::default(), &numbers, body),
        [
            r#""1" "2013-01-01""#,
            r#""2" -"#,
            r#""6" "2013-01-02""#,
            r#""8" -"#,
            r#"line 3 byte 17: column `n`: `abc` is not an int64: "abc,2013-01-01""#,
            r#"line 5 byte 35: column `d`: `2013-02-30` is not a date, such as 2013-01-31: "3,2013-02-30""#,
            r#"line 6 byte 48: it has 1 fields, not 2: "4""#,
            r#"line 7 byte 50: it has 3 fields, not 2: "5,,""#,
            r#"line 9 byte 67: a quoted field is never closed: "\"7,2013-01-03""#,
        ]
    );
}

#[test]
fn bytes_that_are_not_utf_8_cost_their_row() {
    let text = schema(&[("a", DataType::Utf8), ("n", DataType::Decimal128(4, 2))]);
    let (batch, rejects) = whole(
        &text,
        &decode(&CsvOptions::default(), &text, b"a,n\nfine,1.5\nM\xfcnchen,\nx,0.125\n", &[], 1),
    );
    assert_eq!(batch.num_rows(), 1);
    let reasons: Vec<_> = rejects.iter().map(|reject| reject.reason.as_str()).collect();
    assert_eq!(
        reasons,
        [
            "byte 2 of it is not UTF-8",
            "column `n`: `0.125` is not a decimal of 4 digits, 2 of them after the point"
        ]
    );
    assert_eq!(rejects[0].raw, "M\u{FFFD}nchen,");
}

#[test]
fn columns_go_by_name_where_there_are_names() {
    let wanted = schema(&[("b", DataType::Int64), ("gone", DataType::Utf8), ("a", DataType::Utf8)]);
    let text = "a,extra,b\nx,?,1\n";
    assert_eq!(shown(&CsvOptions::default(), &wanted, text), [r#""1" - "x""#]);
    let names = column_names(&CsvOptions::default(), text.as_bytes(), true).unwrap();
    let middle = CsvOptions { header: false, columns: names, ..CsvOptions::default() };
    assert_eq!(shown(&middle, &wanted, "y,?,2\n"), [r#""2" - "y""#]);
    let by_position = CsvOptions { header: false, delimiter: b'|', ..CsvOptions::default() };
    assert_eq!(shown(&by_position, &wanted, "3|x|y\n"), [r#""3" "x" "y""#]);
}

#[test]
fn what_cannot_be_read_at_all_is_an_error() {
    let required = Arc::new(Schema::new(vec![Field::new("x", DataType::Int64, false)]));
    let error = |options: &CsvOptions, schema: &SchemaRef, text: &str| {
        let mut decoder = match Decoder::new(&Format::Csv(options.clone()), schema.clone()) {
            Ok(decoder) => decoder,
            Err(error) => return error.message,
        };
        decoder.feed(text.as_bytes());
        decoder.finish();
        decoder.next(1).unwrap_err().message
    };
    let header = CsvOptions::default();
    assert_eq!(error(&header, &required, "a,b\n1,2\n"), "there is no column `x`; there are `a`, `b`");
    assert_eq!(
        error(&header, &schema(&[("x", DataType::Int64)]), "a,b\n1,2\n"),
        "none of the expected columns is there: expected `x`, found `a`, `b`"
    );
    let list = DataType::List(Arc::new(Field::new("item", DataType::Int64, true)));
    assert_eq!(
        error(&header, &schema(&[("l", list)]), ""),
        "column `l`: List(Int64) cannot be read from CSV"
    );
    let quote = CsvOptions { delimiter: b'"', ..CsvOptions::default() };
    assert!(error(&quote, &required, "").contains("cannot be the delimiter"));
    let longest = format!("x\n{}", "1".repeat((16 << 20) + 2));
    assert!(error(&header, &required, &longest).contains("more than 16 MiB"));
}

#[test]
fn nothing_in_nothing_out() {
    let one = schema(&[("a", DataType::Int64)]);
    for text in ["", "\n\n", "a", "a\n", "\u{feff}a\n\n"] {
        assert!(decode(&CsvOptions::default(), &one, text.as_bytes(), &[1, 1], 1).is_empty(), "{text:?}");
    }
}

#[test]
fn a_batch_has_about_the_size_asked_for() {
    let wide = schema(&[("n", DataType::Int64), ("t", DataType::Utf8)]);
    let text: String = (0..100_000).map(|n| format!("{n},text number {n}\n")).collect();
    let all =
        decode(&CsvOptions { header: false, ..CsvOptions::default() }, &wide, text.as_bytes(), &[], 1 << 20);
    assert!(all.len() > 2);
    for decoded in &all[..all.len() - 1] {
        let size = decoded.batch.get_array_memory_size();
        assert!((1 << 20..5 << 20).contains(&size), "{size}");
    }
    assert_eq!(all.last().unwrap().position, text.len() as u64);
}

type Row = (Option<i64>, Option<f64>, Option<String>);

/// A file's rows, and the file.
fn written() -> impl Strategy<Value = (Vec<Row>, String)> {
    let text = proptest::collection::vec(
        prop_oneof![
            "[a-z ]",
            Just(",".into()),
            Just("\"".into()),
            Just("\n".into()),
            Just("\r".into()),
            Just("é".into())
        ],
        0..12,
    )
    .prop_map(|parts: Vec<String>| parts.concat());
    let row = (any::<Option<i64>>(), proptest::option::of(-1e9..1e9_f64), proptest::option::of(text));
    (proptest::collection::vec((row, any::<bool>()), 0..60), any::<bool>()).prop_map(|(rows, windows)| {
        let mut file = String::from("a,b,c");
        let end = if windows { "\r\n" } else { "\n" };
        file.push_str(end);
        let mut values = Vec::new();
        for ((a, b, c), quoted) in rows {
            let number = |text: String| if quoted { format!("\"{text}\"") } else { text };
            file.push_str(&a.map_or(String::new(), |a| number(a.to_string())));
            file.push(',');
            file.push_str(&b.map_or(String::new(), |b| number(b.to_string())));
            file.push(',');
            if let Some(c) = &c {
                file.push_str(&format!("\"{}\"", c.replace('"', "\"\"")));
            }
            file.push_str(end);
            values.push((a, b, c));
        }
        (values, file)
    })
}

fn abc() -> SchemaRef {
    schema(&[("a", DataType::Int64), ("b", DataType::Float64), ("c", DataType::Utf8)])
}

/// Text that is hardly CSV: whatever comes out, it must not depend on how it went in.
fn soup() -> impl Strategy<Value = String> {
    let part = prop_oneof![
        4 => "[0-9]{1,3}",
        3 => Just(",".to_owned()),
        2 => Just("\n".to_owned()),
        1 => Just("\"".to_owned()),
        1 => Just("\r\n".to_owned()),
        1 => "[a-zé]{1,9}",
    ];
    proptest::collection::vec(part, 0..400).prop_map(|parts| parts.concat())
}

fn comparable(all: &[Decoded]) -> Vec<(RecordBatch, Vec<Reject>, u64)> {
    all.iter().map(|decoded| (decoded.batch.clone(), decoded.rejects.clone(), decoded.position)).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn what_was_written_is_read((values, file) in written(), pieces in proptest::collection::vec(0..90_usize, 0..9)) {
        let schema = abc();
        let (batch, rejects) = whole(&schema, &decode(&CsvOptions::default(), &schema, file.as_bytes(), &pieces, 1 << 20));
        prop_assert_eq!(rejects, vec![]);
        let (a, b, c) = (batch.column(0).as_primitive::<Int64Type>(), batch.column(1).as_primitive::<Float64Type>(), batch.column(2).as_string::<i32>());
        let read: Vec<_> = (0..batch.num_rows())
            .map(|row| (
                a.is_valid(row).then(|| a.value(row)),
                b.is_valid(row).then(|| b.value(row)),
                c.is_valid(row).then(|| c.value(row).to_owned()),
            ))
            .collect();
        prop_assert_eq!(read, values);
    }

    #[test]
    fn arrow_csv_reads_the_same((_, file) in written()) {
        let schema = abc();
        let (ours, _) = whole(&schema, &decode(&CsvOptions::default(), &schema, file.as_bytes(), &[], 1 << 20));
        // It cannot tell a quoted empty field from an absent one.
        let texts = ours.column(2).as_string::<i32>().iter().map(|text| text.filter(|text| !text.is_empty()));
        let texts: StringArray = texts.collect();
        let ours = RecordBatch::try_new(
            schema.clone(),
            vec![ours.column(0).clone(), ours.column(1).clone(), Arc::new(texts)],
        ).unwrap();
        let reader = arrow_csv::ReaderBuilder::new(schema.clone()).with_header(true).build(Cursor::new(&file)).unwrap();
        let theirs: Vec<_> = reader.map(Result::unwrap).collect();
        prop_assert_eq!(ours, concat_batches(&schema, &theirs).unwrap());
    }

    #[test]
    fn the_same_batches_however_it_is_fed(
        text in soup(),
        pieces in proptest::collection::vec(0..200_usize, 0..20),
    ) {
        let schema = schema(&[("a", DataType::Int64), ("b", DataType::Utf8)]);
        let options = CsvOptions { header: false, ..CsvOptions::default() };
        let at_once = decode(&options, &schema, text.as_bytes(), &[], 1);
        let in_pieces = decode(&options, &schema, text.as_bytes(), &pieces, 1);
        prop_assert_eq!(comparable(&at_once), comparable(&in_pieces));
    }

    #[test]
    fn no_record_disappears(text in soup()) {
        let schema = schema(&[("a", DataType::Int64), ("b", DataType::Utf8)]);
        let options = CsvOptions { header: false, ..CsvOptions::default() };
        let (batch, rejects) = whole(&schema, &decode(&options, &schema, text.as_bytes(), &[], 1));
        if !text.contains('"') {
            let records = text.lines().filter(|line| !line.is_empty()).count();
            prop_assert_eq!(batch.num_rows() + rejects.len(), records);
        }
        for reject in &rejects {
            prop_assert!(text[reject.byte as usize..].starts_with(&reject.raw));
            let line = text[..reject.byte as usize].matches('\n').count() as u64 + 1;
            prop_assert_eq!(reject.line, line);
        }
    }

    #[test]
    fn pieces_between_cuts_are_the_whole(
        (_, file) in written(),
        every in 1..300_u64,
        pieces in proptest::collection::vec(1..90_usize, 1..9),
    ) {
        let format = Format::Csv(CsvOptions::default());
        let mut cuts = Cuts::new(&format, every).unwrap();
        let mut rest = file.as_bytes();
        for piece in pieces.iter().cycle() {
            let (now, later) = rest.split_at((*piece).min(rest.len()));
            cuts.feed(now);
            rest = later;
            if rest.is_empty() {
                break;
            }
        }
        let cuts = cuts.finish();
        let schema = abc();
        let (expected, _) = whole(&schema, &decode(&CsvOptions::default(), &schema, file.as_bytes(), &[], 1 << 20));
        let middle = CsvOptions {
            header: false,
            columns: column_names(&CsvOptions::default(), file.as_bytes(), true).unwrap(),
            ..CsvOptions::default()
        };
        let mut all = Vec::new();
        let mut start = 0;
        for end in cuts.iter().map(|cut| *cut as usize).chain([file.len()]) {
            prop_assert!(start < end);
            let options = if start == 0 { CsvOptions::default() } else { middle.clone() };
            all.extend(decode(&options, &schema, &file.as_bytes()[start..end], &[], 1 << 20));
            start = end;
        }
        let (batch, rejects) = whole(&schema, &all);
        prop_assert_eq!(rejects, vec![]);
        prop_assert_eq!(batch, expected);
    }
}

#[test]
fn cuts_are_the_first_boundary_at_or_after_each_multiple() {
    let cuts = |format: &Format, every, text: &str| {
        let mut cuts = Cuts::new(format, every).unwrap();
        text.as_bytes().chunks(3).for_each(|chunk| cuts.feed(chunk));
        cuts.finish()
    };
    let csv = Format::Csv(CsvOptions::default());
    for format in [&csv, &Format::Ndjson] {
        assert_eq!(cuts(format, 4, "12\n45\n78\n"), [6]);
        assert_eq!(cuts(format, 3, "12\n45\n78\n"), [3, 6]);
        assert_eq!(cuts(format, 1, "1\n\n2"), [2, 3]);
        assert_eq!(cuts(format, 100, "1\n2\n"), [] as [u64; 0]);
        assert_eq!(cuts(format, 2, "123456789\n1\n"), [10]);
    }
    assert_eq!(cuts(&csv, 2, "\"1\n2\n3\"\n4\n"), [8]);
    assert!(Cuts::new(&Format::Json { pointer: String::new() }, 1).is_err());
    assert!(Cuts::new(&csv, 0).is_err());
}
