//! Verifying: every object is read, and the newest version restored and looked through.

use std::{collections::BTreeMap, path::Path, sync::Arc};

use serde::Serialize;

use crate::{
    apply::{self, blocking},
    error::{Error, Result},
    format::{Change, Frame, FramePages, PageMap, Source},
    hash::{Digest, ShortHash, page_hash},
    history::Along,
    pages::Database,
    progress::{Event, Watch},
    remote::{Listed, Object, Remote},
    replicate::chain,
};

/// The largest entry or pack that is read.
const OBJECT_BYTES_MAX: u64 = 8 << 30;

/// What was found.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct VerifyReport {
    /// The newest version; zero if there is none that can be read.
    pub seq: u64,
    /// Pages of it.
    pub pages: u64,
    /// Objects that were read.
    pub objects: u64,
    /// Bytes of them.
    pub bytes: u64,
    /// What is wrong, one object each.
    pub problems: Vec<String>,
}

/// Reads every object of a database and checks all digests; restores the newest version into a scratch file in
/// `scratch` and lets SQLite look through it (`PRAGMA integrity_check`).
///
/// # Errors
/// [`Error::Absent`] if there is none, [`Error::Store`], [`Error::Io`]. What is damaged is in the report.
pub async fn verify(remote: &Remote, scratch: &Path, watch: &Watch) -> Result<VerifyReport> {
    let mut checker = Checker { remote, watch, report: VerifyReport::default() };
    let log = remote.list("log/", None).await?;
    if log.is_empty() {
        return Err(Error::Absent { detail: format!("there is no database at {}", remote.label()) });
    }
    let maps = remote.list("map/", None).await?;
    let (packs, keeps) = (remote.list("pack/", None).await?, remote.list("keep/", None).await?);
    let objects = (log.len() + maps.len() + packs.len() + keeps.len()) as u64;
    watch(&Event::Checking { objects });
    for listed in &packs {
        checker.pack(listed).await?;
    }
    let maps = checker.maps(&maps).await?;
    checker.log(&log, &maps).await?;
    for map in maps.values() {
        checker.frames_of(map).await?;
    }
    for listed in &keeps {
        checker.keep(listed).await?;
    }
    checker.newest(scratch).await?;
    Ok(checker.report)
}

/// Pages that a map has in one frame.
type InFrame = (Source, Frame, Vec<(u32, ShortHash)>);

struct Checker<'a> {
    remote: &'a Remote,
    watch: &'a Watch,
    report: VerifyReport,
}

