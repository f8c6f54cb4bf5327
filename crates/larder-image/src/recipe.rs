//! Recipes: what to make of a picture, as one canonical text.

use std::fmt;
use std::hash::{Hash, Hasher};
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::formats::{Encode, FORMATS, Format};
use crate::picture::Picture;
use crate::plan::Plan;
use crate::steps::{self, Effect, STEPS, Step, Work};
use crate::{Error, Orientation};

/// Longest text of a recipe, in bytes. Every step once with its longest argument takes half of it.
const TEXT_BYTES_MAX: usize = 512;

/// Longest side of any picture; the default of the limit for it.
const SIDE_MAX_PX: u32 = 65_535;

/// What an output is encoded as.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum OutputFormat {
    /// A format of the table that can be encoded.
    In(Format),
    /// As the input where that can be encoded at the output's size, else PNG; an animation that is kept, in the format
    /// that can hold it.
    Source,
}

/// The quality of an output whose format follows its source: what JPEG and WebP have.
const SOURCE_QUALITY: u8 = 85;

impl OutputFormat {
    /// Every output format there is.
    pub fn all() -> impl Iterator<Item = Self> {
        let encoded = FORMATS.iter().map(|kind| kind.format).filter(|format| format.can_encode());
        encoded.map(Self::In).chain([Self::Source])
    }

    /// The name in recipes.
    pub fn name(self) -> &'static str {
        match self {
            Self::In(format) => format.name(),
            Self::Source => "source",
        }
    }

    /// The extension of a URL for this output: `auto` if what the source comes to decides.
    pub fn url_extension(self) -> &'static str {
        match self {
            Self::In(format) => format.extension(),
            Self::Source => "auto",
        }
    }

    /// The format of this name.
    pub fn named(name: &str) -> Option<Self> {
        Self::all().find(|format| format.name() == name)
    }

    /// The names of all, for help texts.
    pub(crate) fn names() -> String {
        Self::all().map(Self::name).collect::<Vec<_>>().join(", ")
    }

    /// The format that a source of format `source` is encoded as at this size.
    fn resolve(self, source: Format, animated: bool, size: Option<(u32, u32)>) -> Format {
        match self {
            Self::In(format) => format,
            Self::Source => match Format::animated().filter(|_| animated) {
                Some(moves) => moves,
                None if source.can_encode() && size.is_none_or(|size| source.admits(size)) => source,
                None => Format::Png,
            },
        }
    }

    fn encode(self) -> Option<&'static Encode> {
        match self {
            Self::In(format) => format.kind().encode.as_ref(),
            Self::Source => None,
        }
    }

    /// What is used where a recipe does not say; each format's own, at which they look alike.
    fn default_quality(self) -> Quality {
        match self.encode() {
            Some(encode) => encode.quality.map_or(Quality::Lossless, Quality::Lossy),
            None => Quality::Lossy(SOURCE_QUALITY),
        }
    }

    /// Whether `quality:lossless` is possible.
    fn has_lossless(self) -> bool {
        self.encode().is_some_and(|encode| encode.lossless)
    }

    /// Whether an animation can stay one.
    fn animates(self) -> bool {
        self.encode().is_none_or(|encode| encode.animate.is_some())
    }

    /// Whether a colour profile can be kept.
    fn keeps_profile(self) -> bool {
        self.encode().is_none_or(|encode| encode.profile)
    }
}

impl fmt::Display for OutputFormat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// What a recipe makes that does not say: the smallest that every browser of today shows.
const DEFAULT_FORMAT: OutputFormat = OutputFormat::In(Format::Webp);

/// How closely an encoder follows the pixels.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Quality {
    /// 1 (smallest) to 100 (closest).
    Lossy(u8),
    /// Every pixel as it is.
    Lossless,
}

impl fmt::Display for Quality {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Lossy(value) => value.fmt(f),
            Self::Lossless => f.write_str("lossless"),
        }
    }
}

/// How a recipe is carried out, apart from the picture it is carried out on.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Settings {
    pub all_frames: bool,
    pub keep_profile: bool,
    pub format: OutputFormat,
    pub quality: Option<Quality>,
    pub effort: Effort,
}

/// How hard an encoder tries for few bytes, where it can choose.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub enum Effort {
    /// As far as it is worth its time.
    #[default]
    Normal,
    /// Much less time, for somewhat more bytes.
    Fast,
}

