//! Resize: to a size, by a fit.  `resize:<inside|cover|fill|pad>:<w>x<h>[:up]`

use std::fmt;

use super::number::size;
use super::{Step, StepError, StepKind};
use crate::Error;
use crate::picture::Picture;
use crate::plan::{GROWN_PIXELS_MAX, Plan};

pub(super) const KIND: StepKind = StepKind {
    name: "resize",
    doc: "`inside` keeps the aspect ratio and fits into the box (0 leaves that side free); `cover` fills \
          the box and cuts what is left over, around the focus; `fill` stretches to the box; `pad` fits \
          inside and adds margins up to the box. Nothing is enlarged unless `up` is added: without it a \
          smaller picture keeps its pixels, and `cover` only cuts it to the box's aspect ratio.",
    example: "resize:inside:300x300",
    parse,
};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fit {
    Inside,
    Cover,
    Fill,
    Pad,
}

const FITS: &[(&str, Fit)] =
    &[("inside", Fit::Inside), ("cover", Fit::Cover), ("fill", Fit::Fill), ("pad", Fit::Pad)];

#[derive(Debug)]
struct Resize {
    fit: Fit,
    /// 0 = free; both sides are given unless the fit is `Inside`.
    target: (u32, u32),
    enlarge: bool,
}

fn parse(argument: &str) -> Result<Box<dyn Step>, StepError> {
    let mut parts = argument.split(':');
    let fit = parts.next().and_then(|name| FITS.iter().find(|fit| fit.0 == name));
    let fit = fit.ok_or("wants inside, cover, fill or pad before the size")?.1;
    let target = size(parts.next().ok_or("wants a size after the fit, like inside:300x200")?)?;
    let enlarge = match parts.next() {
        None => false,
        Some("up") => true,
        Some(_) => return Err("wants nothing or `up` after the size".into()),
    };
    if parts.next().is_some() {
        return Err("wants `<fit>:<w>x<h>[:up]`".into());
    }
    match target {
        (0, 0) => Err("wants at least one side".into()),
        (0, _) | (_, 0) if fit != Fit::Inside => {
            Err("wants both sides; only `inside` leaves one free".into())
        }
        _ => Ok(Box::new(Resize { fit, target, enlarge })),
    }
}

impl fmt::Display for Resize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = FITS.iter().find(|fit| fit.1 == self.fit).map_or("inside", |fit| fit.0);
        write!(f, "{name}:{}x{}", self.target.0, self.target.1)?;
        f.write_str(if self.enlarge { ":up" } else { "" })
    }
}

impl Step for Resize {
    fn plan(&self, plan: &mut Plan, _source: Option<&Picture>) -> Result<(), Error> {
        let size = plan.upright_size();
        let inside = if plan.is_bound { inside_at_most } else { inside };
        match self.fit {
            Fit::Inside => plan.scale_to(inside(size, self.target, self.enlarge)),
            Fit::Pad => {
                plan.scale_to(inside(size, self.target, self.enlarge));
                plan.canvas = Some(self.target);
            }
            Fit::Fill if self.enlarge => plan.scale_to(self.target),
            Fit::Fill => plan.scale_to((self.target.0.min(size.0), self.target.1.min(size.1))),
            Fit::Cover if plan.is_bound && !self.enlarge => {
                plan.scale_to((self.target.0.min(size.0), self.target.1.min(size.1)));
            }
            Fit::Cover if plan.is_bound => plan.scale_to(self.target),
            Fit::Cover => {
                let window = window(size, self.target);
                let (x, y) = (place(plan.focus.0, size.0, window.0), place(plan.focus.1, size.1, window.1));
                plan.view_upright(x, y, window);
                plan.scale_to(if self.enlarge { self.target } else { shrunk(self.target, window) });
            }
        }
        Ok(())
    }
}

/// The largest size with the aspect ratio of `size` that fits into `target` (0 = any).
///
/// The side that meets its bound is exact; the other is the nearest whole number, halves upwards,
/// and at least 1.
fn inside(size: (u32, u32), target: (u32, u32), enlarge: bool) -> (u32, u32) {
    let (width, height) = (u64::from(size.0), u64::from(size.1));
    let (target_width, target_height) = (u64::from(target.0), u64::from(target.1));
    let by_width = target.1 == 0 || (target.0 != 0 && width * target_height >= height * target_width);
    let (fitted, grows) = if by_width {
        ((target.0, rounded(height * target_width, width)), target.0 > size.0)
    } else {
        ((rounded(width * target_height, height), target.1), target.1 > size.1)
    };
    if grows && !enlarge { size } else { fitted }
}

/// What [`inside`] comes to at most for a picture whose sides are no longer than these.
fn inside_at_most(size: (u32, u32), target: (u32, u32), enlarge: bool) -> (u32, u32) {
    let pixels = u64::from(size.0) * u64::from(size.1);
    let free = |other: u32| {
        let grown = GROWN_PIXELS_MAX.max(pixels) / u64::from(other.max(1));
        u32::try_from(grown.max(1)).unwrap_or(u32::MAX)
    };
    let side = |target: u32, other: u32, own: u32| match (target, enlarge) {
        (0, true) => free(other),
        (0, false) => own,
        (target, true) => target,
        (target, false) => target.min(own),
    };
    (side(target.0, target.1, size.0), side(target.1, target.0, size.1))
}

