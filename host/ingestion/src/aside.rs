//! Rows that are left out of a table, as records a person can look at.

use arrow::array::BooleanArray;
use arrow::compute::filter_record_batch;
use arrow::error::ArrowError;
use arrow::json::LineDelimitedWriter;
use arrow::record_batch::RecordBatch;
use tidegate_model::Reject;

/// As much of a row's text as is kept.
const RAW: usize = 4 << 10;

/// One reject for every row that `which` says, with the row itself as JSON; `why` is given the row's number.
pub(crate) fn rejects(
    batch: &RecordBatch,
    which: &BooleanArray,
    origin: &str,
    why: impl Fn(usize) -> String,
) -> Result<Vec<Reject>, ArrowError> {
    let mut text = Vec::new();
    let mut writer = LineDelimitedWriter::new(&mut text);
    writer.write(&filter_record_batch(batch, which)?)?;
    writer.finish()?;
    let rows = (0..which.len()).filter(|&row| which.value(row));
    let lines = text.split(|&byte| byte == b'\n');
    Ok(rows
        .zip(lines)
        .map(|(row, line)| {
            let line = &line[..line.len().min(RAW)];
            Reject {
                origin: origin.to_owned(),
                position: row as u64,
                reason: why(row),
                raw: Some(String::from_utf8_lossy(line).into_owned()),
            }
        })
        .collect())
}