impl Checker<'_> {
    fn checked(&mut self, bytes: u64) {
        self.report.objects += 1;
        self.report.bytes += bytes;
        (self.watch)(&Event::Checked { objects: 1 });
    }

    /// Notes damage; other errors end the work.
    fn note(&mut self, error: Error) -> Result<()> {
        match error {
            Error::Store(larder_store::Error::NotFound { place }) => {
                self.problem(format!("{place} is missing"));
            }
            Error::Corrupt { .. }
            | Error::NotADatabase { .. }
            | Error::Version { .. }
            | Error::Absent { .. } => {
                self.problem(chain(&error));
            }
            error => return Err(error),
        }
        Ok(())
    }

    fn problem(&mut self, problem: String) {
        if !self.report.problems.contains(&problem) {
            self.report.problems.push(problem);
        }
    }

    async fn pack(&mut self, listed: &Listed) -> Result<()> {
        let name = format!("pack/{}", listed.name);
        let Some(digest) = Digest::parse(&listed.name) else {
            self.problem(format!("{name} has no name of a pack"));
            return Ok(());
        };
        let bytes =
            self.remote.range(&Object::Pack(digest), 0..listed.size_bytes.min(OBJECT_BYTES_MAX)).await;
        match bytes {
            Ok(bytes) if Digest::of(&bytes) == digest => {}
            Ok(_) => {
                self.problem(format!(
                    "{} is damaged: its name is not its digest",
                    self.remote.name(&Object::Pack(digest))
                ));
            }
            Err(error) => self.note(error)?,
        }
        self.checked(listed.size_bytes);
        Ok(())
    }

    async fn maps(&mut self, listed: &[Listed]) -> Result<BTreeMap<u64, PageMap>> {
        let mut maps = BTreeMap::new();
        for (seq, one) in listed.iter().filter_map(|one| Some((one.seq()?, one))) {
            match self.remote.map(seq).await {
                Ok(map) => maps.extend(map.map(|map| (seq, map))),
                Err(error) => self.note(error)?,
            }
            self.checked(one.size_bytes);
        }
        Ok(maps)
    }

    /// The log: every entry, the chain of their digests, the maps against it, and the frames in it.
    async fn log(&mut self, listed: &[Listed], maps: &BTreeMap<u64, PageMap>) -> Result<()> {
        let mut version: Option<PageMap> = None;
        for (seq, one) in listed.iter().filter_map(|one| Some((one.seq()?, one))) {
            let fetched = match self.remote.entry(seq).await {
                Ok(Some(fetched)) => fetched,
                Ok(None) => continue,
                Err(error) => {
                    self.note(error)?;
                    version = None;
                    continue;
                }
            };
            if let Some(change) = &fetched.head.entry.change
                && let Err(error) = self.frames_in(seq, fetched.head.bytes, change).await
            {
                self.note(error)?;
            }
            // What was collected leaves gaps, which a map bridges.
            version = version.filter(|version| version.seq + 1 == seq);
            if version.is_none() && seq == 1 {
                version = Some(PageMap::empty(fetched.head.entry.database));
            }
            let stepped = version.as_mut().map(|version| self.remote.step(version, &fetched));
            match stepped {
                Some(Err(error)) => {
                    self.note(error)?;
                    version = None;
                }
                Some(Ok(())) if !version.as_ref().is_some_and(PageMap::is_whole) => {
                    let name = self.remote.name(&Object::Log(seq));
                    self.problem(format!("{name} is damaged: the root is not that of the pages"));
                }
                _ => {}
            }
            if let Some(map) = maps.get(&seq) {
                if version
                    .as_ref()
                    .is_some_and(|version| (version.root, version.entry) != (map.root, map.entry))
                {
                    let name = self.remote.name(&Object::Map(seq));
                    self.problem(format!("{name} is damaged: it is not the version of its entry"));
                }
                version = Some(map.clone());
            }
            self.checked(one.size_bytes);
        }
        Ok(())
    }

    /// The frames that lie in an entry itself.
    async fn frames_in(&mut self, seq: u64, head_bytes: u64, change: &Change) -> Result<()> {
        let mut pages = change.pages.iter();
        for frame in &change.frames {
            let wanted: Vec<_> = pages.by_ref().take(frame.pages as usize).copied().collect();
            if frame.source == 0 {
                let object = Object::Log(seq);
                self.frame(&object, head_bytes, frame, change.page_size, &wanted).await?;
            }
        }
        Ok(())
    }

    async fn frame(
        &self,
        object: &Object,
        base: u64,
        frame: &Frame,
        page_size: u32,
        wanted: &[(u32, ShortHash)],
    ) -> Result<()> {
        let bytes = self.remote.range(object, base + frame.offset..base + frame.end()).await?;
        let pages =
            FramePages::read(frame, page_size, &bytes).map_err(|why| self.remote.refuse(object, why))?;
        let found: BTreeMap<u32, _> =
            pages.iter().map(|(number, page)| (number, page_hash(number, page))).collect();
        match wanted.iter().all(|(number, hash)| found.get(number) == Some(hash)) {
            true => Ok(()),
            false => {
                Err(Error::corrupt(self.remote.name(object), "a page is not the one that was committed"))
            }
        }
    }

    /// Whether everything that a map names is there. Digests of packs, and frames of entries, were checked.
    async fn frames_of(&mut self, map: &PageMap) -> Result<()> {
        for (source, _) in map.sources() {
            let object = Remote::object_of(&source);
            if let Err(error) = self.remote.range(&object, 0..1).await {
                self.note(error)?;
            }
        }
        let mut seen: Option<InFrame> = None;
        for page in 1..=map.page_count() {
            let Some((_, frame, source)) = map.frame_of(page) else { continue };
            let hash = map.hashes[page as usize - 1];
            match &mut seen {
                Some((at, known, pages)) if (*at, *known) == (source, frame) => pages.push((page, hash)),
                _ => {
                    if let Some(whole) = seen.replace((source, frame, vec![(page, hash)])) {
                        self.mapped(map, whole).await?;
                    }
                }
            }
        }
        match seen {
            Some(whole) => self.mapped(map, whole).await,
            None => Ok(()),
        }
    }

    async fn mapped(&mut self, map: &PageMap, (source, frame, pages): InFrame) -> Result<()> {
        let base = source.base();
        let checked = self.frame(&Remote::object_of(&source), base, &frame, map.page_size, &pages).await;
        checked.or_else(|error| self.note(error))
    }

    async fn keep(&mut self, listed: &Listed) -> Result<()> {
        let wanted = crate::pull::Wanted::Name(listed.name.clone());
        if let Err(error) = crate::pull::find(self.remote, &wanted, None, &mut Along::default()).await {
            match error {
                Error::Absent { detail } => self.problem(format!("keep/{}: {detail}", listed.name)),
                error => self.note(error)?,
            }
        }
        self.checked(listed.size_bytes);
        Ok(())
    }

    /// Restores the newest version and looks through it.
    async fn newest(&mut self, scratch: &Path) -> Result<()> {
        let mut along = Along::default();
        let map = match self.remote.newest(None, &mut along).await {
            Ok(Some(map)) if map.page_size > 0 => Arc::new(map),
            Ok(_) => return Ok(()),
            Err(error) => return self.note(error),
        };
        (self.report.seq, self.report.pages) = (map.seq, u64::from(map.page_count()));
        let folder = tempfile::tempdir_in(scratch).map_err(|error| Error::io(scratch, "written", error))?;
        let path = folder.path().join("restored.db");
        let restored = async {
            apply::create(self.remote, &map, &along, &path, self.watch).await?;
            let path = path.clone();
            blocking(move || Database::open(&path)?.check(true)).await
        };
        if let Err(error) = restored.await {
            self.note(error)?;
        }
        Ok(())
    }
}
