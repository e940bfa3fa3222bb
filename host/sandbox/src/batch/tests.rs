//! Lies about batches. Each is refused; none is a panic, and none costs memory beyond the batch's own.

use arrow::array::AsArray;
use arrow::datatypes::{Field, Int32Type, Schema};

use super::*;

fn schema(data_type: DataType) -> SchemaRef {
    Arc::new(Schema::new(vec![Field::new("c", data_type, true)]))
}

fn node(length: u64, null_count: u64) -> Node {
    Node { length, null_count }
}

fn told(data_type: DataType, rows: u64, nodes: &[Node], buffers: &[&[u8]], variadic: &[u32]) -> String {
    match assemble(&schema(data_type), &Raw { rows, nodes, buffers, variadic }) {
        Ok(batch) => format!("{} rows", batch.num_rows()),
        Err(fault) => {
            assert_eq!(fault.code, Code::BadBatch);
            fault.message
        }
    }
}

fn list() -> DataType {
    DataType::List(Arc::new(Field::new("item", DataType::Int8, true)))
}

fn i32s(values: &[i32]) -> Vec<u8> {
    values.iter().flat_map(|value| value.to_le_bytes()).collect()
}

#[test]
fn an_honest_batch_is_taken() {
    let values = i32s(&[1, 2, 3]);
    let raw = Raw { rows: 3, nodes: &[node(3, 1)], buffers: &[&[0b101], &values], variadic: &[] };
    let batch = assemble(&schema(DataType::Int32), &raw).unwrap();
    let column = batch.column(0).as_primitive::<Int32Type>();
    assert_eq!(column.iter().collect::<Vec<_>>(), [Some(1), None, Some(3)]);
    assert_eq!(column.values().inner().as_ptr().align_offset(64), 0, "aligned, wherever it came from");
}

