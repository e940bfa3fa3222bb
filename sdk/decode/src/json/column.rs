//! Columns of JSON: lists and objects here, values without children as in every format, and types that JSON
//! seldom has by Arrow's reader.

use std::fmt;
use std::sync::Arc;

use arrow_array::{ArrayRef, ListArray, StructArray};
use arrow_buffer::OffsetBuffer;
use arrow_schema::{DataType, Field as ArrowField, FieldRef, Fields};

use super::foreign::Foreign;
use super::lex::{Lexed, Lexer};
use super::members::Members;
use super::spans::{Span, Spans};
use crate::column::{Absent, Bad, Column, Place, Source, Validity, Values, leaf};
use crate::field::{Field, Form};
use crate::{Error, Result};

/// A column for a field, whose values may be null where `nullable`. `above` leads to it, with a point at the
/// end.
pub fn column(field: &ArrowField, nullable: bool, above: &str) -> Result<Box<dyn Column>> {
    let place = Place { name: format!("{above}{}", field.name()), nullable };
    Ok(match field.data_type() {
        DataType::Null => Box::new(Absent::new(DataType::Null, Some(place))),
        DataType::Struct(fields) => Box::new(Object::new(fields, place)?),
        DataType::List(item) => Box::new(List::new(item, place)?),
        // Arrow's reader also takes decimals with an exponent.
        DataType::Decimal128(..) => Box::new(Foreign::new(field, place)?),
        other => match leaf(other, place) {
            Ok(column) => column,
            Err(place) => Box::new(Foreign::new(field, place)?),
        },
    })
}

/// The value if it is an object or an array, as its first byte tells.
fn nested<'a>(field: Option<Field<'a>>, bracket: u8) -> Option<Field<'a>> {
    field.filter(|field| field.form == Form::Nested && field.bytes().first() == Some(&bracket))
}

struct Object {
    place: Place,
    fields: Fields,
    members: Members,
    columns: Vec<Box<dyn Column>>,
    validity: Validity,
}

impl Object {
    fn new(fields: &Fields, place: Place) -> Result<Self> {
        let above = format!("{}.", place.name);
        // Where the object is null, so are its members, whatever the schema demands of them.
        let columns = fields.iter().map(|field| column(field, field.is_nullable() || place.nullable, &above));
        Ok(Self {
            columns: columns.collect::<Result<_>>()?,
            members: Members::new(fields.iter().map(|field| field.name())),
            fields: fields.clone(),
            validity: Validity::default(),
            place,
        })
    }
}

impl fmt::Debug for Object {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Object").field("place", &self.place).finish_non_exhaustive()
    }
}

impl Column for Object {
    fn append(&mut self, values: &Values, bad: &mut Bad) {
        let Values::Json(spans) = values else { return };
        let Self { place, fields, members, columns, validity } = self;
        members.clear();
        let required: Vec<_> = (0..fields.len()).filter(|index| !fields[*index].is_nullable()).collect();
        for row in 0..spans.rows() {
            let field = spans.get(row);
            members.add();
            let Some(given) = field else {
                if !place.nullable {
                    bad.add(row, || place.null());
                }
                validity.null();
                continue;
            };
            validity.value();
            let Some(object) = nested(field, b'{') else {
                bad.add(row, || place.mismatch(given, "an object"));
                continue;
            };
            let lexer = Lexer { text: object.around, end: object.end };
            if let Err(malformed) = members.read(lexer, object.start) {
                bad.add(row, || format!("column `{}`: {}", place.name, malformed.0));
            }
            for index in &required {
                if members.last(*index).is_null() {
                    let name = format!("{}.{}", place.name, fields[*index].name());
                    bad.add(row, || Place { name, nullable: false }.null());
                }
            }
        }
        for (index, column) in columns.iter_mut().enumerate() {
            column.append(&Values::Json(members.values(spans.text, index)), bad);
        }
    }

    fn truncate(&mut self, rows: usize) {
        self.validity.truncate(rows);
        self.columns.iter_mut().for_each(|column| column.truncate(rows));
    }

