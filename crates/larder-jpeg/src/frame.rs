//! The frame header, and the geometry that follows from it (T.81, sections A.1, A.2 and B.2.2).

use crate::marker::{self, Segment};
use crate::{Error, Unsupported};

/// How large the decoded picture is, in eighths of its coded size.
///
/// Smaller scales come out of a smaller inverse transform, not of averaging: they cost less and show the
/// same picture.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub enum Scale {
    /// 1/8: a sample for each block.
    Eighth,
    /// 2/8: 2x2 samples for each block.
    Quarter,
    /// 4/8: 4x4 samples for each block.
    Half,
    /// 8/8: all samples.
    #[default]
    Full,
}

impl Scale {
    /// Every scale, smallest first.
    pub const ALL: [Self; 4] = [Self::Eighth, Self::Quarter, Self::Half, Self::Full];

    /// The side of what becomes of a block of 8x8 samples: 1, 2, 4 or 8.
    pub fn block_side(self) -> usize {
        match self {
            Self::Eighth => 1,
            Self::Quarter => 2,
            Self::Half => 4,
            Self::Full => 8,
        }
    }

    /// The scaled length of a side of `pixels`, rounded up.
    ///
    /// ```
    /// assert_eq!(larder_jpeg::Scale::Eighth.of(4001), 501);
    /// ```
    pub fn of(self, pixels: usize) -> usize {
        (pixels * self.block_side()).div_ceil(8)
    }

    /// The smallest scale at which a picture of `width` by `height` still has at least the wanted size in
    /// both directions; `Full` if none has.
    ///
    /// ```
    /// assert_eq!(larder_jpeg::Scale::reaching((4000, 3000), (900, 600)), larder_jpeg::Scale::Quarter);
    /// ```
    pub fn reaching((width, height): (usize, usize), wanted: (usize, usize)) -> Self {
        let reaches = |scale: &Self| scale.of(width) >= wanted.0 && scale.of(height) >= wanted.1;
        Self::ALL.into_iter().find(reaches).unwrap_or(Self::Full)
    }
}

/// One of the channels of the picture, as the frame header describes it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Component {
    /// The identifier by which scans name it.
    pub id: u8,
    /// Its horizontal sampling factor, 1 to 4.
    pub horizontal: u8,
    /// Its vertical sampling factor, 1 to 4.
    pub vertical: u8,
    /// Which of the four quantisation tables is its.
    pub quantisation_table: u8,
}

/// What the frame header says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frame {
    /// Pixels, 1 to 65,535.
    pub width: usize,
    /// Pixels, 1 to 65,535.
    pub height: usize,
    /// 1 to 4 of them.
    pub components: Vec<Component>,
    /// Whether scans refine one another (SOF2); else each block is coded once (SOF0, SOF1).
    pub progressive: bool,
}

impl Frame {
    /// Of a segment that `is_frame`.
    pub(crate) fn parse(segment: &Segment<'_>) -> Result<Self, Error> {
        let unsupported = match segment.marker {
            0xC3 => Some(Unsupported::Lossless),
            0xC5..=0xC7 => Some(Unsupported::Hierarchical),
            0xC9..=0xCF => Some(Unsupported::Arithmetic),
            _ => None,
        };
        if let Some(kind) = unsupported {
            return Err(Error::Unsupported(kind));
        }
        let corrupt = |what| Err(Error::corrupt(what, segment.offset));
        let &[precision, y1, y0, x1, x0, count, ref components @ ..] = segment.content else {
            return corrupt("the frame header is too short");
        };
        if precision != 8 {
            return Err(Error::Unsupported(Unsupported::Precision(precision)));
        }
        let (width, height) = (u16::from_be_bytes([x1, x0]), u16::from_be_bytes([y1, y0]));
        if width == 0 {
            return corrupt("the frame has no width");
        }
        if height == 0 {
            return Err(Error::Unsupported(Unsupported::HeightByDnl));
        }
        if !(1..=4).contains(&count) {
            return Err(Error::Unsupported(Unsupported::Components(count)));
        }
        if components.len() != 3 * usize::from(count) {
            return corrupt("the frame header's length does not fit its components");
        }
        let components: Vec<_> = components.as_chunks::<3>().0.iter().map(Component::parse).collect();
        if components.iter().any(|component| !component.is_possible()) {
            return corrupt("a component's sampling or table is impossible");
        }
        let mut ids: Vec<_> = components.iter().map(|component| component.id).collect();
        ids.sort_unstable();
        ids.dedup();
        if ids.len() != components.len() {
            return corrupt("two components have one identifier");
        }
        let progressive = segment.marker == marker::SOF2;
        Ok(Self { width: width.into(), height: height.into(), components, progressive })
    }

