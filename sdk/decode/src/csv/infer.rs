//! A CSV file's schema from its first records.

use std::borrow::Cow;
use std::sync::Arc;

use arrow_schema::{DataType, Field, Schema};

use super::decode::header_fields;
use super::distinct_names;
use super::fields::{Nulls, Records, unquoted};
use super::scan::Scanner;
use crate::bytes::line_breaks;
use crate::decoder::BYTE_ORDER_MARK;
use crate::infer::spelled;
use crate::kinds::{Kind, Kinds};
use crate::{CsvOptions, Error, Inferred, Result};

/// The names of a CSV file's columns, from its beginning: those in its header, or `column_1` and so on. A
/// piece from the file's middle is decoded with these as [`CsvOptions::columns`].
pub fn column_names(options: &CsvOptions, beginning: &[u8], complete: bool) -> Result<Vec<String>> {
    options.check()?;
    first_record(options, beginning, complete).map(|first| first.names)
}

struct FirstRecord {
    names: Vec<String>,
    /// Where the data begins.
    data: usize,
}

fn first_record(options: &CsvOptions, sample: &[u8], complete: bool) -> Result<FirstRecord> {
    let mut data = if sample.starts_with(BYTE_ORDER_MARK) { BYTE_ORDER_MARK.len() } else { 0 };
    let mut scanner = Scanner::first(options.delimiter);
    loop {
        let text = &sample[data..];
        let length = match scanner.scan(text, complete)? {
            None => return Err(Error::content("its first record is longer than the sample")),
            Some(0) => return Err(Error::content("it has no records")),
            Some(length) => length,
        };
        match header_fields(scanner.block(), text)? {
            Some(fields) if options.header => {
                return Ok(FirstRecord { names: distinct_names(&fields), data: data + length });
            }
            Some(fields) if options.columns.is_empty() => {
                return Ok(FirstRecord { names: distinct_names(&vec![String::new(); fields.len()]), data });
            }
            Some(_) => return Ok(FirstRecord { names: options.columns.clone(), data }),
            // Empty lines.
            None => data += length,
        }
        scanner.reset();
    }
}

pub fn infer(options: &CsvOptions, sample: &[u8], complete: bool) -> Result<Inferred> {
    options.check()?;
    let FirstRecord { names, data } = first_record(options, sample, complete)?;
    let mut line = 1 + line_breaks(&sample[..data]);
    let mut text = &sample[data..];
    let nulls = Nulls::new(&options.null_tokens);
    let mut columns = vec![Seen::default(); names.len()];
    let (mut rows, mut malformed, mut first_malformed) = (0, 0, None);
    let mut scanner = Scanner::new(options.delimiter, names.len());
    loop {
        let length = scanner.scan(text, complete)?;
        let block = scanner.block();
        let (starts, ends) = (Cow::Borrowed(block.starts.as_slice()), Cow::Borrowed(block.ends.as_slice()));
        let records = Records { text, starts, ends, width: names.len(), sources: &[], nulls: &nulls };
        for (index, seen) in columns.iter_mut().enumerate() {
            for (raw, start) in records.fields(index).raw() {
                seen.look(raw, &nulls, || line + line_breaks(&text[..start]));
            }
        }
        rows += block.starts.len() as u64;
        malformed += block.malformed.len();
        if let (None, Some(bad)) = (first_malformed, block.malformed.first()) {
            first_malformed = Some(line + line_breaks(&text[..bad.start]));
        }
        match length {
            None | Some(0) => break,
            Some(length) => {
                line += line_breaks(&text[..length]);
                text = &text[length..];
                scanner.reset();
            }
        }
    }
    let mut notes = Vec::new();
    let fields: Vec<_> = names
        .iter()
        .zip(&columns)
        .map(|(name, seen)| Field::new(name, seen.data_type(name, &mut notes), true))
        .collect();
    if let Some(line) = first_malformed {
        notes.push(format!(
            "{malformed} of the first {} records do not have {} fields (the first in line {line}); such records are set aside",
            rows + malformed as u64,
            names.len()
        ));
        if rows == 0 {
            return Err(Error::content(format!(
                "no record has as many fields as the first one, {}: is the delimiter {:?}?",
                names.len(),
                char::from(options.delimiter)
            )));
        }
    }
    Ok(Inferred { schema: Arc::new(Schema::new(fields)), rows, notes })
}

/// What a column's values look like.
#[derive(Debug, Clone, Default)]
struct Seen {
    kinds: Kinds,
    /// Distinct values that are nothing but text, their lines, and whether they are quoted; at most two.
    texts: Vec<(String, u64, bool)>,
    /// How many values there are, and how many of them are nothing but text.
    values: u64,
    text_values: u64,
}

impl Seen {
    fn look(&mut self, raw: &[u8], nulls: &Nulls, line: impl FnOnce() -> u64) {
        let quoted = raw.first() == Some(&b'"');
        if !quoted && nulls.contains(raw) {
            return;
        }
        let text = if quoted { unquoted(raw) } else { raw.into() };
        let kind = Kind::of(&text);
        self.kinds.see(kind, &text);
        self.values += 1;
        self.text_values += u64::from(kind == Kind::Text);
        if kind == Kind::Text && self.texts.len() < 2 {
            let text = String::from_utf8_lossy(&text);
            if self.texts.iter().all(|(known, ..)| *known != text) {
                self.texts.push((text.chars().take(40).collect(), line(), quoted));
            }
        }
    }