#[test]
fn counts_and_lengths_must_be_true() {
    let three = i32s(&[1, 2, 3]);
    type Case<'a> = (&'a str, u64, &'a [Node], &'a [&'a [u8]]);
    let cases: &[Case<'_>] = &[
        ("3 values where 4 belong", 4, &[node(3, 0)], &[&[], &three]),
        ("a buffer of 12 bytes where 16 are needed", 4, &[node(4, 0)], &[&[], &three]),
        ("a node is missing", 3, &[], &[&[], &three]),
        ("a buffer is missing", 3, &[node(3, 0)], &[&[]]),
        ("more nodes or buffers", 3, &[node(3, 0)], &[&[], &three, &three]),
        ("more nodes or buffers", 3, &[node(3, 0), node(3, 0)], &[&[], &three]),
        ("4 of them null", 3, &[node(3, 4)], &[&[0], &three]),
        ("1 nulls where 2 were announced", 3, &[node(3, 2)], &[&[0b101], &three]),
        ("a validity bitmap, but no nulls", 3, &[node(3, 0)], &[&[7], &three]),
        ("rows are more than", MAX_ROWS + 1, &[node(MAX_ROWS + 1, 0)], &[&[], &three]),
        ("18446744073709551615 values", 3, &[node(u64::MAX, 0)], &[&[], &three]),
    ];
    for (expected, rows, nodes, buffers) in cases {
        let told = told(DataType::Int32, *rows, nodes, buffers, &[]);
        assert!(told.contains(expected), "{told}");
    }
}

#[test]
fn one_region_named_many_times_counts_every_time() {
    let region = vec![0_u8; 1 << 20];
    let aliased: Vec<&[u8]> = std::iter::repeat_n(region.as_slice(), 100).collect();
    let told = told(DataType::Utf8View, 1, &[node(1, 0)], &aliased, &[98]);
    assert!(told.contains("104857600 bytes in 100 buffers are too many"), "{told}");
    let many: Vec<&[u8]> = std::iter::repeat_n(&[][..], MAX_BUFFERS + 1).collect();
    let raw = Raw { rows: 1, nodes: &[node(1, 0)], buffers: &many, variadic: &[] };
    assert!(assemble(&schema(DataType::Utf8), &raw).is_err());
}

#[test]
fn what_is_shared_counts_as_often_as_it_is_named() {
    let view: Vec<u8> = [1 << 20, 0, 0, 0_u32].into_iter().flat_map(u32::to_le_bytes).collect();
    let (views, text) = (view.repeat(1000), vec![0_u8; 1 << 20]);
    for data_type in [DataType::Utf8View, DataType::BinaryView] {
        let few = told(data_type.clone(), 10, &[node(10, 0)], &[&[], &views, &text], &[1]);
        assert_eq!(few, "10 rows");
        let bomb = told(data_type, 1000, &[node(1000, 0)], &[&[], &views, &text], &[1]);
        assert!(bomb.contains("unpacked"), "{bomb}");
    }
    let dictionary = DataType::Dictionary(Box::new(DataType::Int8), Box::new(DataType::Utf8));
    let (keys, offsets) = (vec![0_u8; 1 << 20], i32s(&[0, 2048]));
    let buffers: [&[u8]; 5] = [&[], &keys, &[], &offsets, &text];
    let bomb = told(dictionary.clone(), 1 << 20, &[node(1 << 20, 0), node(1, 0)], &buffers, &[]);
    assert!(bomb.contains("unpacked"), "{bomb}");
    assert_eq!(told(dictionary, 1000, &[node(1000, 0), node(1, 0)], &buffers, &[]), "1000 rows");
}

#[test]
fn offsets_text_and_indices_are_looked_at() {
    let dictionary = DataType::Dictionary(Box::new(DataType::Int8), Box::new(DataType::Utf8));
    let utf8 = |offsets: &[i32], text: &[u8]| {
        told(DataType::Utf8, 2, &[node(2, 0)], &[&[], &i32s(offsets), text], &[])
    };
    assert_eq!(utf8(&[0, 1, 3], b"abc"), "2 rows");
    for (offsets, text) in [
        (&[0, 2, 1][..], &b"abc"[..]),
        (&[0, 1, 9], b"abc"),
        (&[-1, 1, 2], b"abc"),
        (&[0, 1, i32::MAX], b"abc"),
        (&[0, 1, 3], b"a\xff\xfe"),
        (&[0, 1, 2], "é".as_bytes()),
    ] {
        assert!(utf8(offsets, text).contains("column `c`"), "{offsets:?}");
    }
    let indices = |index: u8| {
        let offsets = i32s(&[0, 1]);
        told(dictionary.clone(), 1, &[node(1, 0), node(1, 0)], &[&[], &[index], &[], &offsets, b"x"], &[])
    };
    assert_eq!(indices(0), "1 rows");
    for index in [1, 127, 255] {
        assert!(indices(index).contains("column `c`"), "{index}");
    }
}

#[test]
fn views_point_into_their_buffers() {
    let view = |length: u32, buffer: u32, offset: u32| {
        let mut view = Vec::new();
        for part in [length, u32::from_le_bytes(*b"aaaa"), buffer, offset] {
            view.extend(part.to_le_bytes());
        }
        told(DataType::Utf8View, 1, &[node(1, 0)], &[&[], &view, b"aaaaaaaaaaaaaaaaaaaa"], &[1])
    };
    assert_eq!(view(20, 0, 0), "1 rows");
    for (length, buffer, offset) in [(20, 1, 0), (20, 0, 1), (u32::MAX, 0, 0), (13, 0, u32::MAX)] {
        assert!(view(length, buffer, offset).contains("column `c`"), "{length} {buffer} {offset}");
    }
    assert!(told(DataType::Utf8View, 1, &[node(1, 0)], &[&[], &[0; 16]], &[u32::MAX]).contains("missing"));
    assert!(told(DataType::Utf8View, 1, &[node(1, 0)], &[&[], &[0; 16]], &[]).contains("missing"));
}

#[test]
fn nested_values_are_there() {
    let list = |offsets: &[i32], items: u64, bytes: &[u8]| {
        told(list(), 1, &[node(1, 0), node(items, 0)], &[&[], &i32s(offsets), &[], bytes], &[])
    };
    assert_eq!(list(&[0, 2], 2, &[1, 2]), "1 rows");
    assert!(list(&[0, 3], 2, &[1, 2]).contains("column `c`"));
    assert!(list(&[0, 2], 3, &[1, 2]).contains("column `c`"));
    assert!(list(&[2, 0], 2, &[1, 2]).contains("column `c`"));

    let nothing = DataType::List(Arc::new(Field::new("item", DataType::Null, true)));
    let bomb = told(nothing, 1, &[node(1, 0), node(1 << 40, 0)], &[&[], &i32s(&[0, 1])], &[]);
    assert!(bomb.contains("values"), "{bomb}");

    let fixed = DataType::FixedSizeList(Arc::new(Field::new("item", DataType::Int8, true)), 3);
    assert_eq!(told(fixed.clone(), 1, &[node(1, 0), node(3, 0)], &[&[], &[], &[1, 2, 3]], &[]), "1 rows");
    let short = told(fixed, 1, &[node(1, 0), node(2, 0)], &[&[], &[], &[1, 2]], &[]);
    assert!(short.contains("2 values where 3 belong"), "{short}");
}

#[test]
fn decimals_have_no_more_digits_than_they_say() {
    let decimal =
        |value: i128| told(DataType::Decimal128(3, -1), 1, &[node(1, 0)], &[&[], &value.to_le_bytes()], &[]);
    assert_eq!(decimal(-999), "1 rows");
    assert!(decimal(1000).contains("more digits"));
    assert!(decimal(i128::MIN).contains("more digits"));
}

#[test]
fn a_null_where_none_may_be_is_refused() {
    let schema = Arc::new(Schema::new(vec![Field::new("c", DataType::Int8, false)]));
    let raw = Raw { rows: 2, nodes: &[node(2, 1)], buffers: &[&[0b01], &[1, 2]], variadic: &[] };
    assert_eq!(assemble(&schema, &raw).unwrap_err().code, Code::BadBatch);
}