/// What to make of a picture: steps, each at most once.
///
/// The text form is `name:argument` joined by commas, in any order; it prints in the order of
/// [`STEPS`], with format and quality always there, and equal recipes print equally.
///
/// ```
/// # use larder_image::Recipe;
/// let recipe: Recipe = "quality:80,resize:inside:300x300".parse()?;
/// assert_eq!(recipe.to_string(), "resize:inside:300x300,format:webp,quality:80");
/// # Ok::<(), larder_image::Error>(())
/// ```
#[derive(Clone)]
pub struct Recipe {
    text: Arc<str>,
    steps: Arc<[Box<dyn Step>]>,
    all_frames: bool,
    keep_profile: bool,
    format: OutputFormat,
    quality: Quality,
    effort: Effort,
}

impl Recipe {
    /// The canonical text.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// What the output is encoded as.
    pub fn format(&self) -> OutputFormat {
        self.format
    }

    /// How closely the encoder follows the pixels.
    pub fn quality(&self) -> Quality {
        self.quality
    }

    /// How hard the encoder tries.
    pub fn effort(&self) -> Effort {
        self.effort
    }

    /// Whether an animation stays one.
    pub fn keeps_animation(&self) -> bool {
        self.all_frames && self.format.animates()
    }

    /// Whether the colours and their profile stay as they are.
    pub fn keeps_profile(&self) -> bool {
        self.keep_profile
    }

    /// Name and argument of every step that prints, in the order of work.
    pub fn steps(&self) -> impl Iterator<Item = (&str, &str)> {
        self.text.split(',').filter_map(|step| step.split_once(':'))
    }

    /// The same recipe for another format. A lossy quality is kept; one that the format cannot have,
    /// or that was the other format's default, becomes the new format's default.
    ///
    /// # Errors
    /// [`Error::Recipe`] where the format cannot do what the recipe asks for (`profile:keep` in AVIF).
    pub fn with_format(&self, format: OutputFormat) -> Result<Self, Error> {
        let was_default = self.quality == self.format.default_quality();
        let quality = match self.quality {
            Quality::Lossy(_) if !was_default => self.quality,
            Quality::Lossless if format.has_lossless() => self.quality,
            _ => format.default_quality(),
        };
        self.rewritten(format, quality)
    }

    /// The same recipe at another quality.
    ///
    /// # Errors
    /// [`Error::Recipe`] if the format does not have that quality.
    pub fn with_quality(&self, quality: Quality) -> Result<Self, Error> {
        self.rewritten(self.format, quality)
    }

    fn rewritten(&self, format: OutputFormat, quality: Quality) -> Result<Self, Error> {
        let kept = self.steps().filter(|(name, _)| !matches!(*name, "format" | "quality"));
        let mut text: String = kept.map(|(name, argument)| format!("{name}:{argument},")).collect();
        text += &format!("format:{format},quality:{quality}");
        text.parse()
    }

    /// What the recipe means for a picture of this stored size; `source` is its pixels, of which there may
    /// be fewer.
    pub(crate) fn plan(
        &self,
        source: &Picture,
        size: (u32, u32),
        orientation: Orientation,
    ) -> Result<Plan, Error> {
        let mut plan = Plan::new(size, orientation);
        for step in self.steps.iter() {
            step.plan(&mut plan, Some(source))?;
        }
        plan.check_growth(size)?;
        Ok(plan)
    }

    /// Width and height that the output has at most, in pixels, for a picture that is this large when it
    /// is upright, or for any picture. Nothing if the recipe can't be made of it.
    ///
    /// ```
    /// # use larder_image::Recipe;
    /// let recipe: Recipe = "trim:9,resize:inside:300x0".parse()?;
    /// assert_eq!(recipe.output_size_max(Some((600, 400))), Some((300, 400)));
    /// assert_eq!(recipe.output_size_max(None), Some((300, 65_535)));
    /// # Ok::<(), larder_image::Error>(())
    /// ```
    pub fn output_size_max(&self, upright: Option<(u32, u32)>) -> Option<(u32, u32)> {
        let size = upright.unwrap_or((SIDE_MAX_PX, SIDE_MAX_PX));
        let whole = Plan { is_bound: upright.is_none(), ..Plan::new(size, Orientation::UPRIGHT) };
        self.bound(whole).ok().map(|plan| plan.output_size())
    }

