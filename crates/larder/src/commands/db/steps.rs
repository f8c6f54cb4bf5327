//! Steps told as they happen: lines and a bar for people, events for programs.

use std::sync::{Arc, Mutex, PoisonError};

use larder_core::text::display_bytes;
use larder_dbsync::{Event, Watch};

use crate::output::{Output, Progress};

/// Where events go for programs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    /// Standard output, before the answer.
    Out,
    /// Standard error: standard output is that of a program that is run.
    Err,
    /// Nowhere: only people are told.
    Nowhere,
}

/// Tells of steps.
pub fn watch(output: Output, side: Side) -> Watch {
    let bar: Mutex<Option<Progress>> = Mutex::new(None);
    Arc::new(move |event| {
        match side {
            // A reader that has gone is told at the answer.
            Side::Out => drop(output.json(event)),
            Side::Err => output.json_note(event),
            Side::Nowhere => {}
        }
        let mut bar = bar.lock().unwrap_or_else(PoisonError::into_inner);
        match event {
            Event::Fetched { pages } => {
                if let Some(bar) = &*bar {
                    bar.advance(*pages);
                }
                return;
            }
            Event::Checked { objects } => {
                if let Some(bar) = &*bar {
                    bar.advance(*objects);
                }
                return;
            }
            _ => {}
        }
        if let Some(bar) = bar.take() {
            bar.finish();
        }
        match event {
            Event::Pulling { pages, .. } => *bar = Some(output.progress(*pages, "pages")),
            Event::Checking { objects } => *bar = Some(output.progress(*objects, "objects")),
            _ => {}
        }
        if let Some(line) = line_of(event) {
            output.note(line);
        }
    })
}

fn line_of(event: &Event) -> Option<String> {
    Some(match event {
        Event::Waiting { owner } => {
            format!("{owner} is writing the database: waiting until it lets go, or has been silent for 30 s")
        }
        Event::Claimed { seq } => format!("took the database (entry {seq})"),
        Event::Pulling { seq, pages, of, page_bytes } => {
            format!("pulling version {seq}: {pages} of {of} pages, {}", display_bytes(pages * page_bytes))
        }
        Event::Pulled { seq } => format!("pulled version {seq}"),
        Event::Fetching { place, bytes } => {
            format!("fetching the plain file {place}, {}", display_bytes(*bytes))
        }
        Event::Pushed { seq, pages, of, sent_bytes } => {
            format!("pushed version {seq}: {pages} of {of} pages, {}", display_bytes(*sent_bytes))
        }
        Event::Unchanged { seq } => format!("nothing changed: version {seq}"),
        Event::Retrying { error, attempts } => format!("attempt {attempts} failed, trying again: {error}"),
        Event::Collected { objects: 0, .. } => return None,
        Event::Collected { objects, bytes } => {
            format!("removed {objects} objects of versions that are not kept, {}", display_bytes(*bytes))
        }
        Event::Released => "let the database go".to_owned(),
        _ => return None,
    })
}
