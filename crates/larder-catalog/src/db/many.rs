//! Many rows by one statement.
//!
//! Each statement is a trip to the thread of its connection, or to a server, and back; many rows in one
//! statement share it. The rows are one parameter, a JSON array: so the text does not depend on how many
//! there are, is prepared once, and meets no engine's limit of parameters. Both engines read it by
//! `value ->> 'name'`.

use serde_json::{Map, Number, Value};

use super::{Param, Statement};

/// The columns of one row.
pub(crate) type Columns = Vec<(&'static str, Param)>;

impl Statement {
    /// Appends rows as a table `listed`, whose one column `value` holds each as a JSON object.
    #[must_use]
    pub(crate) fn listed(self, rows: &[Columns], is_postgres: bool) -> Self {
        let rows = Param::Text(Some(Value::Array(rows.iter().map(object).collect()).to_string()));
        match is_postgres {
            true => self.push("jsonb_array_elements(CAST(").bind(rows).push(" AS jsonb)) AS listed (value)"),
            false => self.push("json_each(").bind(rows).push(") AS listed"),
        }
    }

    /// `INSERT INTO <table>` of rows that have the same columns in the same order; `None` if there are none.
    /// Append what is to happen on a conflict.
    pub(crate) fn insert_rows(table: &str, rows: &[Columns], is_postgres: bool) -> Option<Self> {
        let first = rows.first()?;
        let names: Vec<&str> = first.iter().map(|(name, _)| *name).collect();
        let values: Vec<String> = first.iter().map(|(name, param)| value_of(name, param)).collect();
        let insert = Self::new("INSERT INTO ")
            .push(table)
            .push(&format!(" ({}) SELECT {} FROM ", names.join(", "), values.join(", ")))
            .listed(rows, is_postgres);
        // Without a condition SQLite takes the ON of a conflict for that of a join (SQLite, "UPSERT").
        Some(insert.push(" WHERE true"))
    }
}

/// How a column is read from a row.
fn value_of(name: &str, param: &Param) -> String {
    match param {
        Param::Text(_) => format!("listed.value ->> '{name}'"),
        Param::Int(_) => format!("CAST(listed.value ->> '{name}' AS BIGINT)"),
        Param::Real(_) => format!("CAST(listed.value ->> '{name}' AS DOUBLE PRECISION)"),
    }
}

fn object(columns: &Columns) -> Value {
    let pairs = columns.iter().map(|(name, param)| {
        let value = match param {
            Param::Text(value) => value.clone().map(Value::String),
            Param::Int(value) => value.map(Value::from),
            Param::Real(value) => value.and_then(Number::from_f64).map(Value::Number),
        };
        ((*name).to_owned(), value.unwrap_or(Value::Null))
    });
    Value::Object(Map::from_iter(pairs))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_text_does_not_depend_on_the_number_of_rows() {
        let row = |number: i64| vec![("a", Param::from("x")), ("b", Param::from(number))];
        let one = Statement::insert_rows("t", &[row(1)], false).unwrap();
        let many = Statement::insert_rows("t", &[row(1), row(2), row(3)], false).unwrap();
        assert_eq!(one.text, many.text);
        assert_eq!(
            one.text,
            "INSERT INTO t (a, b) SELECT listed.value ->> 'a', CAST(listed.value ->> 'b' AS BIGINT) FROM \
             json_each($1) AS listed WHERE true"
        );
        assert_eq!(one.params, [Param::from(r#"[{"a":"x","b":1}]"#)]);
        assert!(Statement::insert_rows("t", &[], true).is_none());
    }
}
