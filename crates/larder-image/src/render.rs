//! From one decoded picture to all of its renditions.
//!
//! Still pictures cascade: the largest is made from the decoded picture, each smaller one from the
//! smallest larger one that leaves [`levels::CASCADE_FACTOR`] between them. What was decoded in planes
//! stays in planes as far as the recipe allows, at best up to the encoder. Animations are walked through
//! frame by frame, so that never more than one is in memory.

mod animation;
mod cascade;
mod levels;
mod memory;
mod planes;
mod scaler;

use crate::formats::{Coding, Encode, Format};
use crate::guard::guarded;
use crate::picture::{Channels, Picture};
use crate::pixels::compose;
use crate::plan::Plan;
use crate::planar::Sampling;
use crate::recipe::{Quality, Recipe};
use crate::source::Decoded;
use crate::steps::Work;
use crate::{Deadline, Error, icc};
pub(crate) use memory::Costs;
use scaler::Scaler;

/// An encoded picture.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rendition {
    /// The file.
    pub bytes: Vec<u8>,
    /// What it is encoded as.
    pub format: Format,
    /// Width in pixels.
    pub width_px: u32,
    /// Height in pixels.
    pub height_px: u32,
    /// Frames; 1 for a still picture.
    pub frames: u32,
}

pub(crate) fn render(
    decoded: &Decoded,
    recipes: &[Recipe],
    deadline: Deadline,
) -> Vec<Result<Rendition, Error>> {
    let plans: Vec<Result<Plan, Error>> = recipes.iter().map(|recipe| decoded.plan(recipe)).collect();
    // Largest first; what can't be planned comes last and is answered with its error.
    let mut order: Vec<usize> = (0..recipes.len()).collect();
    order.sort_by_key(|&index| std::cmp::Reverse(plans[index].as_ref().map_or(0, Plan::scaled_pixels)));
    let costs = decoded.costs(recipes);
    let converts_early = !recipes.iter().any(Recipe::keeps_profile);
    let picture = || decoded.picture();
    let mut scaler = Scaler::new(decoded, &picture, converts_early);
    let mut results: Vec<Result<Rendition, Error>> =
        recipes.iter().map(|_| Err(Error::internal("a recipe was left out"))).collect();
    for index in order {
        let recipe = &recipes[index];
        results[index] = plans[index].clone().and_then(|plan| {
            deadline.check()?;
            costs.check(index)?;
            let inspection = decoded.inspection();
            let format =
                recipe.output_format(inspection.format, inspection.oriented_size(), inspection.frames);
            guarded(format, || match decoded.stays_animated(recipe) {
                true => animation::render(decoded, recipe, &plan, format, deadline),
                false => still(&mut scaler, recipe, &plan, format, deadline),
            })
        });
    }
    results
}

impl Decoded {
    fn plan(&self, recipe: &Recipe) -> Result<Plan, Error> {
        let inspection = self.inspection();
        let size = (inspection.width_px, inspection.height_px);
        // Most recipes do not look at pixels.
        let plan = recipe.plan_at_most(size, inspection.orientation)?;
        if self.planar().is_some() && !plan.is_bound {
            plan.check_growth(size)?;
            return Ok(plan);
        }
        recipe.plan(self.picture()?, size, inspection.orientation)
    }

    fn stays_animated(&self, recipe: &Recipe) -> bool {
        recipe.keeps_animation() && self.inspection().is_animated()
    }
}

fn still(
    scaler: &mut Scaler<'_>,
    recipe: &Recipe,
    plan: &Plan,
    format: Format,
    deadline: Deadline,
) -> Result<Rendition, Error> {
    let encode = encoder(format)?;
    check_size(plan.output_size(), format, encode)?;
    let coding = Coding { quality: recipe.quality(), effort: recipe.effort() };
    if let (Some(in_planes), Quality::Lossy(_)) = (encode.planar, coding.quality)
        && !recipe.changes_opaque(plan)
        && (recipe.keeps_profile() || !scaler.has_profile())
        && let Some(planes) = scaler.planes(plan, Sampling::Half)
    {
        deadline.check()?;
        let (width_px, height_px) = planes.size();
        let bytes = in_planes(&planes, coding, deadline)?;
        return Ok(Rendition { bytes, format, width_px, height_px, frames: 1 });
    }
    let upright = scaler.picture(plan)?;
    let picture = finish(upright, recipe, &Work { deadline, plan }, encode)?;
    deadline.check()?;
    let (width_px, height_px) = (picture.width(), picture.height());
    let bytes = (encode.still)(&picture, coding, deadline)?;
    Ok(Rendition { bytes, format, width_px, height_px, frames: 1 })
}