/// `numerator / denominator`, halves upwards, at least 1 and at most what a side can be.
fn rounded(numerator: u64, denominator: u64) -> u32 {
    let quotient = (numerator + denominator / 2) / denominator.max(1);
    u32::try_from(quotient.max(1)).unwrap_or(u32::MAX)
}

/// The largest rectangle in `size` with the aspect ratio of `target`.
fn window(size: (u32, u32), target: (u32, u32)) -> (f64, f64) {
    let (width, height) = (f64::from(size.0), f64::from(size.1));
    let aspect = f64::from(target.0) / f64::from(target.1);
    if width >= height * aspect { (height * aspect, height) } else { (width, width / aspect) }
}

/// Where a window of this length begins so that `focus` is as near to its middle as possible.
fn place(focus: f64, side: u32, window: f64) -> f64 {
    let side = f64::from(side);
    (focus * side - window / 2.0).clamp(0.0, (side - window).max(0.0))
}

/// `target`, or the window where that is smaller.
fn shrunk(target: (u32, u32), window: (f64, f64)) -> (u32, u32) {
    if f64::from(target.0) <= window.0 && f64::from(target.1) <= window.1 {
        return target;
    }
    let whole = |side: f64| (side.round() as u32).max(1);
    (whole(window.0), whole(window.1))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Orientation;
    use crate::picture::Channels;

    fn planned(argument: &str, size: (u32, u32)) -> Plan {
        let source = Picture::new(size.0, size.1, Channels::Grey, vec![0; (size.0 * size.1) as usize]);
        let mut plan = Plan::new((source.width(), source.height()), Orientation::UPRIGHT);
        parse(argument).unwrap().plan(&mut plan, Some(&source)).unwrap();
        plan
    }

    #[test]
    fn inside_meets_one_bound_exactly_and_keeps_the_aspect_ratio() {
        assert_eq!(inside((4_000, 3_000), (300, 300), false), (300, 225));
        assert_eq!(inside((3_000, 4_000), (300, 300), false), (225, 300));
        assert_eq!(inside((4_928, 3_264), (300, 169), false), (255, 169));
        assert_eq!(inside((5_760, 3_840), (1_920, 1_080), false), (1_620, 1_080));
        // 7:3 into 5: 15/7 = 2.14; 3:2 into 3 -> 2; halves go upwards: 2:1 into 1 -> 0.5 -> 1.
        assert_eq!(inside((7, 3), (5, 5), false), (5, 2));
        assert_eq!(inside((2, 1), (1, 1), false), (1, 1));
        assert_eq!(inside((4, 10), (0, 5), false), (2, 5));
    }

    #[test]
    fn the_thinnest_picture_keeps_a_pixel() {
        assert_eq!(inside((10_000, 1), (100, 100), false), (100, 1));
        assert_eq!(inside((1, 10_000), (100, 100), false), (1, 100));
    }

    #[test]
    fn a_free_side_follows_the_other() {
        assert_eq!(inside((400, 200), (100, 0), false), (100, 50));
        assert_eq!(inside((400, 200), (0, 100), false), (200, 100));
    }

    #[test]
    fn nothing_grows_unless_asked() {
        assert_eq!(inside((100, 50), (300, 300), false), (100, 50));
        assert_eq!(inside((100, 50), (300, 300), true), (300, 150));
        assert_eq!(planned("fill:300x20", (100, 50)).scaled, Some((100, 20)));
        assert_eq!(planned("fill:300x20:up", (100, 50)).scaled, Some((300, 20)));
        assert_eq!(planned("cover:300x300", (100, 50)).scaled, Some((50, 50)));
        assert_eq!(planned("cover:300x300:up", (100, 50)).scaled, Some((300, 300)));
    }

    #[test]
    fn cover_cuts_around_the_middle_unless_a_focus_is_given() {
        let plan = planned("cover:100x100", (400, 200));
        assert_eq!(plan.region, crate::plan::Region { x: 100.0, y: 0.0, width: 200.0, height: 200.0 });
        assert!((place(0.0, 400, 200.0)).abs() < f64::EPSILON);
        assert!((place(1.0, 400, 200.0) - 200.0).abs() < f64::EPSILON);
        assert!((place(0.3, 400, 200.0) - 20.0).abs() < 1e-9);
    }

    #[test]
    fn pad_has_exactly_the_size_asked_for() {
        let plan = planned("pad:300x300", (400, 200));
        assert_eq!((plan.scaled, plan.canvas), (Some((300, 150)), Some((300, 300))));
        let small = planned("pad:300x300", (40, 20));
        assert_eq!((small.scaled, small.canvas), (Some((40, 20)), Some((300, 300))));
    }

    #[test]
    fn only_inside_leaves_a_side_free() {
        assert!(parse("inside:0x0").is_err());
        assert!(parse("cover:0x10").is_err());
        assert!(parse("inside:10x0").is_ok());
        assert!(parse("inside:16384x1").is_err());
        assert!(parse("inside:10x10:down").is_err());
        assert!(parse("inside:10x10:up:up").is_err());
    }
}
