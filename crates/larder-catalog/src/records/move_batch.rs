//! Switching many records to another store in one transaction.
//!
//! A record by itself takes some ten statements: its key's turn is taken and given back, its copy's note is
//! looked at and taken up, and what it left is noted. Here each of these is one statement for all, and a
//! record for which not everything is as usual is left out: whoever asked switches it by itself.
//!
//! **No turns are taken, but none is passed by.** A record is left out if anybody holds the turn of its key,
//! in time or overdue, or left an intent there. That is looked at by the statement that switches it. Nobody
//! can take a turn between that look and the commit: on SQLite since there is one writer at a time, on
//! PostgreSQL since the rows of all the keys are locked before, and made where there are none. So the turn
//! counts as held from that look to the commit, and a writer that takes it afterwards sees the record as it
//! is then. A holder that is overdue could not be fenced off without taking its turn, hence the record is
//! left out.

use std::collections::{BTreeSet, HashSet};

use super::{asset::AssetRecord, meta::MetaKind, spare_copy::SpareCopy, variant::VariantRecord};
use crate::{
    db::{Columns, Statement},
    error::{Error, Result},
    tx::{Class, Tx},
};

/// A record whose bytes lie in another store as well, and is to name that one.
#[derive(Debug, Clone)]
pub struct BatchMove {
    /// The record as it was read.
    pub record: MovingRecord,
    /// What it leaves.
    pub left: SpareCopy,
    /// Where the copy lies.
    pub place: String,
    /// What the store says of the copy.
    pub fingerprint: String,
}

/// The records that are switched together.
#[derive(Debug, Clone)]
pub enum MovingRecord {
    /// An asset that is not deleted.
    Asset(Box<AssetRecord>),
    /// A variant.
    Variant(Box<VariantRecord>),
}

impl BatchMove {
    fn id(&self) -> String {
        match &self.record {
            MovingRecord::Asset(asset) => asset.id.to_string(),
            MovingRecord::Variant(variant) => variant.id.to_string(),
        }
    }

    fn asset(&self) -> Option<&AssetRecord> {
        match &self.record {
            MovingRecord::Asset(asset) => Some(asset),
            MovingRecord::Variant(_) => None,
        }
    }

    /// What is compared, and what is set.
    fn columns(&self) -> Columns {
        let mut columns = vec![
            ("id", self.id().into()),
            ("from_store", (&self.left.store).into()),
            ("from_place", (&self.left.place).into()),
            ("from_fingerprint", (&self.left.fingerprint).into()),
            ("sha256", (&self.left.sha256).into()),
            ("place", (&self.place).into()),
            ("fingerprint", (&self.fingerprint).into()),
        ];
        columns.extend(self.asset().map(|asset| ("version", asset.version.into())));
        columns
    }
}

impl Tx {
    /// Records that the bytes of many records lie in the store `to` now, as
    /// [`move_asset`](Self::move_asset) and [`move_variant`](Self::move_variant) do, takes up the notes of
    /// their copies and notes what they left. Answers for each, in their order, whether it was switched.
    ///
    /// Left out is a record that is not the one that was read, or whose copy is not noted any more, or whose
    /// key is somebody's at the moment.
    ///
    /// # Errors
    /// [`Error::Precondition`] if they are in each other's way: each by itself might be switched.
    pub async fn move_batch(&mut self, to: &str, moves: &[BatchMove]) -> Result<Vec<bool>> {
        self.lock_turns(moves).await?;
        let (assets, variants): (Vec<_>, Vec<_>) = moves.iter().partition(|one| one.asset().is_some());
        let mut ids: HashSet<String> = HashSet::new();
        for (of, statement) in [(assets, switch_assets as Switching), (variants, switch_variants)] {
            if !of.is_empty() {
                let rows: Vec<Columns> = of.iter().map(|one| one.columns()).collect();
                let switched = self.rows(Class::Durable, statement(to, &rows, self.is_postgres())).await?;
                ids.extend(switched);
            }
        }
        let moved: Vec<bool> = moves.iter().map(|one| ids.contains(&one.id())).collect();
        let switched: Vec<&BatchMove> =
            moves.iter().zip(&moved).filter(|(_, moved)| **moved).map(|(one, _)| one).collect();
        if switched.is_empty() {
            return Ok(moved);
        }
        self.take_up_copies(to, &switched).await?;
        self.note_all_left(switched.iter().map(|one| &one.left)).await?;
        self.mark_all_meta(switched.iter().map(|one| match &one.record {
            MovingRecord::Asset(_) => (MetaKind::Asset, one.id()),
            MovingRecord::Variant(_) => (MetaKind::Variant, one.id()),
        }))
        .await?;
        for asset in switched.iter().filter_map(|one| one.asset()) {
            self.counts().take(asset);
            self.counts().add(&AssetRecord { store: to.to_owned(), ..asset.clone() });
        }
        Ok(moved)
    }

