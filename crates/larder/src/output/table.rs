//! Tables for people: no frame, so that columns can be cut and pasted.

use std::fmt;

use comfy_table::{Attribute, Cell, CellAlignment, ContentArrangement, presets};

/// Rows under heads.
pub struct Table {
    inner: comfy_table::Table,
    rows: usize,
}

impl Table {
    pub(super) fn new<const N: usize>(heads: [&str; N], colour: bool) -> Self {
        let mut inner = comfy_table::Table::new();
        inner.load_style(presets::NOTHING).set_content_arrangement(ContentArrangement::Disabled);
        if colour {
            inner.enforce_styling();
        } else {
            inner.force_no_tty();
        }
        inner.set_header(heads.map(|head| Cell::new(head).add_attribute(Attribute::Bold)));
        for column in inner.column_iter_mut() {
            column.set_padding((0, 2));
        }
        Self { inner, rows: 0 }
    }

    /// Right-aligns a column of numbers.
    #[must_use]
    pub fn numbers<const N: usize>(mut self, columns: [usize; N]) -> Self {
        for index in columns {
            if let Some(column) = self.inner.column_mut(index) {
                column.set_cell_alignment(CellAlignment::Right);
            }
        }
        self
    }

    /// Adds a row.
    pub fn row<const N: usize>(&mut self, cells: [String; N]) {
        self.inner.add_row(cells.map(|cell| Cell::new(single_line(&cell))));
        self.rows += 1;
    }

    /// Whether nothing is below the heads.
    pub fn is_empty(&self) -> bool {
        self.rows == 0
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = self.inner.to_string();
        let lines: Vec<&str> = text.lines().map(str::trim_end).collect();
        f.write_str(&lines.join("\n"))
    }
}

/// Control characters in strangers' names must not move the cursor.
fn single_line(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_line_up_and_hostile_names_stay_on_their_line() {
        let mut table = Table::new(["name", "bytes"], false).numbers([1]);
        table.row(["a".to_owned(), "5".to_owned()]);
        table.row(["long\nname\u{1b}[2J".to_owned(), "1234".to_owned()]);
        let text = table.to_string();
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines.len(), 3, "{text}");
        assert!(lines[1].ends_with("   5"), "{text:?}");
        assert!(!text.contains('\u{1b}'));
    }
}