    fn size(&self) -> usize {
        self.validity.len() / 8 + self.columns.iter().map(|column| column.size()).sum::<usize>()
    }

    fn finish(&mut self) -> Result<ArrayRef> {
        let rows = self.validity.len();
        let columns = self.columns.iter_mut().map(|column| column.finish()).collect::<Result<_>>()?;
        let nulls = self.validity.finish();
        let array = StructArray::try_new_with_length(self.fields.clone(), columns, nulls, rows);
        Ok(Arc::new(array.map_err(Error::internal)?))
    }
}

struct List {
    place: Place,
    item: FieldRef,
    items: Box<dyn Column>,
    /// One more than there are rows.
    offsets: Vec<i32>,
    validity: Validity,
    spans: Vec<Span>,
    open: Vec<u8>,
}

impl List {
    fn new(item: &FieldRef, place: Place) -> Result<Self> {
        let unnamed = item.as_ref().clone().with_name("");
        let items = column(&unnamed, item.is_nullable(), &format!("{}[]", place.name))?;
        Ok(Self {
            place,
            item: item.clone(),
            items,
            offsets: vec![0],
            validity: Validity::default(),
            spans: Vec::new(),
            open: Vec::new(),
        })
    }
}

impl fmt::Debug for List {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("List").field("place", &self.place).finish_non_exhaustive()
    }
}

/// Adds the elements of the array whose bracket is at `at`.
fn elements(lexer: Lexer, at: usize, spans: &mut Vec<Span>, open: &mut Vec<u8>) -> Lexed<()> {
    let mut at = at + 1;
    loop {
        at = lexer.separators(at);
        if lexer.peek(at) == Some(b']') {
            return Ok(());
        }
        let (span, end) = Span::read(lexer, at, open)?;
        spans.push(span);
        at = end;
    }
}

impl Column for List {
    fn append(&mut self, values: &Values, bad: &mut Bad) {
        let Values::Json(all) = values else { return };
        let Self { place, items, offsets, validity, spans, open, .. } = self;
        let first_row = offsets.len();
        let base = offsets.last().copied().unwrap_or_default();
        spans.clear();
        for row in 0..all.rows() {
            let field = all.get(row);
            match (nested(field, b'['), field) {
                (Some(array), _) => {
                    let lexer = Lexer { text: array.around, end: array.end };
                    if let Err(malformed) = elements(lexer, array.start, spans, open) {
                        bad.add(row, || format!("column `{}`: {}", place.name, malformed.0));
                    }
                    validity.value();
                }
                (None, Some(field)) => {
                    bad.add(row, || place.mismatch(field, "an array"));
                    validity.value();
                }
                (None, None) => {
                    if !place.nullable {
                        bad.add(row, || place.null());
                    }
                    validity.null();
                }
            }
            offsets.push(base + spans.len() as i32);
        }
        let mut bad_items = Bad::default();
        let spans = Spans { text: all.text, spans, width: 1, index: 0 };
        items.append(&Values::Json(spans), &mut bad_items);
        for (item, reason) in bad_items.0 {
            let place = base + item as i32;
            bad.add(offsets[first_row..].partition_point(|end| *end <= place), || reason);
        }
    }

    fn truncate(&mut self, rows: usize) {
        self.offsets.truncate(rows + 1);
        self.items.truncate(self.offsets[rows] as usize);
        self.validity.truncate(rows);
    }

    fn size(&self) -> usize {
        size_of_val(&self.offsets[1..]) + self.offsets.len() / 8 + self.items.size()
    }

    fn finish(&mut self) -> Result<ArrayRef> {
        let offsets = OffsetBuffer::new(std::mem::replace(&mut self.offsets, vec![0]).into());
        let items = self.items.finish()?;
        let array = ListArray::try_new(self.item.clone(), offsets, items, self.validity.finish());
        Ok(Arc::new(array.map_err(Error::internal)?))
    }
}