    /// Sees to it that nobody takes the turn of a key of these assets before this transaction ends. In the
    /// order of the keys, so that no two transactions wait for each other in a circle.
    async fn lock_turns(&mut self, moves: &[BatchMove]) -> Result<()> {
        if !self.is_postgres() {
            return Ok(());
        }
        let keys: BTreeSet<(&str, &str)> = moves
            .iter()
            .filter_map(BatchMove::asset)
            .map(|asset| (asset.bucket.as_str(), asset.key.as_str()))
            .collect();
        let now = self.now();
        let rows: Vec<Columns> = keys
            .into_iter()
            .map(|(bucket, key)| {
                vec![
                    ("bucket", bucket.into()),
                    ("key", key.into()),
                    ("fence", now.into()),
                    ("expires_at", now.into()),
                ]
            })
            .collect();
        match Statement::insert_rows("place_writes", &rows, true) {
            // What changes nothing locks all the same.
            Some(lock) => {
                let lock = lock.push(" ON CONFLICT (bucket, key) DO UPDATE SET fence = place_writes.fence");
                self.execute(Class::Durable, lock).await.map(drop)
            }
            None => Ok(()),
        }
    }

    /// As [`take_up_copy`](Self::take_up_copy) for the copies of all that were switched.
    async fn take_up_copies(&mut self, to: &str, switched: &[&BatchMove]) -> Result<()> {
        let copies: Vec<Columns> = switched
            .iter()
            .map(|one| vec![("place", (&one.place).into()), ("sha256", (&one.left.sha256).into())])
            .collect();
        let delete = take_up(to, &copies, self.is_postgres());
        match self.execute(Class::Durable, delete).await? == switched.len() as u64 {
            true => Ok(()),
            false => Err(Error::precondition("a copy was removed, or is that of several records".to_owned())),
        }
    }
}

fn take_up(to: &str, copies: &[Columns], is_postgres: bool) -> Statement {
    Statement::new("DELETE FROM spare_copies WHERE state <> 'void'")
        .and("store = ", to)
        // By the places alone, too, since those are what the table's key finds.
        .push(" AND place IN (SELECT listed.value ->> 'place' FROM ")
        .listed(copies, is_postgres)
        .push(") AND (place, sha256) IN (SELECT listed.value ->> 'place', listed.value ->> 'sha256' FROM ")
        .listed(copies, is_postgres)
        .push(")")
}

type Switching = fn(&str, &[Columns], bool) -> Statement;

fn switch_assets(to: &str, rows: &[Columns], is_postgres: bool) -> Statement {
    switch("assets", to, rows, is_postgres).push(
        " AND assets.deleted_at IS NULL AND assets.sha256 = listed.value ->> 'sha256' \
         AND assets.version = CAST(listed.value ->> 'version' AS BIGINT) \
         AND NOT EXISTS (SELECT 1 FROM place_writes WHERE place_writes.bucket = assets.bucket \
         AND place_writes.key = assets.key \
         AND (place_writes.holder IS NOT NULL OR place_writes.intent IS NOT NULL)) RETURNING id AS value",
    )
}

fn switch_variants(to: &str, rows: &[Columns], is_postgres: bool) -> Statement {
    switch("variants", to, rows, is_postgres).push(" RETURNING id AS value")
}

/// The change of the records of a table, up to the conditions that all of them have in common.
fn switch(table: &str, to: &str, rows: &[Columns], is_postgres: bool) -> Statement {
    let set = "SET place = listed.value ->> 'place', fingerprint = listed.value ->> 'fingerprint', store = ";
    Statement::new("UPDATE ")
        .push(table)
        .push(" ")
        .push(set)
        .bind(to)
        .push(" FROM ")
        .listed(rows, is_postgres)
        .push(&format!(
            " WHERE {table}.id = listed.value ->> 'id' AND {table}.store = listed.value ->> 'from_store' \
             AND {table}.place = listed.value ->> 'from_place' \
             AND {table}.fingerprint = listed.value ->> 'from_fingerprint' \
             AND EXISTS (SELECT 1 FROM spare_copies WHERE spare_copies.place = listed.value ->> 'place' \
             AND spare_copies.state <> 'void' AND spare_copies.sha256 = listed.value ->> 'sha256'"
        ))
        .and("spare_copies.store = ", to)
        .push(")")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plans::{plan, sqlite};

    #[tokio::test]
    async fn records_and_notes_are_found_by_their_keys() {
        let (_directory, catalog) = sqlite().await;
        let by_place = "spare_copies_1 (store=? AND place=?)";
        for (statement, keys) in [
            (
                switch_assets("s3", &[], false),
                ["assets_1 (id=?)", "place_writes_1 (bucket=? AND key=?)", by_place],
            ),
            (switch_variants("s3", &[], false), ["variants_1 (id=?)", by_place, by_place]),
            (take_up("s3", &[], false), [by_place; 3]),
        ] {
            let plan = plan(&catalog, statement).await;
            assert!(keys.iter().all(|key| plan.contains(&format!("INDEX sqlite_autoindex_{key}"))), "{plan}");
            let scans = plan.matches("SCAN").count();
            assert_eq!(scans, plan.matches("SCAN listed").count(), "{plan}");
        }
    }
}