    fn data_type(&self, name: &str, notes: &mut Vec<String>) -> DataType {
        if let Some(data_type) = self.kinds.data_type() {
            return data_type;
        }
        let others = self.kinds.without(Kind::Text);
        if others.is_only(Kind::Zeros) {
            notes.push(format!("`{name}` is text because its numbers have leading zeros"));
        } else if self.kinds.has(Kind::Huge) && self.texts.is_empty() {
            notes.push(format!("`{name}` is text because it has integers beyond 64 bits"));
        } else if let Some(wanted) = others.data_type().filter(|_| !others.is_empty()) {
            match self.texts.as_slice() {
                [(token, line, false)] => notes.push(format!(
                    "`{name}` is text because of {token:?} (line {line}); add {token:?} to null_tokens to read it as {}",
                    spelled(&wanted)
                )),
                // Where text is common, the few other values are text too.
                [(token, line, _), rest @ ..] if self.text_values * 10 <= self.values => notes.push(format!(
                    "`{name}` is text because of {token:?} (line {line}){}; other values look like {}",
                    if rest.is_empty() { "" } else { " and more" },
                    spelled(&wanted)
                )),
                _ => {}
            }
        } else if self.texts.is_empty() {
            notes.push(format!("`{name}` is text because its values are of different kinds"));
        }
        DataType::Utf8
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(options: &CsvOptions, text: &str) -> Vec<String> {
        match infer(options, text.as_bytes(), true) {
            Ok(inferred) => {
                let fields = inferred.schema.fields().iter();
                fields
                    .map(|field| format!("{} {}", field.name(), field.data_type()))
                    .chain(inferred.notes)
                    .collect()
            }
            Err(error) => vec![error.message],
        }
    }

    #[test]
    fn types_follow_values() {
        for (values, expected) in [
            ("1\n-2\n", "Int64"),
            ("1\n2.5\n", "Float64"),
            ("1e3\n\"\"x\n", "Utf8"),
            ("true\nFALSE\n", "Boolean"),
            ("2013-01-01\n", "Date32"),
            ("2013-01-01T06:00:00Z\n", "Timestamp(µs, \"UTC\")"),
            ("2013-01-01T06:00:00+01:00\n", "Timestamp(µs, \"UTC\")"),
            ("2013-01-01 06:00:00\n", "Timestamp(µs)"),
            ("2013-01-01 06:00:00.000000001\n", "Timestamp(ns)"),
            ("2013-01-01\n2013-01-01 06:00:00\n", "Utf8"),
            ("007\n", "Utf8"),
            ("9223372036854775808\n", "Utf8"),
            ("9223372036854775808\n0.5\n", "Float64"),
            ("\"1\"\n", "Int64"),
            ("abc\n", "Utf8"),
            ("\"\"\n", "Utf8"),
            ("\n", "Null"),
        ] {
            let found = shown(&CsvOptions::default(), &format!("x\n{values}"));
            assert_eq!(found[0], format!("x {expected}"), "{values:?}: {found:?}");
        }
    }

    #[test]
    fn notes_say_what_stood_in_the_way() {
        let mut text = String::from("a,b,c\n1,x,1\n2,y,-\nNA,z,n/a\n4,,3\nNA,8,2\n");
        (0..20).for_each(|n| text.push_str(&format!("{n},word,{n}\n")));
        assert_eq!(
            shown(&CsvOptions::default(), &text)[3..],
            [
                "`a` is text because of \"NA\" (line 4); add \"NA\" to null_tokens to read it as int64",
                "`c` is text because of \"-\" (line 3) and more; other values look like int64",
            ]
        );
        let options = CsvOptions { null_tokens: vec!["NA".into(), String::new()], ..CsvOptions::default() };
        assert_eq!(shown(&options, &text)[0], "a Int64");
    }

    #[test]
    fn headers_are_made_into_names() {
        let headerless = CsvOptions { header: false, ..CsvOptions::default() };
        for (options, text, expected) in [
            (CsvOptions::default(), "a,,a\n1,2,3\n", vec!["a Int64", "column_2 Int64", "a_2 Int64"]),
            (CsvOptions::default(), "a,a,a_2\n1,2,3\n", vec!["a Int64", "a_3 Int64", "a_2 Int64"]),
            (CsvOptions::default(), "\u{feff}\n\"a b\"\n1\n", vec!["a b Int64"]),
            (headerless, "1,x\n", vec!["column_1 Int64", "column_2 Utf8"]),
        ] {
            assert_eq!(shown(&options, text), expected, "{text:?}");
        }
    }

    #[test]
    fn what_is_not_csv_is_told() {
        for (text, expected) in [
            ("\n\n", "it has no records"),
            ("a\n1,2\n", "no record has as many fields as the first one, 1: is the delimiter ','?"),
        ] {
            assert_eq!(shown(&CsvOptions::default(), text), [expected]);
        }
    }
}
