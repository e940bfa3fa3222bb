//! A JSON stream's schema from its first records.

use std::collections::HashMap;
use std::sync::Arc;

use arrow_schema::{DataType, Field, Fields, Schema};
use serde_json::Value;

use super::split::Splitter;
use crate::bytes::line_breaks;
use crate::decoder::BYTE_ORDER_MARK;
use crate::kinds::{Kind, Kinds};
use crate::{Error, Format, Inferred, Result};

/// Bytes looked at in one go.
const BLOCK: usize = 256 << 10;
const RECORDS: usize = 8192;
/// Of one object, over all records. Where there are more, they are data and not columns.
const MAX_MEMBERS: usize = 4096;

pub fn infer(format: &Format, sample: &[u8], complete: bool) -> Result<Inferred> {
    let mut text = sample.strip_prefix(BYTE_ORDER_MARK).unwrap_or(sample);
    let mut splitter = match format {
        Format::Json { pointer } => Splitter::document(pointer)?,
        _ => Splitter::lines(),
    };
    let mut shape = Shape::Null;
    let (mut rows, mut line, mut bad) = (0, 1, Vec::new());
    loop {
        let length = splitter.scan(text, complete, RECORDS, BLOCK)?;
        for (start, end) in splitter.records() {
            match serde_json::from_slice::<Value>(&text[*start..*end]) {
                Ok(value @ Value::Object(_)) => {
                    rows += 1;
                    shape.see(&value)?;
                }
                Ok(_) => bad.push((line + line_breaks(&text[..*start]), "it is not an object".to_owned())),
                Err(error) => bad.push((line + line_breaks(&text[..*start]), error.to_string())),
            }
        }
        match length {
            None | Some(0) => break,
            Some(length) => {
                line += line_breaks(&text[..length]);
                text = &text[length..];
                splitter.reset();
            }
        }
    }
    let mut notes = Vec::new();
    let fields = match &shape {
        Shape::Object(members) => fields(&members.list, "", &mut notes),
        _ => Fields::empty(),
    };
    match bad.first() {
        Some((line, reason)) if rows == 0 => {
            return Err(Error::content(format!("no record could be read: line {line}: {reason}")));
        }
        Some((line, reason)) => notes.push(format!(
            "{} of the first {} records could not be read (line {line}: {reason}); such records are set aside",
            bad.len(),
            bad.len() + rows as usize
        )),
        None if rows == 0 && !complete => {
            return Err(Error::content("its first record is longer than the sample"));
        }
        None if rows == 0 => return Err(Error::content("it has no records")),
        None => {}
    }
    Ok(Inferred { schema: Arc::new(Schema::new(fields)), rows, notes })
}

/// What the values at one place of a document have in common.
#[derive(Debug, Clone)]
enum Shape {
    /// None but null.
    Null,
    /// Neither objects nor lists.
    Scalar(Kinds),
    List(Box<Shape>),
    Object(Members),
    /// Objects or lists in one record and something else in another.
    Conflict,
}

#[derive(Debug, Clone, Default)]
struct Members {
    /// In order of appearance.
    list: Vec<(String, Shape)>,
    places: HashMap<String, usize>,
}

impl Members {
    /// The member `key`, which mostly is the `likely` one: records tend to have them in the same order.
    fn get(&mut self, likely: usize, key: &str) -> Result<&mut Shape> {
        let place = match self.list.get(likely) {
            Some((known, _)) if known == key => likely,
            _ => match self.places.get(key) {
                Some(place) => *place,
                None => self.add(key)?,
            },
        };
        Ok(&mut self.list[place].1)
    }

    fn add(&mut self, key: &str) -> Result<usize> {
        let place = self.list.len();
        if place >= MAX_MEMBERS {
            return Err(Error::content(format!(
                "an object has more than {MAX_MEMBERS} members, too many to be columns; its keys are probably data"
            )));
        }
        self.places.insert(key.to_owned(), place);
        self.list.push((key.to_owned(), Shape::Null));
        Ok(place)
    }
}

impl Shape {
    fn see(&mut self, value: &Value) -> Result<()> {
        match value {
            Value::Null => {}
            Value::Bool(_) => self.see_scalar(Kind::Boolean, b""),
            Value::Number(number) if number.is_i64() => self.see_scalar(Kind::Integer, b""),
            Value::Number(number) if number.is_u64() => self.see_scalar(Kind::Huge, b""),
            Value::Number(_) => self.see_scalar(Kind::Float, b""),
            Value::String(text) => {
                let text = text.as_bytes();
                self.see_scalar(Kind::of_string(text), text);
            }
            Value::Array(items) => {
                if matches!(self, Self::Null) {
                    *self = Self::List(Box::new(Self::Null));
                }
                match self {
                    Self::List(item) => items.iter().try_for_each(|value| item.see(value))?,
                    _ => *self = Self::Conflict,
                }
            }
            Value::Object(object) => {
                if matches!(self, Self::Null) {
                    *self = Self::Object(Members::default());
                }
                match self {
                    Self::Object(members) => {
                        for (at, (key, value)) in object.iter().enumerate() {
                            members.get(at, key)?.see(value)?;
                        }
                    }
                    _ => *self = Self::Conflict,
                }
            }
        }
        Ok(())
    }

