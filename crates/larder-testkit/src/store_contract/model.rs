//! A store is a map: random operations on both agree.

use std::collections::BTreeMap;

use larder_core::{Ambient, ManualClock, Timestamp};
use larder_store::{
    Capabilities, Condition, CopyOptions, Error, Fingerprint, ListOptions, Place, PutOptions, RenameOptions,
    Result, Store, StoreExt,
};

use super::{Fixture, place};

/// Few, so that operations meet; some are in each other's way on a disk.
const PLACES: [&str; 12] = [
    "a",
    "a/b",
    "a/b/c",
    "a/d",
    "a.b",
    "ab",
    "b/c",
    "b/c/d",
    "b-c",
    ".larder/staging/a",
    ".larder/trash/a",
    "é/x",
];

/// Operations of one run, and runs.
const STEPS: usize = 250;
const SEEDS: u64 = 6;

/// The steps so far are printed with what disagrees; `SEEDS` runs, each with the same steps every
/// time.
pub async fn random_operations_agree_with_a_map(fixture: Fixture) {
    for seed in 0..SEEDS {
        let mut model = Model { places: BTreeMap::new(), capabilities: fixture.store.capabilities() };
        let mut dice =
            Dice(Ambient::repeatable(ManualClock::at(Timestamp::from_millis(0)), seed * 1_000_000));
        let mut steps = Vec::new();
        for _ in 0..STEPS {
            let step = Step::draw(&mut dice, &model);
            steps.push(format!("{step:?}"));
            let (real, expected) = (step.on_store(&fixture, &model).await, step.on_model(&model));
            assert_eq!(real, expected, "seed {seed}:\n{}", steps.join("\n"));
            step.apply(&mut model, &real);
        }
        for place in model.places.keys() {
            assert!(fixture.store.remove(place).await.unwrap());
        }
        fixture.holds_only(&[]).await;
    }
}

struct Dice(Ambient);

impl Dice {
    fn below(&mut self, limit: usize) -> usize {
        u32::from_le_bytes(self.0.random_bytes()) as usize % limit
    }

    fn place(&mut self) -> Place {
        place(PLACES[self.below(PLACES.len())])
    }
}

struct Model {
    places: BTreeMap<Place, String>,
    capabilities: Capabilities,
}

impl Model {
    /// What a change at `to` meets, in the order in which a store looks.
    fn refusal(&self, to: &Place, when: &When) -> Option<&'static str> {
        let in_the_way = |other: &Place| to.lies_below(other.as_str()) || other.lies_below(to.as_str());
        let is_blocked = self.capabilities.folders_block && self.places.keys().any(in_the_way);
        let holds = match when {
            When::Always => true,
            When::Absent => !self.places.contains_key(to),
            When::Matching => self.places.contains_key(to),
            When::Stale => false,
        };
        match (is_blocked, holds) {
            // Which of the two is said first is the store's affair.
            (true, _) if !holds => Some("refused"),
            (true, _) => Some("blocked"),
            (false, false) => Some("precondition"),
            (false, true) => None,
        }
    }

    fn listing(&self, prefix: &str, delimiter: bool) -> Vec<String> {
        let mut listed: Vec<String> = Vec::new();
        for place in self.places.keys().map(Place::as_str) {
            let hidden = place.starts_with(".larder/") && !prefix.starts_with(".larder");
            let Some(rest) = place.strip_prefix(prefix).filter(|_| !hidden) else { continue };
            let shown = match rest.find('/').filter(|_| delimiter) {
                Some(slash) => &place[..=prefix.len() + slash],
                None => place,
            };
            if listed.last().is_none_or(|last| last != shown) {
                listed.push(shown.to_owned());
            }
        }
        listed
    }
}

#[derive(Debug, Clone, Copy)]
enum When {
    Always,
    Absent,
    Matching,
    Stale,
}

impl When {
    fn draw(dice: &mut Dice, capabilities: Capabilities) -> Self {
        match dice.below(8) {
            0 if capabilities.create_if_absent => Self::Absent,
            1 if capabilities.replace_if_match => Self::Matching,
            2 if capabilities.replace_if_match => Self::Stale,
            _ => Self::Always,
        }
    }

    async fn condition(self, store: &dyn Store, to: &Place) -> Condition {
        match self {
            Self::Always => Condition::None,
            Self::Absent => Condition::IfAbsent,
            Self::Matching => match store.find(to).await.unwrap() {
                Some(stat) => Condition::IfMatch(stat.fingerprint),
                None => Condition::IfMatch(Fingerprint::new("absent")),
            },
            Self::Stale => Condition::IfMatch(Fingerprint::new("stale")),
        }
    }
}

