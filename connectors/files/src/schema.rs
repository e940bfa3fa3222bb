//! A schema as text, so that it can travel in a split.

use std::sync::Arc;

use arrow_schema::{DataType, Field, Fields, Schema};
use serde::{Deserialize, Serialize};
use tidegate_sdk::{Fault, Result};

/// A field without metadata.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Column {
    #[serde(rename = "n")]
    name: String,
    #[serde(rename = "t")]
    kind: Kind,
    #[serde(rename = "r", default, skip_serializing_if = "std::ops::Not::not")]
    required: bool,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Kind {
    List(Box<Column>),
    LargeList(Box<Column>),
    FixedSizeList(Box<Column>, i32),
    Struct(Vec<Column>),
    Map(Box<Column>, bool),
    Dictionary(Box<Kind>, Box<Kind>),
    /// A type without children, as Arrow writes it.
    #[serde(untagged)]
    Plain(String),
}

pub fn columns(schema: &Schema) -> Vec<Column> {
    schema.fields().iter().map(|field| Column::of(field)).collect()
}

pub fn schema(columns: &[Column]) -> Result<Schema> {
    Ok(Schema::new(fields(columns)?))
}

/// The schema without what files say about themselves on the side.
pub fn without_metadata(schema: &Schema) -> Result<Schema> {
    self::schema(&columns(schema))
}

fn fields(columns: &[Column]) -> Result<Fields> {
    columns.iter().map(Column::field).collect()
}

impl Column {
    fn of(field: &Field) -> Self {
        Self { name: field.name().clone(), kind: Kind::of(field.data_type()), required: !field.is_nullable() }
    }

    fn field(&self) -> Result<Field> {
        Ok(Field::new(&self.name, self.kind.data_type()?, !self.required))
    }
}

impl Kind {
    fn of(data_type: &DataType) -> Self {
        let child = |field: &Arc<Field>| Box::new(Column::of(field));
        match data_type {
            DataType::List(item) => Self::List(child(item)),
            DataType::LargeList(item) => Self::LargeList(child(item)),
            DataType::FixedSizeList(item, size) => Self::FixedSizeList(child(item), *size),
            DataType::Struct(fields) => Self::Struct(fields.iter().map(|field| Column::of(field)).collect()),
            DataType::Map(entries, sorted) => Self::Map(child(entries), *sorted),
            DataType::Dictionary(key, value) => {
                Self::Dictionary(Box::new(Self::of(key)), Box::new(Self::of(value)))
            }
            plain => Self::Plain(plain.to_string()),
        }
    }

    fn data_type(&self) -> Result<DataType> {
        let child = |column: &Column| column.field().map(Arc::new);
        Ok(match self {
            Self::List(item) => DataType::List(child(item)?),
            Self::LargeList(item) => DataType::LargeList(child(item)?),
            Self::FixedSizeList(item, size) => DataType::FixedSizeList(child(item)?, *size),
            Self::Struct(columns) => DataType::Struct(fields(columns)?),
            Self::Map(entries, sorted) => DataType::Map(child(entries)?, *sorted),
            Self::Dictionary(key, value) => {
                DataType::Dictionary(Box::new(key.data_type()?), Box::new(value.data_type()?))
            }
            Self::Plain(text) => text
                .parse()
                .map_err(|_| Fault::external("unsupported", format!("the type {text} is not supported")))?,
        })
    }
}

#[cfg(test)]
mod tests {
    use arrow_schema::TimeUnit;

    use super::*;

    #[test]
    fn every_type_comes_back() {
        let quoted = Field::new("a \"quoted\" name", DataType::Int64, false);
        let item = Arc::new(Field::new("item", DataType::Struct(vec![quoted].into()), true));
        let entries = DataType::Struct(
            vec![Field::new("key", DataType::Utf8, false), Field::new("value", DataType::Date32, true)]
                .into(),
        );
        let types = [
            DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())),
            DataType::Timestamp(TimeUnit::Nanosecond, None),
            DataType::Decimal128(38, -2),
            DataType::Time64(TimeUnit::Microsecond),
            DataType::FixedSizeBinary(16),
            DataType::List(item.clone()),
            DataType::FixedSizeList(item, 3),
            DataType::Map(Arc::new(Field::new("entries", entries, false)), true),
            DataType::Dictionary(Box::new(DataType::Int32), Box::new(DataType::Utf8)),
        ];
        let fields =
            types.into_iter().enumerate().map(|(at, kind)| Field::new(format!("c{at}"), kind, at % 2 == 0));
        let before = Schema::new(fields.collect::<Vec<_>>());
        let text = serde_json::to_string(&columns(&before)).unwrap();
        let after = schema(&serde_json::from_str::<Vec<Column>>(&text).unwrap()).unwrap();
        assert_eq!(after, before);
    }
}