    /// What a source of this format, upright size and number of frames is encoded as. The header is
    /// enough to tell, so that a URL can name it before anything is decoded.
    pub fn output_format(&self, source: Format, upright: (u32, u32), frames: u32) -> Format {
        let animated = self.keeps_animation() && frames > 1;
        self.format.resolve(source, animated, self.output_size_max(Some(upright)))
    }

    /// What the recipe means at most for any picture of this stored size.
    pub(crate) fn plan_at_most(&self, size: (u32, u32), orientation: Orientation) -> Result<Plan, Error> {
        self.bound(Plan::new(size, orientation))
    }

    fn bound(&self, mut plan: Plan) -> Result<Plan, Error> {
        self.steps.iter().try_for_each(|step| step.plan(&mut plan, None))?;
        Ok(plan)
    }

    /// Bytes of memory that steps take at most beside the picture and a copy of it.
    pub(crate) fn steps_memory_bytes(&self, plan: &Plan) -> u64 {
        let size = |effect: &dyn Effect| {
            effect.memory_bytes(plan.scaled_size()).max(effect.memory_bytes(plan.output_size()))
        };
        self.effects().map(size).max().unwrap_or(0)
    }

    /// Whether a picture without transparency may look different for more than its part, its size and how
    /// it is turned.
    pub(crate) fn changes_opaque(&self, plan: &Plan) -> bool {
        let padded = plan.canvas.is_some_and(|canvas| canvas != plan.scaled_size());
        padded || self.effects().any(Effect::changes_opaque)
    }

    fn effects(&self) -> impl Iterator<Item = &dyn Effect> {
        self.steps.iter().flat_map(|step| [step.retouch(), step.compose()]).flatten()
    }

    /// The resized and upright picture after every step that changes its pixels.
    pub(crate) fn retouch(&self, picture: Picture, work: &Work<'_>) -> Result<Picture, Error> {
        let mut effects = self.steps.iter().filter_map(|step| step.retouch());
        effects.try_fold(picture, |picture, effect| effect.apply(picture, work))
    }

    /// The picture with its margins after every step that lays something under or over it.
    pub(crate) fn compose(&self, picture: Picture, work: &Work<'_>) -> Result<Picture, Error> {
        let mut effects = self.steps.iter().filter_map(|step| step.compose());
        effects.try_fold(picture, |picture, effect| effect.apply(picture, work))
    }
}

impl FromStr for Recipe {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let mut slots = parse_steps(text)?;
        let mut settings = Settings {
            all_frames: false,
            keep_profile: false,
            format: DEFAULT_FORMAT,
            quality: None,
            effort: Effort::default(),
        };
        for step in slots.iter().flatten() {
            step.settle(&mut settings);
        }
        let Settings { all_frames, keep_profile, format, effort, .. } = settings;
        let quality = settle_quality(format, settings.quality)?;
        if keep_profile && !format.keeps_profile() {
            return Err(Error::recipe(format!(
                "profile:keep is not possible with format:{format}; use profile:srgb"
            )));
        }
        let mut canonical = String::new();
        for (kind, slot) in STEPS.iter().zip(&mut slots) {
            slot.take_if(|step| step.is_default());
            if let Some(step) = slot.as_ref().filter(|_| !matches!(kind.name, "format" | "quality")) {
                canonical += &format!("{}:{step},", kind.name);
            }
        }
        canonical += &format!("format:{format},quality:{quality}");
        let steps = slots.into_iter().flatten().collect();
        Ok(Self { text: canonical.into(), steps, all_frames, keep_profile, format, quality, effort })
    }
}

/// The steps of a text, each in the slot of its kind.
fn parse_steps(text: &str) -> Result<Vec<Option<Box<dyn Step>>>, Error> {
    if text.is_empty() {
        return Err(Error::recipe(
            "is empty; `format:webp` is the shortest that changes nothing but the format",
        ));
    }
    if text.len() > TEXT_BYTES_MAX {
        return Err(Error::recipe(format!("has {} bytes, more than {TEXT_BYTES_MAX}", text.len())));
    }
    let allowed = |c: char| matches!(c, 'a'..='z' | '0'..='9' | ':' | '.' | '_' | ',' | '-');
    if let Some(strange) = text.chars().find(|&c| !allowed(c)) {
        return Err(Error::recipe(format!(
            "has the character {strange:?}; only a-z 0-9 : . _ , - occur in recipes"
        )));
    }
    let mut slots: Vec<Option<Box<dyn Step>>> = STEPS.iter().map(|_| None).collect();
    for part in text.split(',') {
        let (name, argument) = part
            .split_once(':')
            .ok_or_else(|| Error::recipe(format!("step `{part}` has no argument: write `name:argument`")))?;
        let place = steps::position(name).ok_or_else(|| unknown_step(name))?;
        if slots[place].is_some() {
            return Err(Error::recipe(format!("step `{name}` occurs twice")));
        }
        let step = (STEPS[place].parse)(argument).map_err(|error| {
            Error::recipe(format!("`{name}` {}; for example `{}`", error.0, STEPS[place].example))
        })?;
        slots[place] = Some(step);
    }
    Ok(slots)
}

