//! The host's decoders, steered by the files connector.
#![allow(clippy::disallowed_methods, clippy::unwrap_used, reason = "for tests")]

use std::io::Write;
use std::sync::Arc;

use arrow::array::{ArrayRef, DictionaryArray, Int32Array, Int64Array, RecordBatch, StringArray};
use arrow::datatypes::DataType;
use futures::StreamExt;
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_writer::ArrowWriterOptions;
use serde_json::{Value, json};
use tidegate_extraction::Output;
use tidegate_model::{CapabilityKind, Fault};
use tidegate_sandbox_tests::{Bench, FILES, Read, drain, plan, request};

const GRANTS: &[(CapabilityKind, &str)] = &[(CapabilityKind::Files, "./data"), (CapabilityKind::Decode, "")];

/// All splits of the stream `t`, read after each other.
async fn read(files: &[(&str, Vec<u8>)], extra: Value) -> Result<Read, Fault> {
    let bench = Bench::default();
    let data = bench.folder.path().join("data");
    std::fs::create_dir(&data).unwrap();
    for (name, bytes) in files {
        std::fs::write(data.join(name), bytes).unwrap();
    }
    let mut config = json!({ "location": "./data" });
    config.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
    let extractor = bench.extractor(FILES, config, GRANTS).await;
    let streams = extractor.discover().await?;
    assert_eq!(streams.iter().map(|stream| stream.name.as_str()).collect::<Vec<_>>(), ["t"]);
    let mut all = Read::default();
    for split in plan(&extractor, "t").await?.splits {
        let read = drain(extractor.read(&request("t"), &split.data, None)).await;
        if let Some(fault) = read.fault {
            return Err(fault);
        }
        all.batches.extend(read.batches);
        all.rejects.extend(read.rejects);
    }
    Ok(all)
}

const CSV: &[u8] = b"id,name\n1,a\n2,b\nthree,c\n4,d\n";

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn parquet(rows: i64) -> Vec<u8> {
    let id: ArrayRef = Arc::new(Int64Array::from_iter_values(0..rows));
    let name: ArrayRef = Arc::new(StringArray::from_iter_values((0..rows).map(|row| format!("n{row}"))));
    let batch = RecordBatch::try_from_iter([("id", id), ("name", name)]).unwrap();
    let mut writer = ArrowWriter::try_new(Vec::new(), batch.schema(), None).unwrap();
    writer.write(&batch).unwrap();
    writer.into_inner().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bad_record_costs_itself_and_says_its_line() {
    // So many good rows that the column is taken for a number, and the bad one comes after the sample that
    // says so.
    let mut csv = b"id,name\n".to_vec();
    for row in 0..400_000 {
        writeln!(csv, "{row},{}", "n".repeat(100)).unwrap();
    }
    csv.extend(b"three,c\n4,d\n");
    let read = read(&[("t.csv", csv)], json!({})).await.unwrap();
    assert_eq!(read.rows(), 400_001);
    let [reject] = read.rejects.as_slice() else { panic!("{:?}", read.rejects) };
    assert_eq!((reject.position, reject.raw.as_deref()), (400_002, Some("three,c")));
    assert!(reject.origin.ends_with("t.csv") && reject.reason.contains("line 400002"), "{reject:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn compressed_files_are_read() {
    for (name, bytes) in
        [("t.csv", CSV.to_vec()), ("t.csv.gz", gzip(CSV)), ("t.csv.zst", zstd::encode_all(CSV, 1).unwrap())]
    {
        assert_eq!(read(&[(name, bytes)], json!({})).await.unwrap().rows(), 4, "{name}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bomb_does_not_fill_the_memory() {
    // 256 MiB of empty lines in a few hundred kilobytes; the instance may hold 64 MiB.
    let bomb = gzip(&[b"id\n1\n".as_slice(), &vec![b'\n'; 256 << 20]].concat());
    assert_eq!(read(&[("t.csv.gz", bomb)], json!({})).await.unwrap().rows(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn parquet_is_read_and_a_cut_one_is_told_of() {
    let whole = parquet(10_000);
    assert_eq!(read(&[("t.parquet", whole.clone())], json!({})).await.unwrap().rows(), 10_000);
    let cut = whole[..whole.len() - 100].to_vec();
    let fault = read(&[("t.parquet", cut)], json!({})).await.unwrap_err();
    assert!(fault.message.contains("t.parquet") && fault.message.contains("Parquet"), "{fault}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_text_that_a_parquet_file_repeats_is_unpacked_in_pieces() {
    // 1 GiB of text in a few kilobytes; the instance may hold 64 MiB.
    let rows = 16 << 10;
    let text = "x".repeat(64 << 10);
    let keys = Int32Array::from(vec![0; rows]);
    let values: ArrayRef = Arc::new(StringArray::from(vec![text.as_str()]));
    let texts: ArrayRef = Arc::new(DictionaryArray::new(keys, values));
    let batch = RecordBatch::try_from_iter([("text", texts)]).unwrap();
    let options = ArrowWriterOptions::new().with_skip_arrow_metadata(true);
    let mut writer = ArrowWriter::try_new_with_options(Vec::new(), batch.schema(), options).unwrap();
    writer.write(&batch).unwrap();
    let bytes = writer.into_inner().unwrap();
    assert!(bytes.len() < 1 << 20, "{}", bytes.len());

    let bench = Bench::default();
    let data = bench.folder.path().join("data");
    std::fs::create_dir(&data).unwrap();
    std::fs::write(data.join("t.parquet"), bytes).unwrap();
    let extractor = bench.extractor(FILES, json!({ "location": "./data" }), GRANTS).await;
    let mut seen = 0;
    for split in plan(&extractor, "t").await.unwrap().splits {
        let mut reading = extractor.read(&request("t"), &split.data, None);
        while let Some(output) = reading.next().await {
            if let Output::Batch { batch, .. } = output.unwrap() {
                assert_eq!(batch.schema().field(0).data_type(), &DataType::Utf8);
                assert!(batch.get_array_memory_size() <= 32 << 20, "{}", batch.get_array_memory_size());
                seen += batch.num_rows();
            }
        }
    }
    assert_eq!(seen, rows);
}

#[tokio::test(flavor = "multi_thread")]
async fn files_whose_types_differ_are_read_as_what_fits_both() {
    let read = read(
        &[("t-1.csv", b"id,v\n1,1\n".to_vec()), ("t-2.csv", b"id,v\n2,1.5\n".to_vec())],
        json!({ "streams": { "t": { "glob": "t-*.csv" } } }),
    )
    .await
    .unwrap();
    assert_eq!(read.rows(), 2);
    assert!(read.batches.iter().all(|batch| batch.schema().field(1).data_type().is_floating()));
}