fn encoder(format: Format) -> Result<&'static Encode, Error> {
    let encode = format.kind().encode.as_ref();
    encode.ok_or_else(|| Error::recipe(format!("format:{format} can't be encoded")))
}

fn check_size((width, height): (u32, u32), format: Format, encode: &Encode) -> Result<(), Error> {
    let longest = width.max(height);
    if longest > encode.side_max_px {
        return Err(Error::recipe(format!(
            "the output is {longest} pixels long, and {format} ends at {}; add a resize",
            encode.side_max_px
        )));
    }
    let found = u64::from(width) * u64::from(height);
    match encode.pixels_max {
        Some(limit) if found > limit => Err(Error::LimitExceeded {
            what: "pixels of an output in this format (add a smaller resize, or use format:webp)",
            found,
            limit,
        }),
        _ => Ok(()),
    }
}

/// What is done after the picture was resized and turned: effects, colours, margins, what lies under all
/// of it.
fn finish(upright: Picture, recipe: &Recipe, work: &Work<'_>, encode: &Encode) -> Result<Picture, Error> {
    let mut picture = recipe.retouch(upright, work)?;
    work.deadline.check()?;
    // A profile for grey does not apply to the three channels that grey becomes.
    let padded = work.plan.canvas.is_some_and(|canvas| canvas != (picture.width(), picture.height()));
    let becomes_rgb = picture.channels() == Channels::Grey && (padded || !encode.grey);
    if !recipe.keeps_profile() || becomes_rgb {
        picture = icc::to_srgb(picture)?;
    }
    if let Some(canvas) = work.plan.canvas {
        picture = compose::pad(picture, canvas);
    }
    picture = recipe.compose(picture, work)?;
    Ok(if encode.alpha { picture.without_idle_alpha() } else { compose::flatten(picture, [255; 3]) })
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::{ImageLimits, Source, inspect};

    #[test]
    fn a_profile_for_grey_stays_only_where_grey_stays_grey() {
        let later = || Deadline::after(Duration::from_secs(60));
        let linear = moxcms::ColorProfile::new_gray_with_gamma(1.0).encode().unwrap();
        let grey = Picture::new(2, 1, Channels::Grey, vec![55, 255]).with_profile(Some(linear.into()));
        let still = Format::Png.kind().encode.as_ref().unwrap().still;
        let file = still(&grey, Coding::LOSSLESS, later()).unwrap();
        let limits = ImageLimits::default();
        let source = Source::open(&file, &limits).unwrap();
        let shown = |recipe: &str| {
            let recipes = [recipe.parse::<Recipe>().unwrap()];
            let made = source.decode(&recipes, later()).unwrap().render(&recipes, later()).remove(0).unwrap();
            let decoded = Source::open(&made.bytes, &limits).unwrap().decode(&[], later()).unwrap();
            let middle = decoded.picture().unwrap().height() / 2;
            (inspect(&made.bytes, &limits).unwrap().has_icc, decoded.picture().unwrap().pixel(0, middle)[0])
        };
        assert_eq!(shown("profile:keep,format:png"), (true, 55));
        // 55/255 in linear light is 0.216, which sRGB writes as 0.502.
        for recipe in ["profile:keep,quality:lossless", "profile:keep,resize:pad:2x9,format:png"] {
            let (profile, tone) = shown(recipe);
            assert!(!profile && tone.abs_diff(128) <= 2, "{recipe}: {profile} {tone}");
        }
    }
}
