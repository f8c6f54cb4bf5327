//! One SQL text for both engines: a statement with numbered parameters, and rows read by column
//! name.
//!
//! Both drivers accept `$1`; all numbers are `BIGINT`, so that one type is bound and decoded
//! everywhere. Text that varies (filters of lists) is put together from constants only; values are
//! always parameters.

use std::{borrow::Cow, fmt::Display, str::FromStr};

use larder_core::{AssetId, BucketName, Fault, JobId, KeyId, ObjectKey, Timestamp, UploadId, VariantId};
use serde::{Serialize, de::DeserializeOwned};
use sqlx::{Decode, Postgres, Row as _, Sqlite, Type, postgres::PgRow, sqlite::SqliteRow};

use crate::error::{Error, Result};

/// A value of a parameter. `None` is NULL; PostgreSQL wants the type of a NULL too.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Param {
    Text(Option<String>),
    Int(Option<i64>),
    Real(Option<f64>),
}

/// A statement and its parameters.
#[derive(Debug, Clone)]
pub(crate) struct Statement {
    pub(crate) text: Cow<'static, str>,
    pub(crate) params: Vec<Param>,
}

impl Statement {
    /// A statement whose text may hold `$1`, `$2`…, to be given in order with [`Self::with`].
    pub(crate) fn new(text: &'static str) -> Self {
        Self { text: Cow::Borrowed(text), params: Vec::new() }
    }

    /// Gives the next parameter of the text.
    #[must_use]
    pub(crate) fn with(mut self, param: impl Into<Param>) -> Self {
        self.params.push(param.into());
        self
    }

    /// Appends constant text.
    #[must_use]
    pub(crate) fn push(mut self, text: &str) -> Self {
        self.text.to_mut().push_str(text);
        self
    }

    /// Appends a parameter: its number to the text, its value to the list.
    #[must_use]
    pub(crate) fn bind(mut self, param: impl Into<Param>) -> Self {
        self.params.push(param.into());
        let number = self.params.len();
        self.text.to_mut().push('$');
        self.text.to_mut().push_str(&number.to_string());
        self
    }

    /// Appends ` AND <condition>` and the parameter that ends the condition.
    #[must_use]
    pub(crate) fn and(self, condition: &str, param: impl Into<Param>) -> Self {
        self.push(" AND ").push(condition).bind(param)
    }

    /// As [`Self::and`] if there is a parameter.
    #[must_use]
    pub(crate) fn and_if(self, condition: &str, param: Option<impl Into<Param>>) -> Self {
        match param {
            Some(param) => self.and(condition, param),
            None => self,
        }
    }

    /// Appends ` AND (<two columns>) > ($n, $m)` if there is a position to go on from.
    #[must_use]
    pub(crate) fn and_after(
        self,
        columns: &str,
        after: Option<(impl Into<Param>, impl Into<Param>)>,
    ) -> Self {
        let Some((first, second)) = after else { return self };
        self.push(" AND (").push(columns).push(") > (").bind(first).push(", ").bind(second).push(")")
    }

    /// Appends ` AND <text column> IN ($n, …)`; an empty list is never true.
    #[must_use]
    pub(crate) fn and_in<P: Into<Param>>(self, column: &str, params: impl IntoIterator<Item = P>) -> Self {
        self.membership(column, " IN ", params)
    }

    /// Appends ` AND <text column> NOT IN ($n, …)`; an empty list is always true.
    #[must_use]
    pub(crate) fn and_not_in<P: Into<Param>>(
        self,
        column: &str,
        params: impl IntoIterator<Item = P>,
    ) -> Self {
        self.membership(column, " NOT IN ", params)
    }

    /// The empty text stands for an empty list; no column that is asked here ever holds it.
    fn membership<P: Into<Param>>(
        self,
        column: &str,
        relation: &str,
        params: impl IntoIterator<Item = P>,
    ) -> Self {
        let mut statement = self.push(" AND ").push(column).push(relation).push("(''");
        for param in params {
            statement = statement.push(", ").bind(param);
        }
        statement.push(")")
    }

    /// `INSERT INTO <table> (columns) VALUES (parameters)`.
    pub(crate) fn insert(table: &str, columns: Vec<(&str, Param)>) -> Self {
        let names: Vec<&str> = columns.iter().map(|(name, _)| *name).collect();
        let mut statement =
            Self::new("INSERT INTO ").push(table).push(" (").push(&names.join(", ")).push(") VALUES (");
        for (position, (_, param)) in columns.into_iter().enumerate() {
            statement = statement.push(if position == 0 { "" } else { ", " }).bind(param);
        }
        statement.push(")")
    }

