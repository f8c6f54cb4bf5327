//! Notes of many copies at a time.

use std::collections::{BTreeMap, HashSet};

use super::spare_copy::{CopyState, REPLACE, SpareCopy};
use crate::{
    db::{Columns, Statement},
    error::Result,
    tx::{Class, Tx},
};

impl Tx {
    /// As [`note_coming`](Self::note_coming) for many copies in one store, by one statement. Answers for
    /// each, in their order, whether it is noted like that now.
    pub async fn note_all_coming(&mut self, copies: &[SpareCopy]) -> Result<Vec<bool>> {
        // Those that share bytes share a note, too: that of the last of them, as if they came one by one.
        let mut notes: BTreeMap<&str, &SpareCopy> = BTreeMap::new();
        for copy in copies {
            let note = notes.entry(&copy.place).or_insert(copy);
            if note.sha256 == copy.sha256 {
                *note = copy;
            }
        }
        let now = self.now();
        let rows: Vec<Columns> = notes.values().map(|copy| copy.columns(CopyState::Coming, now)).collect();
        let Some(insert) = Statement::insert_rows("spare_copies", &rows, self.is_postgres()) else {
            return Ok(Vec::new());
        };
        let insert = insert.push(REPLACE).push(
            " WHERE spare_copies.state <> 'left' AND spare_copies.sha256 = excluded.sha256 \
             RETURNING place AS value",
        );
        let noted: HashSet<String> = self.rows(Class::Durable, insert).await?.into_iter().collect();
        let is_noted = |copy: &SpareCopy| {
            noted.contains(&copy.place)
                && notes.get(copy.place.as_str()).is_some_and(|note| note.sha256 == copy.sha256)
        };
        Ok(copies.iter().map(is_noted).collect())
    }

    /// As [`note_spare`](Self::note_spare) for what many records leave, by one statement. No two leave the
    /// same place.
    pub(super) async fn note_all_left<'a>(
        &mut self,
        left: impl IntoIterator<Item = &'a SpareCopy>,
    ) -> Result<()> {
        let now = self.now();
        let in_order: BTreeMap<(&str, &str), &SpareCopy> =
            left.into_iter().map(|copy| ((copy.store.as_str(), copy.place.as_str()), copy)).collect();
        let rows: Vec<Columns> =
            in_order.into_values().map(|copy| copy.columns(CopyState::Left, now)).collect();
        match Statement::insert_rows("spare_copies", &rows, self.is_postgres()) {
            Some(insert) => {
                let insert = insert.push(REPLACE).push(", fingerprint = excluded.fingerprint");
                self.execute(Class::Durable, insert).await.map(drop)
            }
            None => Ok(()),
        }
    }
}
