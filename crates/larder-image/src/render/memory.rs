//! What rendering takes of memory, told before it begins: by the header alone, since a caller reserves
//! it before the decode.

use crate::formats::Load;
use crate::plan::Plan;
use crate::recipe::{Quality, Recipe};
use crate::{Error, Inspection};

/// Tables of colour conversions and encoders, whatever the size.
const TABLES_BYTES: u64 = 2 << 20;

/// What the recipes of one decode take.
#[derive(Debug)]
pub(crate) struct Costs {
    /// The most at any moment, with the decoded picture, over all recipes that fit.
    pub peak_bytes: u64,
    /// For each recipe that does not fit, what it would have taken.
    refused: Vec<Option<u64>>,
    bytes_max: u64,
}

impl Costs {
    /// `file_bytes` counts where the file is kept beside the picture, for an animation.
    pub fn of(inspection: &Inspection, file_bytes: u64, recipes: &[Recipe], bytes_max: u64) -> Self {
        let plan = |recipe: &Recipe| {
            recipe.plan_at_most((inspection.width_px, inspection.height_px), inspection.orientation)
        };
        let plans: Vec<Option<Plan>> = recipes.iter().map(|recipe| plan(recipe).ok()).collect();
        let mut order: Vec<usize> = (0..recipes.len()).collect();
        order.sort_by_key(|&index| std::cmp::Reverse(plans[index].as_ref().map_or(0, Plan::scaled_pixels)));
        let animated = inspection.is_animated() && recipes.iter().any(Recipe::keeps_animation);
        let decoded = inspection.pixels() * channels(inspection);
        let mut held = decoded + if animated { file_bytes } else { 0 };
        let mut costs = Self { peak_bytes: held, refused: vec![None; recipes.len()], bytes_max };
        for index in order {
            // A recipe that can't be planned is refused without any work.
            let Some(plan) = &plans[index] else { continue };
            let cost = Cost::of(inspection, &recipes[index], plan);
            let peak = held.saturating_add(cost.kept_bytes).saturating_add(cost.work_bytes);
            if peak > bytes_max {
                costs.refused[index] = Some(peak);
                continue;
            }
            held += cost.kept_bytes;
            costs.peak_bytes = costs.peak_bytes.max(peak);
        }
        costs
    }

    /// Refuses the recipe at this place if it does not fit.
    pub fn check(&self, index: usize) -> Result<(), Error> {
        match self.refused[index] {
            None => Ok(()),
            Some(found) => Err(Error::LimitExceeded {
                what: "bytes of memory to make the output (decode_memory_bytes; a smaller resize takes less)",
                found,
                limit: self.bytes_max,
            }),
        }
    }
}

/// Channels of a decoded picture, at most.
fn channels(inspection: &Inspection) -> u64 {
    if inspection.has_alpha { 4 } else { 3 }
}

/// What one recipe takes.
struct Cost {
    /// What stays until the last recipe is done: the file, and the picture that smaller ones are
    /// resized from.
    kept_bytes: u64,
    /// What comes on top meanwhile.
    work_bytes: u64,
}

impl Cost {
    fn of(inspection: &Inspection, recipe: &Recipe, plan: &Plan) -> Self {
        let animated = recipe.keeps_animation() && inspection.is_animated();
        let format = recipe.output_format(inspection.format, inspection.oriented_size(), inspection.frames);
        let (scaled, output) = (plan.scaled_pixels(), plan.output_pixels().max(plan.scaled_pixels()));
        let resize = resize_bytes(inspection, plan) + scaled * channels(inspection);
        let load = Load {
            pixels: output,
            alpha: inspection.has_alpha || plan.canvas.is_some(),
            quality: recipe.quality(),
            frames: if animated { inspection.frames } else { 1 },
        };
        let channels_out = if load.alpha { 4 } else { 3 };
        // A picture and a copy of it.
        let finish = output * 2 * channels_out + recipe.steps_memory_bytes(plan);
        let encode = format.kind().encode.as_ref();
        let memory = encode.map_or(0, |encode| (encode.memory_bytes)(&load));
        let (walk, file) = match (animated, load.quality) {
            (true, _) => (inspection.decode_memory_bytes, 0),
            // Encoders write as it is what does not become shorter.
            (false, Quality::Lossless) => (0, output * 4),
            (false, Quality::Lossy(_)) => (0, output / 2),
        };
        let level = if !animated && plan.shrinks() { scaled * channels(inspection) } else { 0 };
        let work = match animated {
            // The encoder stays between frames.
            true => resize.max(finish) + memory,
            false => resize.max(finish).max(output * channels_out + memory),
        };
        Self { kept_bytes: level + file, work_bytes: walk + work + TABLES_BYTES }
    }
}

/// What the resizer keeps meanwhile: rows that are resized in one direction, and before them a copy: where
/// there is alpha, with colours weighted by it, else of the one channel that all pixels differ in, which between
/// two colours has 16 bits.
fn resize_bytes(inspection: &Inspection, plan: &Plan) -> u64 {
    let (width, height) = (plan.region.width.ceil() as u64, plan.region.height.ceil() as u64);
    let (scaled_width, scaled_height) = plan.stored_scaled_size();
    if !plan.is_bound && (width, height) == (scaled_width.into(), scaled_height.into()) {
        return 0;
    }
    let within = plan.bounds.width as u64 * plan.bounds.height as u64;
    let copy = within * if inspection.has_alpha { 4 } else { 2 };
    copy + u64::from(scaled_width) * height * channels(inspection)
}
