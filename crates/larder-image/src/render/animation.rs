//! Animations, frame by frame.

use super::{check_size, encoder, finish};
use crate::formats::{Coding, Format, Frame};
use crate::pixels::{orient, resize::resize_within};
use crate::plan::Plan;
use crate::recipe::Recipe;
use crate::source::Decoded;
use crate::steps::Work;
use crate::{Deadline, Error, Rendition};

/// Walks through the animation and writes every frame as the plan of the first one says, so that the
/// picture does not jump where a step looks at pixels.
pub(super) fn render(
    decoded: &Decoded,
    recipe: &Recipe,
    plan: &Plan,
    format: Format,
    deadline: Deadline,
) -> Result<Rendition, Error> {
    let kind = decoded.format().kind();
    let (Some(animate), Some(bytes)) = (kind.animate, decoded.animation()) else {
        return Err(Error::internal("decoded without the recipe that keeps the animation"));
    };
    let encode = encoder(format)?;
    let start = encode.animate.ok_or_else(|| Error::internal("the format does not move"))?;
    let size = plan.output_size();
    check_size(size, format, encode)?;
    let coding = Coding { quality: recipe.quality(), effort: recipe.effort() };
    let mut animation = start(size, decoded.inspection().loops, coding)?;
    let mut resizer = fast_image_resize::Resizer::new();
    let mut frames = 0;
    animate(bytes, decoded.inspection(), deadline, &mut |frame: Frame<'_>| {
        deadline.check()?;
        let scaled =
            resize_within(&mut resizer, frame.picture, plan.bounds, plan.region, plan.stored_scaled_size())?;
        let upright = orient::orient(scaled.picture, plan.orientation);
        let picture = finish(upright, recipe, &Work { deadline, plan }, encode)?;
        frames += 1;
        animation.add(&picture, frame.duration_ms)
    })?;
    let bytes = animation.finish()?;
    Ok(Rendition { bytes, format, width_px: size.0, height_px: size.1, frames })
}