fn unknown_step(name: &str) -> Error {
    if name == "p" {
        return Error::recipe("`p:<preset>` names a preset and stands alone, without further steps");
    }
    let known: Vec<&str> = STEPS.iter().map(|kind| kind.name).collect();
    Error::recipe(format!("there is no step `{name}`; there are {}", known.join(", ")))
}

/// The quality that a format works at. PNG loses nothing whatever is asked for, so that an
/// application's one quality setting may stand beside any format.
fn settle_quality(format: OutputFormat, asked: Option<Quality>) -> Result<Quality, Error> {
    let own = format.default_quality();
    match asked {
        None => Ok(own),
        Some(_) if own == Quality::Lossless => Ok(own),
        Some(Quality::Lossless) if !format.has_lossless() => Err(Error::recipe(format!(
            "quality:lossless is not possible with format:{format}; use {}",
            lossless_names()
        ))),
        Some(quality) => Ok(quality),
    }
}

/// The formats that can be without loss, for remedies.
fn lossless_names() -> String {
    let names = OutputFormat::all().filter(|format| format.has_lossless()).map(OutputFormat::name);
    names.collect::<Vec<_>>().join(" or ")
}

impl fmt::Display for Recipe {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl fmt::Debug for Recipe {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Recipe").field(&self.text).finish()
    }
}

impl PartialEq for Recipe {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

impl Eq for Recipe {}

impl Hash for Recipe {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.text.hash(state);
    }
}

impl Serialize for Recipe {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.text)
    }
}

impl<'de> Deserialize<'de> for Recipe {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

/// What stands in a URL or configuration: a preset's name, or a recipe.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum RecipeRef {
    /// `p:<name>`: the caller looks the preset up.
    Preset(String),
    /// The recipe itself.
    Inline(Recipe),
}

/// Longest name of a preset, in bytes.
const PRESET_NAME_BYTES_MAX: usize = 64;

impl FromStr for RecipeRef {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let Some(name) = text.strip_prefix("p:") else { return text.parse().map(Self::Inline) };
        let allowed = |byte: u8| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'.' | b'_' | b'-');
        if name.is_empty() || name.len() > PRESET_NAME_BYTES_MAX || !name.bytes().all(allowed) {
            return Err(Error::recipe(format!(
                "a preset's name is 1 to {PRESET_NAME_BYTES_MAX} of the characters a-z 0-9 . _ - and stands alone after `p:`"
            )));
        }
        Ok(Self::Preset(name.to_owned()))
    }
}

