//! `docs/benchmarks.md`: each bench owns the lines between its two marks, and the rest is written
//! by hand.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};

/// Where the figures are written.
pub fn path() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/benchmarks.md")
}

/// Puts `content` between the marks of `bench`.
///
/// # Errors
/// If the file can't be read or written, or has no marks for this bench.
pub fn write(bench: &str, content: &str) -> Result<()> {
    let path = path();
    let text = fs::read_to_string(&path).with_context(|| path.display().to_string())?;
    let text = replaced(&text, bench, content)
        .with_context(|| format!("{} has no marks for {bench}", path.display()))?;
    fs::write(&path, text).with_context(|| path.display().to_string())
}

/// Writes a picture beside the figures.
///
/// # Errors
/// If it can't be written.
pub fn write_plot(name: &str, svg: &str) -> Result<()> {
    let path = path().with_file_name(name);
    fs::write(&path, svg).with_context(|| path.display().to_string())
}

fn replaced(text: &str, bench: &str, content: &str) -> Option<String> {
    let (begin, end) = (format!("<!-- {bench}: measured -->\n"), format!("<!-- {bench}: end -->"));
    let (before, rest) = text.split_once(&begin)?;
    let (_, after) = rest.split_once(&end)?;
    Some(format!("{before}{begin}\n{}\n\n{end}{after}", content.trim()))
}

/// A table as Markdown.
pub fn table(head: &[&str], rows: &[Vec<String>]) -> String {
    let line =
        |cells: &mut dyn Iterator<Item = &str>| format!("| {} |\n", cells.collect::<Vec<_>>().join(" | "));
    let mut text = line(&mut head.iter().copied());
    text += &line(&mut head.iter().map(|_| "---"));
    for row in rows {
        text += &line(&mut row.iter().map(String::as_str));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_lies_between_the_marks_is_replaced() {
        let text = "a\n<!-- x: measured -->\nold\n<!-- x: end -->\nb\n";
        let new = replaced(text, "x", "new\n").unwrap();
        assert_eq!(new, "a\n<!-- x: measured -->\n\nnew\n\n<!-- x: end -->\nb\n");
        assert_eq!(replaced(&new, "x", "new").unwrap(), new);
        assert_eq!(replaced(text, "y", "new"), None);
    }

    #[test]
    fn every_bench_has_its_marks() {
        let text = fs::read_to_string(path()).unwrap();
        for bench in crate::BENCHES {
            assert!(replaced(&text, bench.name, "").is_some(), "{}", bench.name);
        }
    }
}