    /// `UPDATE <table> SET column = parameter, …`; append the condition.
    pub(crate) fn update(table: &str, columns: Vec<(&str, Param)>) -> Self {
        let mut statement = Self::new("UPDATE ").push(table).push(" SET ");
        for (position, (name, param)) in columns.into_iter().enumerate() {
            let separator = if position == 0 { "" } else { ", " };
            statement = statement.push(separator).push(name).push(" = ").bind(param);
        }
        statement
    }
}

macro_rules! text_params {
    ($($type:ty),*) => {$(
        impl From<$type> for Param {
            fn from(value: $type) -> Self { Self::Text(Some(value.to_string())) }
        }
        impl From<&$type> for Param {
            fn from(value: &$type) -> Self { Self::Text(Some(value.to_string())) }
        }
        impl From<Option<$type>> for Param {
            fn from(value: Option<$type>) -> Self { Self::Text(value.map(|value| value.to_string())) }
        }
        impl From<&Option<$type>> for Param {
            fn from(value: &Option<$type>) -> Self { Self::Text(value.as_ref().map(|value| value.to_string())) }
        }
        impl From<Option<&$type>> for Param {
            fn from(value: Option<&$type>) -> Self { Self::Text(value.map(|value| value.to_string())) }
        }
    )*};
}

text_params!(String, AssetId, BucketName, JobId, KeyId, ObjectKey, UploadId, VariantId);

impl From<&str> for Param {
    fn from(value: &str) -> Self {
        Self::Text(Some(value.to_owned()))
    }
}

impl From<Option<&str>> for Param {
    fn from(value: Option<&str>) -> Self {
        Self::Text(value.map(str::to_owned))
    }
}

macro_rules! int_params {
    ($($type:ty => |$value:ident| $int:expr),* $(,)?) => {$(
        impl From<$type> for Param {
            fn from($value: $type) -> Self { Self::Int(Some($int)) }
        }
        impl From<Option<$type>> for Param {
            fn from(value: Option<$type>) -> Self { Self::Int(value.map(|$value| $int)) }
        }
    )*};
}

int_params! {
    i64 => |value| value,
    u32 => |value| i64::from(value),
    u16 => |value| i64::from(value),
    // Byte counts; more than 2^63 do not occur.
    u64 => |value| i64::try_from(value).unwrap_or(i64::MAX),
    usize => |value| i64::try_from(value).unwrap_or(i64::MAX),
    bool => |value| i64::from(value),
    Timestamp => |value| value.as_millis(),
}

impl From<f64> for Param {
    fn from(value: f64) -> Self {
        Self::Real(Some(value))
    }
}

impl From<Option<f64>> for Param {
    fn from(value: Option<f64>) -> Self {
        Self::Real(value)
    }
}

impl From<&Option<Fault>> for Param {
    fn from(value: &Option<Fault>) -> Self {
        Self::Text(value.as_ref().map(json_text))
    }
}

/// A value as JSON text.
pub(crate) fn json<T: Serialize>(value: &T) -> Param {
    Param::Text(Some(json_text(value)))
}

/// A value as JSON text, or NULL.
pub(crate) fn opt_json<T: Serialize>(value: &Option<T>) -> Param {
    Param::Text(value.as_ref().map(json_text))
}

fn json_text<T: Serialize>(value: &T) -> String {
    // Our records hold strings, numbers and JSON values only: none of them can fail to print.
    serde_json::to_string(value).unwrap_or_else(|_| "null".to_owned())
}

/// What both drivers can decode.
pub(crate) trait Cell:
    for<'r> Decode<'r, Sqlite> + Type<Sqlite> + for<'r> Decode<'r, Postgres> + Type<Postgres>
{
}

impl<T> Cell for T where
    T: for<'r> Decode<'r, Sqlite> + Type<Sqlite> + for<'r> Decode<'r, Postgres> + Type<Postgres>
{
}

/// A row of either engine.
pub(crate) enum Row {
    Sqlite(SqliteRow),
    Postgres(PgRow),
}

impl Row {
    /// The value of a column.
    pub(crate) fn get<T: Cell>(&self, column: &str) -> Result<T> {
        match self {
            Self::Sqlite(row) => Ok(row.try_get(column)?),
            Self::Postgres(row) => Ok(row.try_get(column)?),
        }
    }

    /// A text column, parsed.
    pub(crate) fn parse<T: FromStr<Err: Display>>(&self, column: &str) -> Result<T> {
        parse(column, &self.get::<String>(column)?)
    }