    fn see_scalar(&mut self, kind: Kind, text: &[u8]) {
        if matches!(self, Self::Null) {
            *self = Self::Scalar(Kinds::default());
        }
        match self {
            Self::Scalar(kinds) => kinds.see(kind, text),
            _ => *self = Self::Conflict,
        }
    }

    /// `None` where there is no type that can hold anything.
    fn data_type(&self, path: &str, notes: &mut Vec<String>) -> Option<DataType> {
        Some(match self {
            Self::Null => DataType::Null,
            Self::Scalar(kinds) => kinds.data_type().unwrap_or_else(|| {
                if kinds.is_only(Kind::Huge) {
                    notes.push(format!("`{path}` is text because it has integers beyond 64 bits"));
                } else if !kinds.is_only(Kind::Text) {
                    notes.push(format!("`{path}` is text because its values are of different kinds"));
                }
                DataType::Utf8
            }),
            Self::List(item) => {
                let item = item.data_type(&format!("{path}[]"), notes)?;
                DataType::List(Arc::new(Field::new("item", item, true)))
            }
            Self::Object(members) => {
                let fields = fields(&members.list, &format!("{path}."), notes);
                if fields.is_empty() {
                    notes.push(format!("`{path}` is left out: its objects have no members"));
                    return None;
                }
                DataType::Struct(fields)
            }
            Self::Conflict => {
                notes.push(format!(
                    "`{path}` is left out: it is an object or a list in some records and something else in others"
                ));
                return None;
            }
        })
    }
}

fn fields(members: &[(String, Shape)], path: &str, notes: &mut Vec<String>) -> Fields {
    let fields = members.iter().filter_map(|(name, shape)| {
        let data_type = shape.data_type(&format!("{path}{name}"), notes)?;
        Some(Field::new(name, data_type, true))
    });
    fields.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(format: &Format, text: &str) -> Vec<String> {
        match infer(format, text.as_bytes(), true) {
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
        let list = |item| DataType::List(Arc::new(Field::new("item", item, true))).to_string();
        let object = DataType::Struct(vec![Field::new("y", DataType::Int64, true)].into()).to_string();
        for (values, expected) in [
            (["1", "2"], "Int64"),
            (["1", "2.5"], "Float64"),
            (["null", "true"], "Boolean"),
            (["null", "null"], "Null"),
            (["1", "\"a\""], "Utf8"),
            (["18446744073709551615", "1"], "Utf8"),
            (["\"2013-01-31\"", "null"], "Date32"),
            (["\"2013-01-31T06:00:00Z\"", "\"2013-01-31T06:00:00+01:00\""], "Timestamp(µs, \"UTC\")"),
            (["\"2013-01-31 06:00:00.000000001\"", "\"2013-01-31 06:00\""], "Timestamp(ns)"),
            (["\"2013-01-31T06:00:00Z\"", "\"2013-01-31T06:00:00\""], "Utf8"),
            (["\"2013-01-31T06:00:00Z\"", "\"soon\""], "Utf8"),
            (["\"2013-01-31T06:00:00Z\"", "5"], "Utf8"),
            (["\"1\"", "\"2\""], "Utf8"),
            (["\"true\"", "\"false\""], "Utf8"),
            (["18446744073709551615", "0.5"], "Float64"),
            (["[1]", "[]"], &list(DataType::Int64)),
            (["{}", "{\"y\": 1}"], &object),
        ] {
            let text = values.map(|value| format!("{{\"x\": {value}}}\n")).concat();
            assert_eq!(shown(&Format::Ndjson, &text)[0], format!("x {expected}"), "{text}");
        }
    }

    #[test]
    fn what_cannot_be_a_column_is_told() {
        assert_eq!(
            shown(&Format::Ndjson, "{\"a\": 1, \"x\": {}, \"y\": []}\nnonsense\n{\"y\": 2}\n"),
            [
                "a Int64",
                "`x` is left out: its objects have no members",
                "`y` is left out: it is an object or a list in some records and something else in others",
                "1 of the first 3 records could not be read (line 2: expected ident at line 1 column 2); such records are set aside",
            ]
        );
    }

    #[test]
    fn keys_that_are_data_are_told_of_at_once() {
        let members: Vec<_> = (0..80_000).map(|key| format!("\"k{key}\": 1")).collect();
        let text = format!("{{{}}}\n", members.join(","));
        let told = shown(&Format::Ndjson, &text);
        assert!(told[0].starts_with("an object has more than 4096 members"), "{told:?}");
    }

    #[test]
    fn a_pointer_leads_to_the_array() {
        let text = r#"{"meta": {"items": [0], "s": "]}\""}, "n": 1, "a/b": [[], {"items": [{"x": 1}, {"x": 2}]}], "z": 0}"#;
        let at = |pointer: &str| shown(&Format::Json { pointer: pointer.into() }, text).concat();
        assert_eq!(at("/a~1b/1/items"), "x Int64");
        for (pointer, expected) in [
            ("/nowhere", "there is no `nowhere` at the top"),
            ("/meta/none", "there is no `none` at `/meta`"),
            ("/n", "what is at `/n` is not an array"),
            ("/a~1b/7", "there is no `7` at `/a/b`"),
            ("items", "`items` is not a JSON pointer: it starts with `/`, such as `/data/items`"),
            ("/meta/items", "no record could be read: line 1: it is not an object"),
        ] {
            assert_eq!(at(pointer), expected);
        }
        assert!(at("").contains("one object, not an array"));
    }
}
