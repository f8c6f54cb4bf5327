//! Sampling, and the numbers of blocks and MCUs that follow from it (T.81, sections A.1.1 and A.2).

/// How many samples the two colour differences have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Sampling {
    /// 4:4:4: as many as there are pixels.
    S444,
    /// 4:2:2: half as many across, rounded up.
    S422,
    /// 4:2:0: half as many across and down, rounded up. What most photos have: the eye sees colour less
    /// sharply than light.
    #[default]
    S420,
}

impl Sampling {
    /// Every sampling, most samples first.
    pub const ALL: [Self; 3] = [Self::S444, Self::S422, Self::S420];

    /// Pixels across and down for each sample of a colour difference, which are luma's sampling factors.
    pub(crate) fn ratio(self) -> (usize, usize) {
        match self {
            Self::S444 => (1, 1),
            Self::S422 => (2, 1),
            Self::S420 => (2, 2),
        }
    }

    /// Width and height of the planes of the colour differences.
    ///
    /// ```
    /// assert_eq!(larder_jpeg::Sampling::S420.chroma_size(33, 35), (17, 18));
    /// ```
    pub fn chroma_size(self, width: usize, height: usize) -> (usize, usize) {
        let (across, down) = self.ratio();
        (width.div_ceil(across), height.div_ceil(down))
    }
}

/// Sizes of a picture that is encoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Geometry {
    pub width: usize,
    pub height: usize,
    /// 1 for grey, or 3.
    pub components: usize,
    /// Of the first component; the others have one of each.
    pub factors: (usize, usize),
}

impl Geometry {
    /// Grey without a sampling.
    pub fn new(width: usize, height: usize, sampling: Option<Sampling>) -> Self {
        let components = if sampling.is_some() { 3 } else { 1 };
        Self { width, height, components, factors: sampling.map_or((1, 1), Sampling::ratio) }
    }

    /// Blocks across and down of a component within an MCU.
    pub fn factors_of(&self, component: usize) -> (usize, usize) {
        if component == 0 { self.factors } else { (1, 1) }
    }

    /// Samples across and down of a component.
    pub fn plane_size(&self, component: usize) -> (usize, usize) {
        let (across, down) = if component == 0 { (1, 1) } else { self.factors };
        (self.width.div_ceil(across), self.height.div_ceil(down))
    }

    /// Blocks across and down of a component that hold something of the picture.
    pub fn blocks(&self, component: usize) -> (usize, usize) {
        let (width, height) = self.plane_size(component);
        (width.div_ceil(8), height.div_ceil(8))
    }

    /// MCUs across and down.
    pub fn mcus(&self) -> (usize, usize) {
        (self.width.div_ceil(8 * self.factors.0), self.height.div_ceil(8 * self.factors.1))
    }

    /// Blocks of an MCU: luma's, then one of each colour difference.
    pub fn blocks_per_mcu(&self) -> usize {
        self.factors.0 * self.factors.1 + self.components - 1
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn partial_mcus_count_and_partial_blocks_do() {
        let geometry = Geometry::new(33, 17, Some(Sampling::S420));
        assert_eq!(geometry.mcus(), (3, 2));
        assert_eq!(geometry.blocks(0), (5, 3));
        assert_eq!(geometry.plane_size(1), (17, 9));
        assert_eq!(geometry.blocks(1), (3, 2));
        assert_eq!(geometry.blocks_per_mcu(), 6);
        let grey = Geometry::new(9, 8, None);
        assert_eq!((grey.mcus(), grey.blocks(0), grey.blocks_per_mcu()), ((2, 1), (2, 1), 1));
    }
}