    /// A text column, parsed, unless it is NULL.
    pub(crate) fn opt_parse<T: FromStr<Err: Display>>(&self, column: &str) -> Result<Option<T>> {
        self.get::<Option<String>>(column)?.map(|text| parse(column, &text)).transpose()
    }

    /// A JSON column.
    pub(crate) fn json<T: DeserializeOwned>(&self, column: &str) -> Result<T> {
        parse_json(column, &self.get::<String>(column)?)
    }

    /// A JSON column, unless it is NULL.
    pub(crate) fn opt_json<T: DeserializeOwned>(&self, column: &str) -> Result<Option<T>> {
        self.get::<Option<String>>(column)?.map(|text| parse_json(column, &text)).transpose()
    }

    /// An instant.
    pub(crate) fn time(&self, column: &str) -> Result<Timestamp> {
        Ok(Timestamp::from_millis(self.get(column)?))
    }

    /// An instant, unless it is NULL.
    pub(crate) fn opt_time(&self, column: &str) -> Result<Option<Timestamp>> {
        Ok(self.get::<Option<i64>>(column)?.map(Timestamp::from_millis))
    }

    /// A boolean, stored as 0 or 1.
    pub(crate) fn flag(&self, column: &str) -> Result<bool> {
        Ok(self.get::<i64>(column)? != 0)
    }

    /// A number that is never negative: sizes, counts, pixels.
    pub(crate) fn count<T: TryFrom<i64>>(&self, column: &str) -> Result<T> {
        fit(column, self.get(column)?)
    }

    /// As [`Self::count`], unless it is NULL.
    pub(crate) fn opt_count<T: TryFrom<i64>>(&self, column: &str) -> Result<Option<T>> {
        self.get::<Option<i64>>(column)?.map(|value| fit(column, value)).transpose()
    }
}

fn parse<T: FromStr<Err: Display>>(column: &str, text: &str) -> Result<T> {
    text.parse().map_err(|error| Error::corrupt(format!("column {column} holds no valid value: {error}")))
}

fn parse_json<T: DeserializeOwned>(column: &str, text: &str) -> Result<T> {
    serde_json::from_str(text)
        .map_err(|error| Error::corrupt(format!("column {column} holds no valid JSON: {error}")))
}

fn fit<T: TryFrom<i64>>(column: &str, value: i64) -> Result<T> {
    value.try_into().map_err(|_| Error::corrupt(format!("column {column} holds {value}")))
}

/// A record that is read from a row.
pub(crate) trait FromRow: Sized {
    fn from_row(row: &Row) -> Result<Self>;
}

/// One number: the column `value`.
impl FromRow for i64 {
    fn from_row(row: &Row) -> Result<Self> {
        row.get("value")
    }
}

/// One text: the column `value`.
impl FromRow for String {
    fn from_row(row: &Row) -> Result<Self> {
        row.get("value")
    }
}

/// The half-open range of texts that begin with `prefix`, in bytewise order: at least the prefix and
/// less than the second value. `None` as the end: every text from the prefix on.
pub(crate) fn prefix_end(prefix: &str) -> Option<String> {
    let mut characters: Vec<char> = prefix.chars().collect();
    while let Some(last) = characters.pop() {
        // The bytewise order of UTF-8 is the order of code points; surrogates are none.
        let next = match last {
            '\u{D7FF}' => Some('\u{E000}'),
            other => char::from_u32(u32::from(other) + 1),
        };
        if let Some(next) = next {
            characters.push(next);
            return Some(characters.into_iter().collect());
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn parameters_are_numbered_in_the_order_of_the_text() {
        let statement = Statement::new("SELECT 1 FROM t WHERE a = $1")
            .with(5_i64)
            .and("b = ", "x")
            .and_if("c = ", None::<i64>)
            .and_in("d", ["y", "z"]);
        assert_eq!(statement.text, "SELECT 1 FROM t WHERE a = $1 AND b = $2 AND d IN ('', $3, $4)");
        assert_eq!(statement.params.len(), 4);
    }

    proptest! {
        #[test]
        fn exactly_the_texts_of_a_prefix_lie_in_its_range(prefix in "\\PC{0,3}", text in "\\PC{0,5}") {
            let inside = text >= prefix && prefix_end(&prefix).is_none_or(|end| text < end);
            prop_assert_eq!(inside, text.starts_with(&prefix));
        }
    }

    #[test]
    fn a_prefix_of_the_last_character_has_no_end() {
        assert_eq!(prefix_end("\u{10FFFF}"), None);
        assert_eq!(prefix_end("a\u{10FFFF}").as_deref(), Some("b"));
        assert_eq!(prefix_end("\u{D7FF}").as_deref(), Some("\u{E000}"));
    }
}
