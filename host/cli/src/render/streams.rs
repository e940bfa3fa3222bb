//! What a source has, as `tidegate discover` shows it.

use tidegate_model::{StreamInfo, list, tame};

use super::{Align, Paint, Table, bytes, clip, count, wrap};

pub fn streams(streams: &[StreamInfo], paint: Paint) -> String {
    if streams.is_empty() {
        return "The source has no streams.\n".to_owned();
    }
    streams.iter().map(|stream| one(stream, paint)).collect::<Vec<_>>().join("\n")
}

fn one(stream: &StreamInfo, paint: Paint) -> String {
    let mut text = paint.bold(&tame(&stream.name));
    let size = [
        stream.estimated_rows.map(|rows| format!("about {} rows", count(rows))),
        stream.estimated_bytes.map(bytes),
        Some(stream.modes.join(", ")),
    ];
    text.push_str(&format!("  {}\n", size.into_iter().flatten().collect::<Vec<_>>().join(" · ")));
    let mut table = Table::new([("", Align::Left), ("", Align::Left), ("", Align::Left)]);
    for column in &stream.columns {
        let required = if column.nullable { "" } else { "never null" };
        table.row(vec![clip(&tame(&column.name), 32), tame(&column.data_type), required.to_owned()]);
    }
    text.push_str(&table.render("  "));
    // A key is all of its columns; a cursor is any one of these.
    for (label, columns) in [("key", list(&stream.key)), ("cursors", stream.cursors.join(", "))] {
        if !columns.is_empty() {
            let columns = wrap(&tame(&columns), 69, "           ");
            text.push_str(&format!("  {}  {columns}\n", paint.dim(&format!("{label:<7}"))));
        }
    }
    for note in &stream.notes {
        text.push_str(&format!("  {} {}\n", paint.yellow("note"), wrap(&tame(note), 73, "       ")));
    }
    text
}

#[cfg(test)]
mod tests {
    use tidegate_model::Column;

    use super::*;

    #[test]
    fn a_stream_shows_its_columns_and_what_to_know() {
        let column = |name: &str, data_type: &str, nullable| Column {
            name: name.into(),
            data_type: data_type.into(),
            nullable,
        };
        let airlines = StreamInfo {
            name: "airlines".into(),
            columns: vec![column("carrier", "string", true), column("id", "int64", false)],
            modes: vec!["full".into(), "incremental".into()],
            key: vec!["id".into()],
            cursors: vec!["id".into(), "carrier".into()],
            estimated_rows: Some(1600),
            estimated_bytes: Some(386),
            notes: vec!["`carrier` is text because of \"NA\"".into()],
        };
        assert_eq!(
            streams(&[airlines], Paint::PLAIN),
            "\
airlines  about 1,600 rows · 386 B · full, incremental
  carrier  string
  id       int64   never null
  key      id
  cursors  id, carrier
  note `carrier` is text because of \"NA\"
"
        );
        assert_eq!(streams(&[], Paint::PLAIN), "The source has no streams.\n");
    }
}