    fn sampling_max(&self) -> (usize, usize) {
        let max = |factor: fn(&Component) -> u8| self.components.iter().map(factor).max().unwrap_or(1);
        (usize::from(max(|c| c.horizontal)), usize::from(max(|c| c.vertical)))
    }

    /// Samples across and down of a component at a scale.
    pub fn plane_size(&self, component: usize, scale: Scale) -> (usize, usize) {
        let (across, down) = self.sampling_max();
        let Component { horizontal, vertical, .. } = self.components[component];
        let side = scale.block_side();
        let width = (self.width * usize::from(horizontal) * side).div_ceil(8 * across);
        let height = (self.height * usize::from(vertical) * side).div_ceil(8 * down);
        (width, height)
    }

    /// Blocks across and down of a component, without those that only fill MCUs.
    pub(crate) fn blocks(&self, component: usize) -> (usize, usize) {
        self.plane_size(component, Scale::Eighth)
    }

    /// MCUs across and down of a scan of several components.
    pub(crate) fn mcus(&self) -> (usize, usize) {
        let (across, down) = self.sampling_max();
        (self.width.div_ceil(8 * across), self.height.div_ceil(8 * down))
    }
}

impl Component {
    fn parse(&[id, sampling, quantisation_table]: &[u8; 3]) -> Self {
        Self { id, horizontal: sampling >> 4, vertical: sampling & 15, quantisation_table }
    }

    fn is_possible(&self) -> bool {
        let factors = 1..=4;
        factors.contains(&self.horizontal) && factors.contains(&self.vertical) && self.quantisation_table < 4
    }
}

/// Whether a marker begins a frame: SOF0 to SOF15 but for the numbers that mean something else.
pub(crate) fn is_frame(marker: u8) -> bool {
    (marker::SOF0..=marker::SOF15).contains(&marker)
        && !matches!(marker, marker::DHT | marker::JPG | marker::DAC)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(content: &[u8]) -> Result<Frame, Error> {
        Frame::parse(&Segment { marker: marker::SOF0, offset: 0, content })
    }

    #[test]
    fn planes_of_odd_sizes_are_rounded_up() {
        let frame = frame(&[8, 0, 35, 0, 33, 3, 1, 0x22, 0, 2, 0x11, 1, 3, 0x11, 1]).unwrap();
        assert_eq!(frame.plane_size(0, Scale::Full), (33, 35));
        assert_eq!(frame.plane_size(1, Scale::Full), (17, 18));
        assert_eq!(frame.plane_size(1, Scale::Half), (9, 9));
        assert_eq!(frame.blocks(0), (5, 5));
        assert_eq!(frame.mcus(), (3, 3));
    }

    #[test]
    fn kinds_that_are_not_decoded_are_refused_by_name() {
        let kind = |marker, content| match Frame::parse(&Segment { marker, offset: 0, content }) {
            Err(Error::Unsupported(kind)) => kind,
            other => panic!("{other:?}"),
        };
        assert_eq!(kind(0xC3, &[]), Unsupported::Lossless);
        assert_eq!(kind(0xC5, &[]), Unsupported::Hierarchical);
        assert_eq!(kind(0xC9, &[]), Unsupported::Arithmetic);
        assert_eq!(kind(0xC1, &[12, 0, 1, 0, 1, 1, 1, 0x11, 0]), Unsupported::Precision(12));
        assert_eq!(kind(0xC0, &[8, 0, 0, 0, 1, 1, 1, 0x11, 0]), Unsupported::HeightByDnl);
        assert_eq!(kind(0xC0, &[8, 0, 1, 0, 1, 5, 1, 0x11, 0]), Unsupported::Components(5));
    }

    #[test]
    fn impossible_frames_are_damage() {
        let contents: [&[u8]; 6] = [
            &[8, 0, 1, 0, 1],
            &[8, 0, 1, 0, 0, 1, 1, 0x11, 0],
            &[8, 0, 1, 0, 1, 1, 1, 0x51, 0],
            &[8, 0, 1, 0, 1, 1, 1, 0x11, 4],
            &[8, 0, 1, 0, 1, 2, 1, 0x11, 0],
            &[8, 0, 1, 0, 1, 2, 1, 0x11, 0, 1, 0x11, 0],
        ];
        for content in contents {
            assert!(matches!(frame(content), Err(Error::Corrupt { .. })), "{content:?}");
        }
    }
}