#[derive(Debug)]
enum Step {
    Put(Place, String, When),
    Read(Place),
    Remove(Place),
    Copy(Place, Place, When),
    Rename(Place, Place, When),
    List(&'static str, bool, usize),
}

impl Step {
    fn draw(dice: &mut Dice, model: &Model) -> Self {
        let when = When::draw(dice, model.capabilities);
        match dice.below(10) {
            0..=3 => {
                let bytes = "x".repeat(dice.below(5)) + &dice.below(1_000).to_string();
                Self::Put(dice.place(), bytes, when)
            }
            4 => Self::Read(dice.place()),
            5 | 6 => Self::Remove(dice.place()),
            7 => Self::Copy(dice.place(), dice.place(), when),
            8 => Self::Rename(dice.place(), dice.place(), when),
            _ => {
                let prefixes = ["", "a", "a/", "a/b", "b/c", ".larder/", ".larder/t"];
                Self::List(prefixes[dice.below(prefixes.len())], dice.below(2) == 0, 1 + dice.below(4))
            }
        }
    }

    /// What the store answers, as text.
    async fn on_store(&self, fixture: &Fixture, model: &Model) -> String {
        let store = fixture.store.as_ref();
        match self {
            Self::Put(to, bytes, when) => {
                let options =
                    PutOptions { condition: when.condition(store, to).await, ..PutOptions::default() };
                self.answer(
                    model,
                    store.put_bytes(to, bytes.clone(), options).await.map(|_| "done".to_owned()),
                )
            }
            Self::Read(from) => {
                let read = store.read_all(from, 1_000).await;
                self.answer(model, read.map(|bytes| String::from_utf8_lossy(&bytes).into_owned()))
            }
            Self::Remove(from) => {
                self.answer(model, store.remove(from).await.map(|existed| existed.to_string()))
            }
            Self::Copy(from, to, when) => {
                let options =
                    CopyOptions { condition: when.condition(store, to).await, ..CopyOptions::default() };
                self.answer(model, store.copy(from, to, options).await.map(|_| "done".to_owned()))
            }
            Self::Rename(from, to, when) => {
                let options =
                    RenameOptions { condition: when.condition(store, to).await, ..RenameOptions::default() };
                self.answer(model, store.rename(from, to, options).await.map(|_| "done".to_owned()))
            }
            Self::List(prefix, delimiter, limit) => {
                let mut options =
                    ListOptions { delimiter: *delimiter, limit: *limit, ..ListOptions::under(*prefix) };
                let mut listed = Vec::new();
                loop {
                    let page = store.list(options.clone()).await.unwrap();
                    listed.extend(page.entries.into_iter().map(|entry| entry.place.to_string()));
                    listed.extend(page.prefixes);
                    match page.next {
                        Some(next) => options.after = Some(next),
                        None => break,
                    }
                }
                listed.sort_unstable();
                listed.join(" ")
            }
        }
    }

    fn answer(&self, model: &Model, result: Result<String>) -> String {
        match result {
            Ok(text) => text,
            Err(Error::NotFound { .. }) => "not found".to_owned(),
            Err(Error::Precondition { .. } | Error::Blocked { .. }) if self.expects_either(model) => {
                "refused".to_owned()
            }
            Err(error) => error.kind().to_owned(),
        }
    }

    fn expects_either(&self, model: &Model) -> bool {
        self.on_model(model) == "refused"
    }

    /// What a map would answer.
    fn on_model(&self, model: &Model) -> String {
        let text = match self {
            Self::Put(to, _, when) => model.refusal(to, when).unwrap_or("done"),
            Self::Read(from) => model.places.get(from).map_or("not found", String::as_str),
            Self::Remove(from) => return model.places.contains_key(from).to_string(),
            Self::Copy(from, ..) | Self::Rename(from, ..) if !model.places.contains_key(from) => "not found",
            Self::Copy(_, to, when) | Self::Rename(_, to, when) => model.refusal(to, when).unwrap_or("done"),
            Self::List(prefix, delimiter, _) => return model.listing(prefix, *delimiter).join(" "),
        };
        text.to_owned()
    }

    fn apply(&self, model: &mut Model, answer: &str) {
        if !matches!(answer, "done" | "true") {
            return;
        }
        match self {
            Self::Put(to, bytes, _) => {
                model.places.insert(to.clone(), bytes.clone());
            }
            Self::Remove(from) => {
                model.places.remove(from);
            }
            Self::Copy(from, to, _) => {
                let copied = model.places[from].clone();
                model.places.insert(to.clone(), copied);
            }
            Self::Rename(from, to, _) => {
                if let Some(moved) = model.places.remove(from) {
                    model.places.insert(to.clone(), moved);
                }
            }
            Self::Read(_) | Self::List(..) => {}
        }
    }
}
