//! Lines of text files, such as logs: one row a line, with the file it is from and its number there.

use std::io::{BufRead, BufReader};
use std::sync::Arc;

use schemars::JsonSchema;
use serde::Deserialize;
use tidegate_sdk::arrow::array::{ArrayRef, Int64Array, RecordBatch, StringArray};
use tidegate_sdk::arrow::schema::{DataType, Field, Schema};
use tidegate_sdk::prelude::*;

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Config {
    /// The folder with the files.
    location: String,
    /// Lines to send at a time; 10,000 unless told.
    lines: Option<usize>,
}

#[derive(Default)]
struct Lines;

impl Extractor for Lines {
    type Config = Config;

    fn discover(&self, _: &Context<Config>) -> Result<Vec<Stream>> {
        Ok(vec![Stream::new("lines", schema()).with_key(["file", "number"])])
    }

    /// A split is a file. Each is read in an instance of its own, several at once.
    fn plan(&self, cx: &Context<Config>, request: &StreamRequest) -> Result<Plan> {
        if request.stream != "lines" {
            return Err(request.unknown_stream());
        }
        let files = cx.files().list(&cx.config.location, Some("**/*.log"))?;
        let splits = files.iter().map(|file| PlannedSplit::new(&file.path, &file.path));
        Ok(Plan::new(splits.collect::<Result<Vec<_>>>()?).repeatable())
    }

    /// After a crash reading goes on from the last checkpoint in the table: `split.from()` is what was saved there.
    fn read(&self, cx: &Context<Config>, split: Split, out: &mut Output) -> Result<()> {
        let file: String = split.data()?;
        let mut number: i64 = split.from()?.unwrap_or(0);
        let lines = BufReader::new(cx.files().open(&cx.config.location, &file)?).lines();
        let mut lines = lines.skip(number as usize).peekable();
        while lines.peek().is_some() {
            let batch = lines.by_ref().take(cx.config.lines.unwrap_or(10_000).max(1));
            let text = batch.collect::<Result<Vec<String>, _>>()?;
            let end = number + text.len() as i64;
            let files = StringArray::from(vec![file.as_str(); text.len()]);
            let numbers = Int64Array::from_iter_values(number + 1..=end);
            let columns: [ArrayRef; 3] =
                [Arc::new(files), Arc::new(numbers), Arc::new(StringArray::from(text))];
            out.write(&RecordBatch::try_new(schema(), columns.into())?)?;
            out.checkpoint(&end)?;
            number = end;
        }
        Ok(())
    }
}

fn schema() -> Arc<Schema> {
    let file = Field::new("file", DataType::Utf8, false);
    let number = Field::new("number", DataType::Int64, false);
    let text = Field::new("text", DataType::Utf8, false);
    Arc::new(Schema::new(vec![file, number, text]))
}

export_extractor!(Lines, {
    title: "Lines of text",
    capabilities: [
        { id: "source", kind: files, target: "{config.location}", reason: "reads the files you point it at" },
    ],
});