impl fmt::Display for RecipeRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Preset(name) => write!(f, "p:{name}"),
            Self::Inline(recipe) => recipe.fmt(f),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn printed(text: &str) -> String {
        text.parse::<Recipe>().unwrap().to_string()
    }

    fn refusal(text: &str) -> String {
        text.parse::<Recipe>().unwrap_err().to_string()
    }

    #[test]
    fn steps_print_in_the_order_of_work_with_format_and_quality() {
        assert_eq!(
            printed("quality:70,resize:cover:10x10,rotate:90,format:jpeg,trim:3"),
            "trim:3,rotate:90,resize:cover:10x10,format:jpeg,quality:70"
        );
        assert_eq!(printed("rotate:90"), "rotate:90,format:webp,quality:85");
    }

    #[test]
    fn what_holds_anyway_is_not_printed() {
        assert_eq!(
            printed("frames:first,profile:srgb,focus:0.5:0.500,format:avif"),
            "format:avif,quality:60"
        );
    }

    #[test]
    fn png_takes_any_quality_and_is_lossless() {
        assert_eq!(printed("format:png,quality:85"), "format:png,quality:lossless");
        assert_eq!(printed("format:png"), "format:png,quality:lossless");
        assert_eq!(printed("quality:lossless"), "format:webp,quality:lossless");
        assert!(refusal("format:jpeg,quality:lossless").contains("png or webp"));
    }

    #[test]
    fn a_refusal_names_the_step_and_an_example() {
        assert!(refusal("resize:300").contains("resize:inside:300x300"));
        assert!(refusal("sizze:1").contains("there is no step `sizze`"));
        assert!(refusal("rotate:90,rotate:90").contains("twice"));
        assert!(refusal("rotate").contains("no argument"));
        assert!(refusal("Rotate:90").contains("character 'R'"));
        assert!(refusal("").contains("empty"));
        assert!(refusal("p:keep,rotate:90").contains("stands alone"));
        assert!(refusal(&"rotate:90,".repeat(60)).contains("more than 512"));
    }

    #[test]
    fn another_format_takes_its_own_default_but_keeps_an_explicit_quality() {
        let to =
            |text: &str, format| text.parse::<Recipe>().unwrap().with_format(format).unwrap().to_string();
        assert_eq!(to("format:jpeg", OutputFormat::In(Format::Avif)), "format:avif,quality:60");
        assert_eq!(to("format:jpeg,quality:70", OutputFormat::In(Format::Webp)), "format:webp,quality:70");
        assert_eq!(to("format:png", OutputFormat::In(Format::Jpeg)), "format:jpeg,quality:85");
        assert_eq!(
            to("blur:2,quality:70", OutputFormat::In(Format::Png)),
            "blur:2,format:png,quality:lossless"
        );
        assert!(
            "profile:keep".parse::<Recipe>().unwrap().with_format(OutputFormat::In(Format::Avif)).is_err()
        );
    }

    #[test]
    fn the_source_decides_the_format_where_that_can_be_encoded_at_the_size() {
        let made = |text: &str, source, size, frames| {
            text.parse::<Recipe>().unwrap().output_format(source, size, frames)
        };
        assert_eq!(made("format:source", Format::Avif, (1_000, 1_000), 1), Format::Avif);
        assert_eq!(made("format:source", Format::Avif, (4_000, 1_000), 1), Format::Png);
        let small = "format:source,resize:inside:500x500";
        assert_eq!(made(small, Format::Avif, (4_000, 1_000), 1), Format::Avif);
        assert_eq!(made("frames:all,format:source", Format::Jpeg, (10, 10), 1), Format::Jpeg);
        assert_eq!(made("frames:all,format:source", Format::Gif, (10, 10), 1), Format::Png);
        assert_eq!(made("frames:all,format:source", Format::Gif, (10, 10), 2), Format::Webp);
    }

    #[test]
    fn the_bound_of_an_output_holds_whatever_is_trimmed() {
        let bound = |text: &str, size| text.parse::<Recipe>().unwrap().output_size_max(size);
        assert_eq!(bound("resize:inside:500x2000", Some((1_000, 1_000))), Some((500, 500)));
        assert_eq!(bound("trim:1,resize:inside:500x2000", Some((1_000, 1_000))), Some((500, 1_000)));
        assert_eq!(bound("trim:1,resize:cover:300x200", Some((250, 1_000))), Some((250, 200)));
        assert_eq!(bound("rotate:90", Some((30, 20))), Some((20, 30)));
        assert_eq!(bound("resize:pad:300x200", None), Some((300, 200)));
        assert_eq!(bound("crop:5x5:50:0", Some((10, 10))), None);
    }

    #[test]
    fn a_reference_is_a_preset_or_a_recipe() {
        assert_eq!("p:keep-small".parse(), Ok(RecipeRef::Preset("keep-small".into())));
        assert!(matches!("rotate:90".parse(), Ok(RecipeRef::Inline(_))));
        for wrong in ["p:", "p:a,rotate:90", "p:a/b", "p:A"] {
            assert!(wrong.parse::<RecipeRef>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn recipes_are_stored_as_their_text() {
        let recipe: Recipe = "rotate:90".parse().unwrap();
        let text = serde_json::to_string(&recipe).unwrap();
        assert_eq!(text, "\"rotate:90,format:webp,quality:85\"");
        assert_eq!(serde_json::from_str::<Recipe>(&text).unwrap(), recipe);
    }
}
