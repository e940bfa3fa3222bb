//! How fast it is on one core, beside arrow-csv. Not part of the ordinary tests: name a CSV file in
//! `SPEED_CSV` and run it with `--ignored --nocapture`.

#![allow(
    clippy::disallowed_methods,
    reason = "a measurement reads the file it is given and looks at the clock"
)]

use std::io::Cursor;
use std::sync::Arc;
use std::time::Instant;

use tidegate_decode::{CsvOptions, Cuts, Decoder, Format, infer};

#[test]
#[ignore = "a measurement"]
fn csv() {
    let text = std::fs::read(std::env::var("SPEED_CSV").unwrap()).unwrap();
    let megabytes = text.len() as f64 / 1e6;
    let format =
        Format::Csv(CsvOptions { null_tokens: vec![String::new(), "NA".into()], ..CsvOptions::default() });
    let inferred = infer(&format, &text[..text.len().min(4 << 20)], false).unwrap().settle();
    println!("{:?}", inferred.notes);
    for _ in 0..3 {
        let start = Instant::now();
        let (mut rows, mut rejects) = (0, 0);
        let mut decoder = Decoder::new(&format, Arc::clone(&inferred.schema)).unwrap();
        for chunk in text.chunks(1 << 20) {
            decoder.feed(chunk);
            while let Some(decoded) = decoder.next(1 << 20).unwrap() {
                rows += decoded.batch.num_rows();
                rejects += decoded.rejects.len();
            }
        }
        decoder.finish();
        while let Some(decoded) = decoder.next(1 << 20).unwrap() {
            rows += decoded.batch.num_rows();
            rejects += decoded.rejects.len();
        }
        println!(
            "decode: {rows} rows, {rejects} rejects, {:.0} MB/s",
            megabytes / start.elapsed().as_secs_f64()
        );
    }
    let start = Instant::now();
    let mut cuts = Cuts::new(&format, 1 << 20).unwrap();
    text.chunks(1 << 20).for_each(|chunk| cuts.feed(chunk));
    println!("cuts: {} found, {:.0} MB/s", cuts.finish().len(), megabytes / start.elapsed().as_secs_f64());
    let start = Instant::now();
    let reader =
        arrow_csv::ReaderBuilder::new(Arc::clone(&inferred.schema)).with_header(true).with_batch_size(8192);
    let rows: Result<usize, _> =
        reader.build(Cursor::new(&text)).unwrap().map(|batch| batch.map(|batch| batch.num_rows())).sum();
    println!("arrow-csv: {rows:?}, {:.0} MB/s", megabytes / start.elapsed().as_secs_f64());
}
